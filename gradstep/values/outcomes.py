"""What came of a command: where the session stands, what went wrong, what was printed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.commands import Command
from gradstep.values.views import Changes
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
    """What went wrong, as a value: a title, what happened, and what to do about it.

    `kind` decides the exit code of a replay: `expectation` 1, `wrong` (the command or the script) 2, `raised` (the
    debuggee raised; the state is as before the command) 3, `interrupted` 130.
    """

    kind: Literal["expectation", "wrong", "raised", "interrupted"]
    title: str
    what: str
    remedy: str = ""
    subject: str = ""
    """The word of the line that is at fault, for a caret under it; empty when it is the whole line."""
    frames: tuple[Frame, ...] = ()
    """The debuggee's traceback, innermost last; empty when nothing of the debuggee raised."""
    expected: str = ""
    actual: str = ""
    difference: str = ""
    """For an expectation over numbers: the greatest difference and where it is."""


class WatchHit(Struct, frozen=True):
    """A watchpoint whose value changed: its number, what it watches, and both values as text."""

    number: int
    line: str
    before: str
    after: str


class Stop(Struct, frozen=True):
    """The moment the debuggee is paused: everything the status line and the path of phases show."""

    number: int = 0
    """Stops so far: 0 before anything is loaded, 1 after load, one more for each phase or batch carried out."""
    workload: str = ""
    device: str = ""
    dtype: str = ""
    seed: int | None = None
    phase: str = ""
    """The last phase carried out: forward, backward, step or zero_grad; `next_batch`; or empty before any."""
    torch: str = ""
    """The line of PyTorch that the last phase was, with its arguments."""
    done: tuple[str, ...] = ()
    """Phases done on the way round the loop, counted from the last zero_grad."""
    natural: tuple[str, ...] = ()
    """The lines that the natural next act consists of, e.g. ("next_batch", "forward")."""
    iteration: int = 0
    """Optimizer steps taken."""
    loss: float | None = None
    """The last loss; None before the first forward or when it is not a scalar."""
    loss_change: float | None = None
    """The last loss minus the one before it; None until there are two."""
    optimizer: str = ""
    lr: tuple[float, ...] = ()
    """One learning rate for each parameter group."""
    batch: int = 0
    """Batches taken so far; 0 before the first forward or next_batch."""
    opening: str = ""
    """What the workload asks to be shown first, as the text of a `show` line; empty for none."""
    parameters: int = 0
    """Elements of all parameters."""
    pausable: tuple[str, ...] = ()
    """The phases that a pause stops inside, for they took long and are watched; others it undoes."""
    position: Position | None = None
    """Where it stopped inside a phase; None between phases."""
    hit: str = ""
    """The breakpoint that the last command ran into, between phases or inside one, as its line; empty for none."""
    branch: str = ""
    """The branch of the timeline; empty where no history is kept."""
    script: bool = False
    """True for a training script: it runs on from here, and never back."""
    ahead: int = 0
    """Commands that were undone on this branch, and that `redo` does again."""


class Outcome(Drawn, frozen=True):
    """What `Session.execute` returns: the command, where the session stands now, and what came of it."""

    command: Command
    stop: Stop
    problem: Problem | None = None
    text: str = ""
    """What `print` printed; the values of new `let`s and watchpoints."""
    watches: tuple[WatchHit, ...] = ()
    changes: Changes | None = None
    """What changed, where it was asked for (`Session.forward()` and the others do)."""
    pair: tuple[str, str] | None = None
    """The two points that a `try` leaves to be compared: the way as it was, and the branch it was done again on."""
    instead: tuple[Command, ...] | None = None
    """What was carried out, where that is not the command: of one that failed or was paused half way, or of several."""

    @property
    def carried_out(self) -> tuple[Command, ...]:
        """What a replay has to carry out to get here."""
        if self.instead is not None:
            return self.instead
        return (self.command,) if self.ok else ()

    @property
    def loss(self) -> float | None:
        """The last loss; None before the first forward or when it is not a scalar."""
        return self.stop.loss

    @property
    def ok(self) -> bool:
        """True when the command did what it says."""
        return self.problem is None


class Progress(Struct, frozen=True, tag=True):
    """A stage of loading has begun: importing torch, calling a factory, building an optimizer."""

    stage: str


class Output(Struct, frozen=True, tag=True):
    """What the debuggee wrote to its standard output or error."""

    text: str


class Died(Struct, frozen=True, tag=True):
    """The engine process ended by itself; `how` says it in words (`killed by SIGKILL`, `exited with status 3`)."""

    how: str


class Waiting(Struct, frozen=True, tag=True):
    """A pause was asked for; the phase stops as soon as this module, op or node is over: one can't be cut short."""

    what: str


Event = Progress | Output | Died | Waiting
"""What a session tells its front end without being asked."""
