"""Stop conditions: where a phase that is stepped stops next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.expressions import Expression, expression_line

Kind = Literal["into", "over", "out", "continue", "until", "end", "place"]


@dataclass(frozen=True)
class StopCondition:
    """Where a phase stops next, relative to the place that it continues from."""

    kind: Kind
    condition: Expression | None = None
    here: StopPlace | None = None
    """The place that it continues from; None at the start of the phase."""
    place: int = 0

    def wants(self, stop_place: StopPlace) -> bool:
        """Return whether to stop at a place, apart from `condition`."""
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
        """Return whether a place is not deeper; of nodes, whether it is before one, or after where `condition` asks."""
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
        """True for a condition on a node's outputs, which exist only after it has run."""
        line = "" if self.condition is None else expression_line(self.condition)
        return "node.out" in line or "node.edge" in line

    def _left(self, stop_place: StopPlace) -> bool:
        """Return whether a place is the end of the running module; of nodes, the first of another module."""
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
