"""What a session can be told to do: one value for a key, a palette entry, a typed line and a line of a script."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct

from gradstep.values import edits, travels
from gradstep.values.edits import (
    Assign as Assign,
)
from gradstep.values.edits import (
    Checkpoint as Checkpoint,
)
from gradstep.values.edits import (
    Clip as Clip,
)
from gradstep.values.edits import (
    EditCommand as EditCommand,
)
from gradstep.values.edits import (
    Export as Export,
)
from gradstep.values.edits import (
    FileCommand as FileCommand,
)
from gradstep.values.edits import (
    Freeze as Freeze,
)
from gradstep.values.edits import (
    Mode as Mode,
)
from gradstep.values.edits import (
    Restore as Restore,
)
from gradstep.values.edits import (
    Seed as Seed,
)
from gradstep.values.edits import (
    UseOptimizer as UseOptimizer,
)
from gradstep.values.edits import (
    path_word,
)
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.inside import BreakKind, Edge, break_line
from gradstep.values.travels import (
    BackUntil as BackUntil,
)
from gradstep.values.travels import (
    Branch as Branch,
)
from gradstep.values.travels import (
    Compare as Compare,
)
from gradstep.values.travels import (
    Goto as Goto,
)
from gradstep.values.travels import (
    Redo as Redo,
)
from gradstep.values.travels import (
    Switch as Switch,
)
from gradstep.values.travels import (
    TravelCommand as TravelCommand,
)
from gradstep.values.travels import (
    Undo as Undo,
)
from gradstep.values.travels import (
    WhoWrote as WhoWrote,
)


class Load(Struct, frozen=True, tag=True):
    """Build a workload: an example's name, `FILE.py:factory` or `pkg.module:factory`.

    With `seed`, torch, python and numpy are seeded before the factory is called. `folder` is where a relative file
    is looked for (the script's folder); it is not part of the line.
    """

    target: str
    seed: int | None = None
    device: str = "auto"
    folder: str = ""


class Forward(Struct, frozen=True, tag=True):
    """Run the model and the loss on the current batch."""

    torch: ClassVar[str] = "prediction = model(x)"


class Backward(Struct, frozen=True, tag=True):
    """Run the backward of the last loss."""

    torch: ClassVar[str] = "loss.backward()"
    retain_graph: bool = False


class Step(Struct, frozen=True, tag=True):
    """Run the optimizer's step, and the schedulers' where the workload says so."""

    torch: ClassVar[str] = "optimizer.step()"


class ZeroGrad(Struct, frozen=True, tag=True):
    """Clear the gradients: to None or to zeros; by the setting when not said."""

    torch: ClassVar[str] = "optimizer.zero_grad()"
    set_to_none: bool | None = None


class NextBatch(Struct, frozen=True, tag=True):
    """Take the next batch from the workload; a workload of one batch keeps it."""

    torch: ClassVar[str] = "x, target = next(batches)"


class Into(Struct, frozen=True, tag=True):
    """Step into a phase, or one level deeper at the stop; without a phase, the natural next one."""

    phase: Literal["", "forward", "backward"] = ""


class Over(Struct, frozen=True, tag=True):
    """Do the next module, op or node whole."""


class Out(Struct, frozen=True, tag=True):
    """Go on to the end of the module that is running, or with `phase` to the end of the phase, past breakpoints."""

    phase: bool = False


class Continue(Struct, frozen=True, tag=True):
    """Go on to the next breakpoint, or to the end of the phase."""


class Until(Struct, frozen=True, tag=True):
    """Go on until a condition holds: after each phase, or at each stop of the level that is being stepped."""

    condition: Expression


class Pause(Struct, frozen=True, tag=True):
    """Have the phase that runs or goes on next stop at a place inside it, as a pause by key made it stop there.

    Places are counted from 1 as `Position.place` is; with `modules` ops are no places, as where a phase that ran whole
    was paused.
    """

    place: int
    modules: bool = False


class Break(Struct, frozen=True, tag=True):
    """Set a breakpoint, or with `passing` a logpoint, which prints `log` and goes on; see `inside.Breakpoint`."""

    kind: BreakKind
    what: str = ""
    edge: Edge = ""
    condition: Expression | None = None
    log: Expression | None = None
    ignore: int = 0
    passing: bool = False


class Delete(Struct, frozen=True, tag=True):
    """Delete a breakpoint by its number, or all of them (0)."""

    number: int = 0


class Enable(Struct, frozen=True, tag=True):
    """Enable or disable a breakpoint by its number, or all of them (0)."""

    number: int = 0
    on: bool = True


class Ignore(Struct, frozen=True, tag=True):
    """Let a breakpoint pass its next hits by."""

    number: int
    count: int


class Show(Struct, frozen=True, tag=True):
    """Select what the panels are about: a parameter, buffer or slice."""

    what: Expression


class Let(Struct, frozen=True, tag=True):
    """Keep a copy of a value under a new name."""

    name: str
    value: Expression


class Expect(Struct, frozen=True, tag=True):
    """State that a condition holds, for every element of it."""

    condition: Expression


class Print(Struct, frozen=True, tag=True):
    """Show a value once."""

    value: Expression


class WhyNone(Struct, frozen=True, tag=True):
    """Say why the `.grad` of a parameter is None: where the path from it to the loss ends."""

    what: Expression


class Watch(Struct, frozen=True, tag=True):
    """Report, and pause what is queued, whenever the value changes; as gdb's watch."""

    value: Expression


class Unwatch(Struct, frozen=True, tag=True):
    """Remove a watchpoint by its number, or all of them (0)."""

    number: int = 0


class Set(Struct, frozen=True, tag=True):
    """Change a setting: `set_to_none` (what a bare zero_grad does)."""

    name: str
    value: Expression


class Say(Struct, frozen=True, tag=True):
    """Narrate, in Markdown."""

    text: str


class Screenshot(Struct, frozen=True, tag=True):
    """Draw the screen to an SVG file; carried out by the front end.

    `size` is columns and rows, such as 80x24; empty for the size that the front end has, or was told.
    """

    path: str
    size: str = ""


PhaseCommand: TypeAlias = Forward | Backward | Step | ZeroGrad
Command: TypeAlias = (
    Load
    | Forward
    | Backward
    | Step
    | ZeroGrad
    | NextBatch
    | Into
    | Over
    | Out
    | Continue
    | Until
    | Pause
    | Break
    | Delete
    | Enable
    | Ignore
    | Show
    | Let
    | Expect
    | Print
    | WhyNone
    | Watch
    | Unwatch
    | Set
    | Say
    | Screenshot
    | TravelCommand
    | EditCommand
    | FileCommand
)
PointCommand: TypeAlias = PhaseCommand | NextBatch | EditCommand
"""Commands that change what is being trained: each that goes through leads to a new point of the timeline."""
TRAVELS = (Undo, Redo, Goto, BackUntil, WhoWrote, Branch, Switch, Compare)
EDITS = (Assign, Freeze, Clip, UseOptimizer, Mode, Seed, Restore)
FILES = (Checkpoint, Export)

PHASES: tuple[str, ...] = ("forward", "backward", "step", "zero_grad")
"""The four phases in the order of a training loop."""
ACTS: dict[str, PhaseCommand | NextBatch] = {
    "forward": Forward(),
    "backward": Backward(),
    "step": Step(),
    "zero_grad": ZeroGrad(),
    "next_batch": NextBatch(),
}
"""The plain acts by their lines, which are what they are called on screen."""
ACT_NAMES: dict[type, str] = {type(act): name for name, act in ACTS.items()}
"""What each kind of act is called."""


def line_of(command: Command) -> str:
    """Write a command as the line of a `.steps` script that replays it."""
    match command:
        case Load(target, seed, device):
            words = ["load", path_word(target)]
            words += [f"seed={seed}"] if seed is not None else []
            words += [f"device={device}"] if device != "auto" else []
            return " ".join(words)
        case Forward():
            return "forward"
        case Backward(retain_graph):
            return "backward retain_graph=true" if retain_graph else "backward"
        case Step():
            return "step"
        case ZeroGrad(set_to_none):
            return "zero_grad" if set_to_none is None else f"zero_grad set_to_none={str(set_to_none).lower()}"
        case NextBatch():
            return "next_batch"
        case Into(phase):
            return f"into {phase}".rstrip()
        case Over():
            return "over"
        case Out(phase):
            return "out phase" if phase else "out"
        case Continue():
            return "continue"
        case Until(condition):
            return f"until {expression_line(condition)}"
        case Pause(place, modules):
            return f"pause {place}{' modules' * modules}"
        case Break(kind, what, edge, condition, log, ignore, passing):
            return break_line(kind, what, edge, condition, log, ignore, passing)
        case Delete(number):
            return f"delete {number}" if number else "delete"
        case Enable(number, on):
            return f"{'enable' if on else 'disable'} {number or ''}".rstrip()
        case Ignore(number, count):
            return f"ignore {number} {count}"
        case Show(what):
            return f"show {expression_line(what)}"
        case Let(name, value):
            return f"let {name} = {expression_line(value)}"
        case Expect(condition):
            return f"expect {expression_line(condition)}"
        case Print(value):
            return f"print {expression_line(value)}"
        case WhyNone(what):
            return f"why {expression_line(what)}"
        case Watch(value):
            return f"watch {expression_line(value)}"
        case Unwatch(number):
            return f"unwatch {number}" if number else "unwatch"
        case Set(name, value):
            return f"set {name} = {expression_line(value)}"
        case Say(text):
            return f"say {text}"
        case Screenshot(path, size):
            return f"screenshot {path_word(path)}" + (f" size={size}" if size else "")
        case Undo() | Redo() | Goto() | BackUntil() | WhoWrote() | Branch() | Switch() | Compare():
            return travels.travel_line(command)
        case _:
            return edits.edit_line(command)
