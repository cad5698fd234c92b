"""How far to go on inside a phase: which of the places that come is the one that was wished for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.expressions import Expression, expression_line

Kind = Literal["into", "over", "out", "continue", "until", "end", "place"]


@dataclass(frozen=True)
class StopCondition:
    """How far to go on, seen from the place that it was wished at."""

    kind: Kind
    condition: Expression | None = None
    here: StopPlace | None = None
    """Where it was wished; None at the start of the phase."""
    place: int = 0

    def wants(self, stop_place: StopPlace) -> bool:
        """Return whether the place is one that was wished for; conditions apart."""
        here = self.here
        match self.kind:
            case "into":
                return stop_place.kind != "op" or here is not None
            case "over" | "until":
                return self._level(stop_place)
            case "out":
                return self._left(stop_place)
            case _:
                return False

    def _level(self, stop_place: StopPlace) -> bool:
        """The next place that is no deeper: of nodes the next one, before it runs; after it if that can matter."""
        here = self.here
        if stop_place.kind == "node" and (not stop_place.call or (here is not None and here.call)):
            return stop_place.edge == "before" or self._asks_after
        if here is None:
            return stop_place.kind == "module"
        if stop_place.kind == "op" and here.kind == "module":
            return False
        if self.kind == "until" and here.kind == "module":
            return True
        return stop_place.depth <= here.depth

    @cached_property
    def _asks_after(self) -> bool:
        """True for a condition on what leaves a node, which is there only once that has run."""
        line = "" if self.condition is None else expression_line(self.condition)
        return "node.out" in line or "node.edge" in line

    def _left(self, stop_place: StopPlace) -> bool:
        """The end of the module that runs; of nodes, the first that belongs to another one."""
        here = self.here
        if here is None:
            return False
        if here.call:
            return stop_place.depth < here.depth
        if stop_place.kind == "node" and not stop_place.call:
            inside = stop_place.path == here.path or stop_place.path.startswith(f"{here.path}.")
            return stop_place.edge == "before" and bool(here.stack) and not (inside and stop_place.stack)
        around = here.depth - 1 if here.kind == "op" or here.edge == "exit" else here.depth
        return stop_place.kind == "module" and stop_place.edge == "exit" and stop_place.depth <= around
