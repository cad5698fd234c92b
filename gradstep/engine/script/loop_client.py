"""What a script's loop asks of the session: how far to run, what stops it, and who hears of its phases."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

from gradstep.engine.held import Held
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Forward
from gradstep.values.expressions import Expression

Until = Literal["first", "phase", "iteration", "into", "continue", "end"]


@dataclass(frozen=True)
class Wanted:
    """How far the script runs."""

    until: Until = "first"
    """`first`: before the first forward; `phase`: the end of the next phase called one of `names`; `iteration`: the
    first phase of the next iteration; `into`: the first place inside the next forward or backward; `continue`: a
    breakpoint; `end`: its end."""
    names: tuple[str, ...] = ()
    """For `phase`; empty for any."""
    iteration: int = 0
    """For `phase`: not before this one."""
    condition: Expression | None = None
    """For `phase`: it has to hold."""

    @property
    def runs_on(self) -> bool:
        """True when it runs on to a breakpoint or to its end: nobody looks soon at what its phases record."""
        return self.until == "continue" or self.until == "end"


class Begins(NamedTuple):
    """What begins in a script: a phase, or another call that is watched."""

    name: str
    of: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = MappingProxyType({})
    grad_mode: bool = True
    written: tuple[str, ...] = ()
    """The parameters whose `.grad` the script has written since the last phase."""
    within: tuple[str, ...] = ()


class LoopClient(Protocol):
    """What the loop asks of its client, the session: breakpoints, and stepping inside a phase."""

    def due(self, iteration: int) -> bool:
        """Return whether the checks look at an iteration."""
        ...

    @property
    def armed(self) -> bool:
        """True while a breakpoint is enabled."""
        ...

    def inside(self, phase: str) -> bool:
        """Return whether a breakpoint may stop it inside a phase."""
        ...

    def stepping(self, held: Held, act: Forward | Backward, into: bool) -> Stepping:
        """Return what steps a phase that begins."""
        ...

    def left(self) -> None:
        """Note that the phase that was stepped has ended."""
        ...

    def at_line(self, held: Held, place: str, numbers: tuple[int, ...]) -> str:
        """Return the line of the breakpoint that is hit among those of a source line; empty for none."""
        ...

    def holds(self, held: Held, condition: Expression) -> bool:
        """Return whether a condition holds now."""
        ...

    def before(self, held: Held, begins: Begins) -> None:
        """Take note of what begins."""
        ...

    def watching(self, held: Held) -> AbstractContextManager[object]:
        """Return what the checks observe a forward with."""
        ...

    def after(self, held: Held, phase: str, iteration: int, updates: bool) -> str:
        """Return the line of the breakpoint that the end of a phase hits, empty for none; the last phase `updates`."""
        ...
