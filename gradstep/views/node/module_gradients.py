"""The gradients through a module in the last backward: those of its outputs, and those of its inputs.

They cross the border of a module's call: the edges of the graph that lead into it carry the gradients of its outputs,
those that lead out of it the ones of its inputs. Edges to parameters end at their `.grad` and are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from msgspec.structs import replace

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.stepping.rerun import EnoughError, backward_again
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.yielding import Waits
from gradstep.values.errors import GradstepError
from gradstep.values.views.inside import InsideView, LookInside, Passed
from gradstep.views.graph.naming import Naming
from gradstep.views.node.flow import Vectors, vector_at
from gradstep.views.node.inside import passed_of

Port: TypeAlias = "tuple[int, int]"
"""A node, and which output of its operation."""
_MOST = 12
"""Maximum number of outputs and inputs that are described."""


@dataclass
class _Border:
    """What crosses the border of one call of a module."""

    outputs: list[Port] = field(default_factory=list)
    """Nodes inside that an edge from outside leads to."""
    inputs: dict[Port, list[Port]] = field(default_factory=dict)
    """Nodes outside that edges from inside lead to, each with those edges: a node and the index of its edge."""
    shared: set[Port] = field(default_factory=set)
    """Those of `inputs` that other edges lead to as well."""


class ModuleGradients:
    """Makes views of modules after a finished backward; the last one is cached."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._kept: tuple[Point, str, int, InsideView] | None = None

    def view(self, stop: int, request: LookInside, waits: Waits) -> InsideView:
        """Return the gradients of a module's outputs and inputs, or why there are none.

        Raises:
            YieldedError: `waits` returned True while the backward was rerun for them.
        """
        record, point = self._held.graph(), self._held.point
        if record is None:
            return InsideView(stop, note="no graph yet: run `forward`, or step into it with `into`")
        found = self._call(record, request)
        if isinstance(found, str):
            return InsideView(stop, note=found)
        path, call = found
        if not point.ran:
            what = "no gradient has flowed through it yet: run `backward`, or step into it with `into`"
            return self._headed(InsideView(stop, note=what), record, path, call)
        if self._kept is None or self._kept[0] is not point or self._kept[1:3] != (path, call):
            self._kept = (point, path, call, self._headed(self._again(record, call, waits), record, path, call))
        return replace(self._kept[3], stop=stop)

    def _call(self, record: GraphRecord, request: LookInside) -> tuple[str, int] | str:
        """Return the requested module and its call, as the index among the calls; a text when there is none."""
        naming, held = Naming(self._held, record), self._held
        path, number = request.path, request.number
        if held.tensor(path) is not None:
            path = path.rpartition(".")[0]
        elif number is not None and not path:
            leaf = naming.parameter(number)
            owner = leaf.rpartition(".")[0] if leaf in held.owned else record.owners[number]
            if owner is None:
                return f"#{number} {naming.operation(number)} was made outside of the model: select a module in Model"
            path = owner
        every = range(len(record.nodes))
        for start in every if number is None else (number, *every):
            call = record.calls[start]
            while call >= 0 and record.made.calls[call].path != path:
                call = record.made.calls[call].parent
            if call >= 0:
                return path, call
        return f"the graph of the last loss has no operation of {path or 'the model'}: nothing flowed through it"

    def _headed(self, view: InsideView, record: GraphRecord, path: str, call: int) -> InsideView:
        """Return a view with its module and the number of its call."""
        times = record.made.times(path)
        number = record.made.calls[call].number if times > 1 else 0
        return replace(
            view, module=Naming(self._held, record).title(path), call=number, calls=times if times > 1 else 0
        )

    def _again(self, record: GraphRecord, call: int, waits: Waits) -> InsideView:
        """Run the backward again and record what crosses the border of a call."""
        ends = {place for place in record.leaves if leaf_tensor(record.nodes[place]) in self._held.names}
        border = _border(record, call, ends)
        wanted = {number for number, _ in (*border.outputs, *border.inputs)}
        leaving = {number for edges in border.inputs.values() for number, _ in edges}
        arrived: dict[int, Vectors] = {}
        left: dict[int, Vectors] = {}

        def see(here: StopPlace) -> None:
            if here.edge == "before" and here.number in wanted:
                arrived[here.number] = here.inputs
            elif here.edge == "after" and here.number in leaving:
                left[here.number] = here.outputs or ()
            if arrived.keys() == wanted and left.keys() == leaving:
                raise EnoughError

        def passes(place: int, after: bool, *_: object) -> bool:
            return place not in (leaving if after else wanted)

        try:
            with torch.enable_grad():
                backward_again(self._held, see, passes, lambda _: False, waits)
        except GradstepError as error:
            return InsideView(0, note=f"{error.problem.title}: {error.problem.what}")
        naming = Naming(self._held, record)
        outputs = tuple(
            passed_of(_name("output", i, len(border.outputs)), value, naming.where(number))
            for i, (number, output) in enumerate(border.outputs[:_MOST])
            if (value := vector_at(arrived.get(number), output)) is not None
        )
        inputs: list[Passed] = []
        for i, ((number, output), edges) in enumerate(list(border.inputs.items())[:_MOST]):
            name, where = _name("input", i, len(border.inputs)), naming.where(number)
            parts = [value for n, edge in edges if (value := vector_at(left.get(n), edge)) is not None]
            total = vector_at(arrived.get(number), output)
            if parts:
                made = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)
                inputs.append(passed_of(name, made, where))
            if (number, output) in border.shared and total is not None:
                inputs.append(passed_of(f"{name}, all uses", total, where))
        return InsideView(0, inputs=tuple(inputs), outputs=outputs, note="" if inputs else _NO_INPUT)


_NO_INPUT = "none of its inputs requires grad: it passes gradients to parameters only"


def _border(record: GraphRecord, call: int, ends: Collection[int]) -> _Border:
    """Find what crosses the border of a call: nodes made in it, or in a nested call, are inside.

    Args:
        record: the graph.
        call: the index of the call.
        ends: the leaves of parameters, whose gradients are not those of an input.
    """
    parents = [made.parent for made in record.made.calls]
    within: dict[int, bool] = {-1: False, call: True}
    for place in range(len(parents)):  # a call begins after its parent
        within.setdefault(place, within[parents[place]])
    leaves = frozenset(record.leaves)  # no operation makes them
    inside = [within[made] and place not in leaves for place, made in enumerate(record.calls)]
    border = _Border([(0, 0)] if inside and inside[0] else [])
    outside: set[Port] = set()
    for number, node in enumerate(record.nodes):
        targets = iter(record.edges[number])
        for edge, (following, output) in enumerate(node.next_functions):
            if following is None:
                continue
            target = next(targets)
            if inside[number] and not inside[target] and target not in ends:
                border.inputs.setdefault((target, output), []).append((number, edge))
            elif inside[target] and not inside[number] and (target, output) not in border.outputs:
                border.outputs.append((target, output))
            if not inside[number]:
                outside.add((target, output))
    border.shared = outside & border.inputs.keys()
    return border


def _name(side: str, place: int, count: int) -> str:
    return f"grad of {side}" + (f" {place}" if count > 1 else "")
