"""What a node was passed: from the stop inside a backward, or from running the last backward once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.again import backward_again
from gradstep.engine.bits import same_bits
from gradstep.engine.events import Event
from gradstep.engine.graph import GraphRecord, leaf_tensor
from gradstep.engine.held import Held
from gradstep.engine.loop import Point
from gradstep.engine.stepping import Stepping
from gradstep.engine.taps import source_of
from gradstep.values.errors import GradstepError
from gradstep.values.inside import Contribution, ContributionsView, LookContributions
from gradstep.values.nodes import ChainView, LookChain, LookNode, NodeView
from gradstep.views.node import NodeLook
from gradstep.views.numbers import norm_of

Addends = Sequence[tuple[int, int, Tensor]]


@dataclass
class _Seen:
    """What one node was passed."""

    record: GraphRecord
    number: int
    arrived: Sequence[Tensor | None] | None = None
    left: Sequence[Tensor | None] | None = None
    addends: Addends = ()
    norms: dict[int, float | None] = field(default_factory=dict)
    note: str = ""


class Passing:
    """Answers for nodes. Of a backward that ran whole, what one node was passed is kept while it is looked at."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._look = NodeLook(held)
        self._kept: tuple[Point, _Seen] | None = None

    def asked(self, wanted: bool) -> None:
        """Note a look; what was kept is let go of when nobody looks any more."""
        if not wanted:
            self._kept = None
            self._look.forget()

    def node(self, stop: int, request: LookNode, stepping: Stepping | None) -> NodeView:
        """Return what a node makes of what arrives."""
        seen = self._seen(request.number, stepping)
        if isinstance(seen, str):
            return NodeView(stop, note=seen)
        view = self._look.view(stop, request, seen.record, seen.number, seen.arrived, seen.left, seen.norms)
        return replace(view, note=seen.note) if seen.note else view

    def chain(self, stop: int, request: LookChain, stepping: Stepping | None) -> ChainView:
        """Return the chain from the loss to a node."""
        seen = self._seen(request.number, stepping)
        if isinstance(seen, str):
            return ChainView(stop, note=seen)
        return self._look.chain(stop, request, seen.record, seen.number, seen.norms)

    def contributions(self, stop: int, request: LookContributions, stepping: Stepping | None) -> ContributionsView:
        """Return what met at a node, or at the leaf of a parameter."""
        number = self._leaf(request.parameter) if request.parameter else request.number
        if request.parameter and number is None:
            note = f"the graph of the last loss does not lead to {request.parameter}: `why {request.parameter}.grad`"
            return ContributionsView(stop, parameter=request.parameter, note=note)
        seen = self._seen(number, stepping)
        if isinstance(seen, str):
            return ContributionsView(stop, note=seen)
        return self._contributions(stop, seen)

    def _contributions(self, stop: int, seen: _Seen) -> ContributionsView:
        node = seen.record.nodes[seen.number]
        leaf = leaf_tensor(node)
        parameter = "" if leaf is None else self._held.names.get(leaf, "")
        view = ContributionsView(stop, seen.number, node.name().rsplit("::", 1)[-1], parameter)
        ports = _by_port(seen)
        if seen.arrived is None:
            return replace(view, note=seen.note or "nothing has arrived yet: b runs the backward, i steps into it")
        if not seen.addends:
            return replace(view, note="one gradient arrives here, and nothing is added to it")
        port = max(ports, key=lambda port: len(ports[port]))
        total = seen.arrived[port]
        rows = tuple(self._row(seen.record, number, edge, value, total) for number, edge, value in ports[port])
        exact = total is not None and _adds_up([value for _, _, value in ports[port]], total)
        note = "" if exact else "a hook changed the sum, or not every gradient was seen"
        return ContributionsView(
            stop, view.number, view.name, parameter, rows, None if total is None else norm_of(total), exact, note
        )

    def _row(self, record: GraphRecord, number: int, edge: int, value: Tensor, total: Tensor | None) -> Contribution:
        call = record.calls[number]
        owner = record.owners[number]
        times = record.made.times(owner) if owner is not None else 0
        return Contribution(
            number,
            edge,
            record.nodes[number].name().rsplit("::", 1)[-1],
            "loss" if owner is None else f"{owner} {self._held.kinds.get(owner, '')}".strip(),
            record.made.calls[call].number if call >= 0 and times > 1 else 0,
            times if times > 1 else 0,
            tuple(value.shape),
            norm_of(value),
            _share(value, total),
            source_of(self._held.line_of(number)),
        )

    # -- seeing --------------------------------------------------------------------------------------------------------
    def _seen(self, number: int | None, stepping: Stepping | None) -> _Seen | str:
        """Return what a node was passed, or why there is no node to see."""
        record = self._held.graph()
        if record is None:
            return "no graph yet: f runs forward, which builds it"
        event = None if stepping is None else stepping.event
        if number is None:
            if event is None or event.node is None:
                return "no node is stopped at: i steps into a backward, or choose a node in Graph"
            number = event.number
        if not 0 <= number < len(record.nodes):
            return f"the graph has no node #{number}: its last one is #{len(record.nodes) - 1}"
        if stepping is not None:
            return self._inside(record, number, event, stepping)
        if not self._held.point.ran:
            return _Seen(record, number, note="nothing has arrived yet: b runs the backward, i steps into it")
        return self._once_more(record, number)

    def _inside(self, record: GraphRecord, number: int, event: Event | None, stepping: Stepping) -> _Seen:
        if event is None or event.node is None or event.number != number:
            ran = number in stepping.ran
            note = "it has run: what it was passed can be seen again when the phase is over" if ran else ""
            return _Seen(record, number, norms=stepping.norms, note=note or "it has not run yet")
        if not stepping.looked:
            stepping.looked = True
            stepping.note_norm(event)
        return _Seen(record, number, event.inputs, event.outputs, event.addends, stepping.norms)

    def _once_more(self, record: GraphRecord, number: int) -> _Seen:
        point = self._held.point
        if self._kept is not None and self._kept[0] is point and self._kept[1].number == number:
            return self._kept[1]
        seen = _Seen(record, number)

        def see(event: Event) -> None:
            if event.edge == "before":
                seen.norms[event.number] = norm_of(event.inputs[0]) if _is_one(event.inputs) else None
            elif event.number == number:
                seen.arrived, seen.left, seen.addends = event.inputs, event.outputs, event.addends

        try:
            with torch.enable_grad():
                seen.record = backward_again(self._held, see)
        except GradstepError as error:
            seen.note = f"{error.problem.title}: {error.problem.what}"
        self._kept = (point, seen)
        return seen

    def _leaf(self, parameter: str) -> int | None:
        record, tensor = self._held.graph(), self._held.tensor(parameter)
        if record is None:
            return None
        return next((place for place in record.leaves if leaf_tensor(record.nodes[place]) is tensor), None)


def _is_one(inputs: Sequence[object]) -> bool:
    return len(inputs) == 1 and isinstance(inputs[0], Tensor)


def _by_port(seen: _Seen) -> Mapping[int, list[tuple[int, int, Tensor]]]:
    """Return the addends by the input of the node that they were added to."""
    ports: dict[int, list[tuple[int, int, Tensor]]] = {}
    for number, edge, value in seen.addends:
        ports.setdefault(seen.record.nodes[number].next_functions[edge][1], []).append((number, edge, value))
    return ports


def _share(value: Tensor, total: Tensor | None) -> float | None:
    """Return <value, total> / <total, total>; None where that makes no sense."""
    if total is None or value.is_sparse or total.is_sparse or total.is_complex() or value.shape != total.shape:
        return None
    flat = total.reshape(-1).double()
    square = float(flat @ flat)
    return float(value.reshape(-1).double() @ flat) / square if square else None


def _adds_up(values: Sequence[Tensor], total: Tensor) -> bool:
    made = values[0]
    for value in values[1:]:
        made = made + value
    return same_bits(made, total)
