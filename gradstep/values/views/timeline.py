"""Views of the timeline, and of the differences of two points; and their requests."""

from __future__ import annotations

import math
from typing import TypeAlias

from msgspec import Struct


# -- requests ----------------------------------------------------------------------------------------------------------
class LookTimeline(Struct, frozen=True, tag=True):
    """Ask for `count` rows of the timeline, the newest one `last` rows before its end."""

    last: int = 0
    count: int = 200


class LookCompare(Struct, frozen=True, tag=True):
    """Ask for the differences of two points: each a stop's number, a branch, or `now`; at most `points` losses each."""

    first: str
    second: str = "now"
    points: int = 400


TimelineRequest: TypeAlias = LookTimeline | LookCompare


# -- views -------------------------------------------------------------------------------------------------------------
class TimelineRow(Struct, frozen=True):
    """One point: the stop after one command."""

    stop: int
    """Its number, as for `goto`."""
    line: str
    """The command that led here, as its line; empty for the first stop."""
    phase: str
    """The phase, `next_batch` or `edit`; empty for the first stop."""
    branch: str
    """Its branch."""
    parent: int
    """The stop before the command; 0 for the first."""
    iteration: int = 0
    loss: float | None = None
    """The last loss there."""
    changed: str = ""
    """What the command changed, by kind: `4 weights, 8 of the state`."""
    memory: int = 0
    """Bytes kept for it: the tensors that the command changed. Shared tensors count once."""
    kept: bool = True
    """False when going there requires re-execution."""
    reachable: bool = True
    here: bool = False
    """True for the current stop."""
    undone: bool = False
    """True for stops that `redo` leads to."""
    ends: tuple[str, ...] = ()
    """The branches that end here."""
    way: bool = False
    """True for stops on the path to the end of the current branch."""
    inside: bool = False
    """True for a stop inside an unfinished phase: the last row, which is not a point yet."""
    note: str = ""
    """Why its state is not kept; empty where it is, or where it can be re-executed."""

    @property
    def words(self) -> str:
        """The command in short; for a backward with gradient edits, the edits."""
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
    """The points in the order of their creation."""

    stop: int
    rows: tuple[TimelineRow, ...]
    total: int
    first: int
    """Index of the first of `rows` among all, from 0."""
    branches: tuple[TimelineBranch, ...]
    memory: int
    """Total bytes of the history."""
    budget: int
    """Memory budget in bytes; 0 when no history is kept."""
    note: str = ""
    spent: float = 0.0
    """Time that copying the history into new memory took, as a share of the time of the commands themselves."""
    share: float = math.inf
    """Time budget, as such a share."""
    script: bool = False
    """True for the recorded stops of a script, which has no commands and can't go back."""


class CompareRow(Struct, frozen=True):
    """A tensor that differs between two points."""

    name: str
    kind: str
    """`parameter`, `grad`, `buffer`, `state`, `hyper`, `batch`, or another kind of state."""
    first: str
    """Its state at the first point: `none`, `zero`, `norm 3.2`."""
    second: str
    norm: float | None = None
    """Norm of the difference, second minus first; None when undefined."""
    largest: float | None = None
    """The largest difference of an element, with its sign; NaN where only one side has a NaN."""
    at: tuple[int, ...] = ()
    """Index of that element."""
    differing: int = 0
    """Number of elements whose bits differ."""
    elements: int = 0


class CompareLoss(Struct, frozen=True):
    """The loss of one forward."""

    iteration: int
    loss: float
    forward: int = 0
    """Index of the forward on the path to the point, from 1."""


class CompareView(Struct, frozen=True, tag=True):
    """The differences of two points; `rows` and `others` are empty when they are bit-identical."""

    stop: int
    first: int
    """The first stop."""
    second: int
    """The second stop."""
    fork: int
    """The last common stop of both paths."""
    rows: tuple[CompareRow, ...]
    others: tuple[str, ...]
    """Differences that are not tensors: `lr: 0.1 and 0.01`, `the random generators`, `train/eval mode`."""
    same: int
    """Number of bit-identical tensors."""
    loss_first: float | None = None
    loss_second: float | None = None
    losses_first: tuple[CompareLoss, ...] = ()
    """The losses on the path to the first point, downsampled, always with the last one."""
    losses_second: tuple[CompareLoss, ...] = ()
    names: tuple[str, str] = ("", "")
    """The two points as requested."""


TimelineAnswer: TypeAlias = TimelineView | CompareView
