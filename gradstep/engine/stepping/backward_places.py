"""The stop places of a backward: every node, before and after it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import NodeAbout, NodeRan
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.views.inside import SourceLine

Reach = Callable[[StopPlace], None]
"""Called at each stop place that is reached."""
Passes = Callable[[int, bool, str, tuple[Any, ...]], bool]
"""Called with a node's number, whether it has run, the parameter whose `.grad` it adds to, and the gradients that
arrived. Returns True to pass this place without making a `StopPlace`."""


class BackwardPlaces:
    """Makes stop places of the nodes of one graph, and collects the addends where gradients meet, in order of arrival.

    Args:
        graph: the graph that the backward runs through.
        line_of: returns the source line that made node i.
        types: the class of each module, by path.
        names: the name of each parameter.
        reach: called at each place, under `no_grad`.
        passes: called first, for it is much cheaper than making a place.
        gathers: returns whether the addends of node i are collected; they stay alive until the node has run.
    """

    def __init__(
        self,
        graph: GraphRecord,
        line_of: Callable[[int], SourceLine],
        types: Mapping[str, str],
        names: Mapping[Tensor, str],
        reach: Reach,
        passes: Passes = lambda *_: False,
        gathers: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.graph, self._reach, self._passes, self._line_of = graph, reach, passes, line_of
        self._stack = cache(lambda path: module_stack(path, types))
        leaves = ((i, leaf_tensor(graph.nodes[i])) for i in graph.leaves)
        self._names = {i: names[leaf] for i, leaf in leaves if leaf is not None and leaf in names}
        self._meeting = frozenset(filter(gathers, _meeting(graph)))
        self._addends: dict[int, list[tuple[int, int, Tensor]]] = {}
        self._edited: tuple[int, Mapping[str, tuple[str, str]]] = (-1, {})
        """The node before which something was edited last, and the edits: its place after it shows them too."""

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Reach each place of a backward that the block runs."""
        with observe({NodeAbout: self.about, NodeRan: self.ran}, graph=lambda _: self.graph):
            yield

    def about(self, event: NodeAbout) -> tuple[Any, ...] | None:
        """Reach the place before a node; return the edited gradients that arrive, None where nothing was edited."""
        place = self._reached(event.number, "before", event.arrived, None)
        if place is None or not place.edited:
            return None
        self._edited = (event.number, place.edited)
        return place.inputs

    def ran(self, event: NodeRan) -> tuple[Any, ...] | None:
        """Reach the place after a node; return the edited gradients that it passes on, None where nothing was."""
        number = event.number
        place = self._reached(number, "after", event.arrived, event.left)
        self._addends.pop(number, None)
        changed = place.outputs if place is not None and place.made is not None else None
        if not self._meeting.isdisjoint(self.graph.edges[number]):
            self._note_addends(event, event.left if changed is None else changed)
        return changed

    def _note_addends(self, event: NodeRan, left: tuple[Any, ...]) -> None:
        targets = iter(self.graph.edges[event.number])
        for edge, ((following, _), value) in enumerate(zip(event.node.next_functions, left, strict=False)):
            target = -1 if following is None else next(targets)
            if target in self._meeting and value is not None:
                self._addends.setdefault(target, []).append((event.number, edge, value))

    def _reached(
        self, number: int, edge: Any, arrived: tuple[Any, ...], left: tuple[Any, ...] | None
    ) -> StopPlace | None:
        parameter = self._names.get(number, "")
        if self._passes(number, left is not None, parameter, arrived):
            return None
        node = self.graph.nodes[number]
        owner = parameter.rpartition(".")[0] if parameter else self.graph.owner(number)
        addends = tuple(self._addends.get(number, ()))
        place = StopPlace(
            "backward",
            "node",
            edge,
            node.name(),
            owner or "",
            () if owner is None else self._stack(owner),
            1,
            arrived,
            {},
            left,
            number,
            node,
            parameter,
            find_source=lambda: self._line_of(number),
            addends=addends,
            edited=self._edited[1] if left is not None and self._edited[0] == number else {},
        )
        with torch.no_grad():
            self._reach(place)
        return place


def _meeting(graph: GraphRecord) -> frozenset[int]:
    """Return the numbers of the nodes that several edges lead to."""
    times = Counter(chain.from_iterable(graph.edges))
    return frozenset([number for number, count in times.items() if count > 1])


def module_stack(path: str, types: Mapping[str, str]) -> tuple[str, ...]:
    """Return a module and the modules around it, outermost first, as `path Class`."""
    parts = path.split(".") if path else []
    paths = ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]
    return tuple(f"{p} {types[p]}".strip() for p in paths if p in types)
