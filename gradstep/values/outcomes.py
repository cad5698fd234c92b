"""Outcomes of commands: the stop, the problem, what was printed; and events of a session."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.commands import Command
from gradstep.values.views import Changes, LossView
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.inside import Position


class Frame(Struct, frozen=True):
    """One frame of a traceback: file, line number from 1, function, and the line's text."""

    file: str
    line: int
    function: str
    text: str
    user: bool
    """True for the user's own code, False for torch's, gradstep's and other libraries'."""


class Problem(Struct, frozen=True):
    """An error as a value: a title, what happened, and a remedy.

    `kind` decides the exit code of a replay: `expectation` 1, `wrong` (the command or the script) 2, `raised` (the
    debuggee raised; the command was rolled back) 3, `interrupted` 130.
    """

    kind: Literal["expectation", "wrong", "raised", "interrupted"]
    title: str
    what: str
    remedy: str = ""
    subject: str = ""
    """The faulty word of the line, for a caret under it; empty for the whole line."""
    frames: tuple[Frame, ...] = ()
    """The debuggee's traceback, innermost last; empty when the debuggee did not raise."""
    expected: str = ""
    actual: str = ""
    difference: str = ""
    """For an expectation over numbers: the largest difference and its index."""


class WatchHit(Struct, frozen=True):
    """A hit of a watchpoint: its number, its expression, and both values as text."""

    number: int
    line: str
    before: str
    after: str


class Stop(Struct, frozen=True):
    """A moment at which the debuggee is paused: everything that the status line and the phases row show."""

    number: int = 0
    """Stops so far: 0 before a load, 1 after it, plus one for each phase or batch."""
    workload: str = ""
    device: str = ""
    dtype: str = ""
    seed: int | None = None
    phase: str = ""
    """The last phase that ran: forward, backward, step, zero_grad or next_batch; empty before any."""
    torch: str = ""
    """The last phase as a line of PyTorch, with its arguments."""
    done: tuple[str, ...] = ()
    """Phases that ran since the last zero_grad."""
    natural: tuple[str, ...] = ()
    """The command lines of the natural next phase, e.g. ("next_batch", "forward")."""
    iteration: int = 0
    """Optimizer steps taken."""
    loss: float | None = None
    """The last loss; None before the first forward or when it is not a scalar."""
    loss_change: float | None = None
    """The last loss minus the previous one; None until there are two."""
    optimizer: str = ""
    lr: tuple[float, ...] = ()
    """One learning rate for each parameter group."""
    batch: int = 0
    """Batches taken so far; 0 before the first forward or next_batch."""
    opening: str = ""
    """The tensor that the workload suggests to show first, as the argument of `show`; empty for none."""
    parameters: int = 0
    """Elements of all parameters."""
    pausable: tuple[str, ...] = ()
    """The phases that took long and are observed, so that a pause stops inside them; others are rolled back."""
    position: Position | None = None
    """The position inside a phase; None between phases."""
    hit: str = ""
    """The breakpoint that the last command hit, between phases or inside one, as its line; empty for none."""
    branch: str = ""
    """The branch of the timeline; empty where no history is kept."""
    findings: int = 0
    """Findings of the checks."""
    script: bool = False
    """True for a training script, which can only run forward."""
    held: bool = False
    """True for a workload that was copied from a script, which waits for `release`."""
    ended: str = ""
    """How a script ended, e.g. `ended with exit code 0`; empty while it has not."""
    ahead: int = 0
    """Number of undone commands on this branch, which `redo` can redo."""


class Outcome(Drawn, frozen=True):
    """The result of `Session.execute`: the command, the stop it led to, and a problem or what was printed."""

    command: Command
    stop: Stop
    problem: Problem | None = None
    text: str = ""
    """What was printed; the value of a new `let` or watchpoint."""
    watches: tuple[WatchHit, ...] = ()
    changes: Changes | None = None
    """What changed, if requested (`Session.forward()` and the other phases do)."""
    pair: tuple[str, str] | None = None
    """The two points that a `try` compares: the original end, and the new branch."""
    instead: tuple[Command, ...] | None = None
    """The executed commands, where they differ from `command`: it failed or paused half way, or ran several."""

    @property
    def carried_out(self) -> tuple[Command, ...]:
        """The commands that a replay must execute to reach this stop."""
        if self.instead is not None:
            return self.instead
        return (self.command,) if self.ok else ()

    @property
    def loss(self) -> float | None:
        """The last loss; None before the first forward or when it is not a scalar."""
        return self.stop.loss

    @property
    def ok(self) -> bool:
        """True when the command succeeded."""
        return self.problem is None


class Progress(Struct, frozen=True, tag=True):
    """A stage of loading has started: importing torch, calling a factory, building an optimizer."""

    stage: str


class Output(Struct, frozen=True, tag=True):
    """What the debuggee wrote to its standard output or error."""

    text: str


class Died(Struct, frozen=True, tag=True):
    """The engine process died; `how` says why (`killed by SIGKILL`, `exited with status 3`)."""

    how: str


class Waiting(Struct, frozen=True, tag=True):
    """A pause is pending: the phase stops when this module, op or node, which can't be interrupted, has ended."""

    what: str


class Running(Struct, frozen=True, tag=True):
    """A script runs on: sent a few times a second until its next stop."""

    stop: Stop
    """The last stop, with the phase, iteration, loss and learning rate of now."""
    losses: LossView | None = None
    """The history of the loss, where it is shown."""


Event = Progress | Output | Died | Waiting | Running
"""Unsolicited messages of a session to its front end."""
