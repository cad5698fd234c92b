"""Commands that step inside a phase and say where it is to stop, and what they are as lines."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.expressions import Expression, expression_line
from gradstep.values.inside import BreakKind, Edge, break_line


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


StepCommand: TypeAlias = Into | Over | Out | Continue | Until | Pause | Break | Delete | Enable | Ignore


def step_line(command: StepCommand) -> str:
    """Write a command as the line of a `.steps` script that replays it."""
    match command:
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
