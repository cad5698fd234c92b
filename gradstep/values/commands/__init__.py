"""The commands of a session: one value for a key, a palette entry, a typed line and a line of a script.

Each class declares its words, arguments and help (`syntax.py`), and is listed in `Command` below.
"""

from __future__ import annotations

from typing import TypeAlias, get_args

from msgspec.structs import replace

from gradstep.values.commands.edits import SETTINGS, Assign, Clip, Freeze, Mode, Seed, Set, UseOptimizer
from gradstep.values.commands.files import Checkpoint, Export, Restore
from gradstep.values.commands.inspection import (
    Check,
    Expect,
    FrameDown,
    FrameUp,
    Let,
    Print,
    Say,
    Screenshot,
    SelectFrame,
    Show,
    Unwatch,
    Watch,
    WhyNone,
)
from gradstep.values.commands.phases import Backward, Flow, Forward, Hold, Load, NextBatch, Release, Run, Step, ZeroGrad
from gradstep.values.commands.stepping import (
    Break,
    BreakKind,
    Continue,
    Delete,
    Edge,
    Enable,
    Ignore,
    Into,
    NextIteration,
    Out,
    Over,
    Pause,
    StepCommand,
    Until,
)
from gradstep.values.commands.syntax import Role, Syntax, Word, line_of
from gradstep.values.commands.time_travel import (
    HISTORY,
    HISTORY_TIME,
    BackUntil,
    Branch,
    Compare,
    Diff,
    EditCommand,
    Goto,
    Redo,
    Switch,
    TravelCommand,
    Try,
    Undo,
    WhoWrote,
)

Command: TypeAlias = (
    Load
    | Run
    | Hold
    | Release
    | Forward
    | Backward
    | Step
    | ZeroGrad
    | NextBatch
    | NextIteration
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
    | SelectFrame
    | FrameUp
    | FrameDown
    | Let
    | Expect
    | Print
    | Check
    | WhyNone
    | Watch
    | Unwatch
    | Assign
    | Set
    | Undo
    | Redo
    | Goto
    | BackUntil
    | WhoWrote
    | Branch
    | Switch
    | Compare
    | Diff
    | Try
    | EditCommand
    | Checkpoint
    | Export
    | Say
    | Screenshot
)
"""Every command, in the order of the help."""
COMMANDS: tuple[type[Command], ...] = get_args(Command)
FileCommand: TypeAlias = Checkpoint | Export
PhaseCommand: TypeAlias = Forward | Backward | Step | ZeroGrad
PointCommand: TypeAlias = PhaseCommand | NextBatch | EditCommand
"""Commands that change what is trained: each one that succeeds adds a point to the timeline."""


PHASES: tuple[str, ...] = ("forward", "backward", "step", "zero_grad")
"""The four phases in the order of a training loop."""
ACTS: dict[str, PhaseCommand | NextBatch] = {
    "forward": Forward(),
    "backward": Backward(),
    "step": Step(),
    "zero_grad": ZeroGrad(),
    "next_batch": NextBatch(),
}
"""Phases and next_batch without options, by their lines, which are also their names on screen."""
ACT_NAMES: dict[type, str] = {type(act): name for name, act in ACTS.items()}
"""The name of each of them."""


def role_of(command: Command) -> Role:
    """Return the role of a command."""
    return syntax_of(command).role


def syntax_of(command: Command) -> Syntax:
    """Return the declaration of a command."""
    syntax: Syntax = command.syntax
    return syntax


def for_replay(command: Command) -> Command:
    """Return a command for a replay, in which it overwrites its file."""
    return replace(command, over=True) if hasattr(command, "over") else command
