"""The timeline and what two of its points differ in, as views; and the requests that ask for them."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


# -- requests ----------------------------------------------------------------------------------------------------------
class LookTimeline(Struct, frozen=True, tag=True):
    """Ask for `count` rows of the timeline, the newest of them `last` rows before its end."""

    last: int = 0
    count: int = 200


class LookCompare(Struct, frozen=True, tag=True):
    """Ask in what two points differ: each a stop's number, a branch, or `now`. At most `points` losses of each."""

    first: str
    second: str = "now"
    points: int = 400


TimelineRequest: TypeAlias = LookTimeline | LookCompare


# -- views -------------------------------------------------------------------------------------------------------------
class TimelineRow(Struct, frozen=True):
    """One point: the stop after one command."""

    stop: int
    """What `goto` takes."""
    line: str
    """The command that led here, as its line; empty for the first stop."""
    phase: str
    """The phase that the command was, `next_batch`, `edit`, or empty for the first stop."""
    branch: str
    """The branch it was made on."""
    parent: int
    """The stop that the command was given at; 0 for the first."""
    iteration: int = 0
    loss: float | None = None
    """The last loss there."""
    changed: str = ""
    """What the command changed, by kinds: `4 weights, 8 of the state`."""
    memory: int = 0
    """Bytes that are kept for it: what the command changed, as it was after it. What others share is counted once."""
    kept: bool = True
    """False when going there means to run commands again."""
    reachable: bool = True
    here: bool = False
    """True for the stop that the session is at."""
    undone: bool = False
    """True for what `redo` would do again."""
    ends: tuple[str, ...] = ()
    """The branches that end here."""
    way: bool = False
    """True for what lies on the way to the end of the present branch."""
    inside: bool = False
    """True for the stop inside a phase that is not at its end: it is the last row, and no point yet."""

    @property
    def words(self) -> str:
        """The command in short: of a backward in which what flows was changed by hand, how."""
        lines = self.line.split("; ")
        changes = [line for line in lines if line.startswith("set ")]
        return f"{lines[1]}: {', '.join(changes)}" if self.phase == "backward" and len(lines) > 1 else self.line


class TimelineBranch(Struct, frozen=True):
    """One branch, and its last stop."""

    name: str
    stop: int
    iteration: int
    loss: float | None
    present: bool = False


class TimelineView(Struct, frozen=True, tag=True):
    """The points in the order in which they were made."""

    stop: int
    rows: tuple[TimelineRow, ...]
    total: int
    first: int
    """Place of the first of `rows` among all, from 0."""
    branches: tuple[TimelineBranch, ...]
    memory: int
    """Bytes that going back takes in all."""
    budget: int
    """Bytes that it may take; 0 when no history is kept."""
    note: str = ""


class CompareRow(Struct, frozen=True):
    """A tensor that differs between two points."""

    name: str
    kind: str
    """`parameter`, `grad`, `buffer`, `state`, `hyper`, `batch`, or what else a part of the state holds."""
    first: str
    """What it is at the first point: `none`, `zero`, `norm 3.2`."""
    second: str
    norm: float | None = None
    """Norm of the difference, second minus first; None where there is none."""
    largest: float | None = None
    """The greatest difference of one element, with its sign; NaN where one side alone has a NaN there."""
    at: tuple[int, ...] = ()
    """Where that is."""
    differing: int = 0
    """Elements whose bits differ."""
    elements: int = 0


class CompareLoss(Struct, frozen=True):
    """The loss of one forward."""

    iteration: int
    loss: float
    forward: int = 0
    """Which forward it was on the way to the point, from 1."""


class CompareView(Struct, frozen=True, tag=True):
    """In what two points differ; no row and no line of `others` when they are the same to the last bit."""

    stop: int
    first: int
    """The stop that is compared."""
    second: int
    """The stop that it is compared with."""
    fork: int
    """The last stop that lies on the way to both."""
    rows: tuple[CompareRow, ...]
    others: tuple[str, ...]
    """What differs that is no tensor: `lr: 0.1 and 0.01`, `the random generators`, `train/eval mode`."""
    same: int
    """Tensors that are the same, bit for bit."""
    loss_first: float | None = None
    loss_second: float | None = None
    losses_first: tuple[CompareLoss, ...] = ()
    """The losses on the way to the first point, and below to the second; thinned, the last one always there."""
    losses_second: tuple[CompareLoss, ...] = ()
    names: tuple[str, str] = ("", "")
    """What the two were asked for as."""


TimelineAnswer: TypeAlias = TimelineView | CompareView
