"""What a session can be told to do: one value for a key, a palette entry, a typed line and a line of a script.

Commands of one kind have a room of their own; every one of them goes by its name here.
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from gradstep.values import edits, stepping, travels
from gradstep.values.edits import path_word
from gradstep.values.expressions import Expression, expression_line

Break = stepping.Break
Continue = stepping.Continue
Delete = stepping.Delete
Enable = stepping.Enable
Ignore = stepping.Ignore
Into = stepping.Into
Out = stepping.Out
Over = stepping.Over
Pause = stepping.Pause
StepCommand: TypeAlias = stepping.StepCommand
Until = stepping.Until
BackUntil = travels.BackUntil
Branch = travels.Branch
Compare = travels.Compare
Diff = travels.Diff
Goto = travels.Goto
Redo = travels.Redo
Switch = travels.Switch
TravelCommand: TypeAlias = travels.TravelCommand
Try = travels.Try
Undo = travels.Undo
WhoWrote = travels.WhoWrote
Assign = edits.Assign
Checkpoint = edits.Checkpoint
Clip = edits.Clip
EditCommand: TypeAlias = edits.EditCommand
Export = edits.Export
FileCommand: TypeAlias = edits.FileCommand
Flow = edits.Flow
Freeze = edits.Freeze
Mode = edits.Mode
Restore = edits.Restore
Seed = edits.Seed
UseOptimizer = edits.UseOptimizer


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
    flows: tuple[Flow, ...] = ()
    """What was changed by hand of what flows in it, when it was stepped: what running it again does, too."""


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


class Check(Struct, frozen=True, tag=True):
    """Compare the derivatives of nodes with finite differences; of a custom Function also its double backward.

    `what` is a node's number as `#12`, its name, operation or module, or a glob; empty for the node that is stopped at,
    else for every custom Function of the graph.
    """

    what: str = ""


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

    `size` is columns and rows, such as 80x24; empty for the size that the front end has, or was told. `over` is no
    part of the line, as for `Checkpoint`.
    """

    path: str
    size: str = ""
    over: bool = False


PhaseCommand: TypeAlias = Forward | Backward | Step | ZeroGrad
Command: TypeAlias = (
    Load
    | Forward
    | Backward
    | Step
    | ZeroGrad
    | NextBatch
    | StepCommand
    | Show
    | Let
    | Expect
    | Print
    | WhyNone
    | Check
    | Watch
    | Unwatch
    | Set
    | Say
    | Screenshot
    | TravelCommand
    | Try
    | EditCommand
    | FileCommand
)
PointCommand: TypeAlias = PhaseCommand | NextBatch | EditCommand
"""Commands that change what is being trained: each that goes through leads to a new point of the timeline."""
TRAVELS = (Undo, Redo, Goto, BackUntil, WhoWrote, Branch, Switch, Compare, Diff, Try)
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


def for_replay(command: Command) -> Command:
    """Return a command as a replay carries it out: it overwrites the file that it wrote before."""
    return replace(command, over=True) if isinstance(command, (*FILES, Screenshot)) else command


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
        case Backward(retain_graph, flows):
            return _backward_line("backward retain_graph=true" if retain_graph else "backward", flows)
        case Step():
            return "step"
        case ZeroGrad(set_to_none):
            return "zero_grad" if set_to_none is None else f"zero_grad set_to_none={str(set_to_none).lower()}"
        case NextBatch():
            return "next_batch"
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
        case Check(what):
            return f"check {what}".rstrip()
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
        case Into() | Over() | Out() | Continue() | Until() | Pause() | Break() | Delete() | Enable() | Ignore():
            return stepping.step_line(command)
        case Undo() | Redo() | Goto() | BackUntil() | WhoWrote() | Branch() | Switch() | Compare() | Diff() | Try():
            return travels.travel_line(command)
        case _:
            return edits.edit_line(command)


def _backward_line(line: str, flows: tuple[Flow, ...]) -> str:
    """Write a backward with what was changed in it as the lines that step to each place, change it, and go on."""
    place, lines = 0, []
    for flow in flows:
        if flow.place != place:
            lines += [f"pause {flow.place}", "out phase" if place else line]
        place = flow.place
        lines.append(edits.edit_line(flow.change))
    return "; ".join([*lines, "out phase"]) if flows else line
