"""The gradients that a node received: at the stop inside a backward, or by running the last backward again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import ReferenceType, ref

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, node_name
from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.reads import Reading
from gradstep.engine.stepping.rerun import EnoughError, backward_again
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.yielding import Waits
from gradstep.values.errors import GradstepError
from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.node import ChainView, LookChain, LookNode, NodeView
from gradstep.views.graph.naming import Naming
from gradstep.views.node.contributions import AddedGradients, Addends
from gradstep.views.node.view import NodeViewer

_KEPT = 2
"""Nodes of a finished backward whose gradients are cached while they are shown: one for each panel."""

_NOTHING = "no gradient has arrived yet: run `backward`, or step into it with `into`"
_ANOTHER = ".grad is not this sum: it was changed since, or the backward does not repeat"


@dataclass
class _Received:
    """The gradients that one node received."""

    record: GraphRecord
    number: int
    arrived: Sequence[Tensor | None] | None = None
    left: Sequence[Tensor | None] | None = None
    addends: Addends = ()
    norms: dict[int, float | None] = field(default_factory=dict)
    note: str = ""
    added: AddedGradients | None = None
    made: Sequence[Tensor | None] | None = None
    """The node's own result, when the gradient it passed on was edited."""
    edits: tuple[str, ...] = ()


class NodeViews:
    """Makes the node views. After a finished backward, what a node received is cached while it is shown."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._viewer = NodeViewer(held)
        self._kept: list[tuple[Point, _Received]] = []
        self._stopped: tuple[ReferenceType[StopPlace], _Received] | None = None
        """What the node at the stop received, as long as it is stopped there."""

    def forget(self) -> None:
        """Release the cached gradients and the graph: no panel shows a node any more."""
        self._kept, self._stopped = [], None
        self._viewer.forget()

    def node(self, stop: int, request: LookNode, stepping: Stepping | None, waits: Waits) -> Reading[NodeView]:
        """Read the view of a node; a rerun for it ends with `YieldedError` once `waits` returns True."""
        seen = self._seen(self._wanted(request.number, request.path), stepping, waits)
        if isinstance(seen, str):
            return NodeView(stop, note=seen)
        view = yield from self._viewer.view(
            stop, request, seen.record, seen.number, seen.arrived, seen.left, seen.norms, seen.made
        )
        here = None if stepping is None else stepping.stop_place
        view = replace(view, edits=seen.edits, call="" if here is None else here.call)
        return replace(view, note=seen.note) if seen.note else view

    def chain(self, stop: int, request: LookChain, stepping: Stepping | None, waits: Waits) -> ChainView:
        """Return the chain from the loss to a node."""
        seen = self._seen(request.number, stepping, waits)
        if isinstance(seen, str):
            return ChainView(stop, note=seen)
        return self._viewer.chain(stop, request, seen.record, seen.number, seen.norms)

    def contributions(
        self, stop: int, request: LookContributions, stepping: Stepping | None, waits: Waits
    ) -> ContributionsView:
        """Return the gradients added up at a node, or at the leaf of a parameter."""
        seen = self._seen(self._wanted(request.number, request.path), stepping, waits)
        if isinstance(seen, str):
            return ContributionsView(stop, note=seen)
        if seen.arrived is None:
            naming, number = Naming(self._held, seen.record), seen.number
            return ContributionsView(
                stop,
                number,
                node_name(seen.record.nodes[number]),
                naming.operation(number),
                naming.module(number),
                naming.parameter(number),
                note=seen.note,
            )
        if seen.added is None:
            seen.added = AddedGradients(self._held, seen.record, seen.number, seen.arrived, seen.addends)
        view = seen.added.view(stop, request)
        parameter = self._held.tensor(view.parameter) if view.grad == "fresh" and stepping is None else None
        grad = None if parameter is None else parameter.grad
        if grad is not None and seen.arrived[0] is not None and not same_bits(grad, seen.arrived[0]):
            return replace(view, note=_ANOTHER)
        return view

    # -- gradients ----------------------------------------------------------------------------------------------------
    def _wanted(self, number: int | None, path: str) -> int | str | None:
        """Return the number of a node, or of the one that a path names; a text on why it names none."""
        record = self._held.graph()
        if not path or record is None:
            return number
        place = Naming(self._held, record).find(path)
        if place >= 0:
            return place
        if self._held.tensor(path) is None:
            return f"the graph of the last loss has no operation of {path or 'the model'}"
        return f"the graph of the last loss does not lead to {path}: `why {path}.grad` shows why"

    def _seen(self, number: int | str | None, stepping: Stepping | None, waits: Waits) -> _Received | str:
        """Return what a node received, or why there is no node to show."""
        if isinstance(number, str):
            return number
        record = self._held.graph()
        if record is None:
            return "no graph yet: run `forward`, which builds it"
        here = None if stepping is None else stepping.stop_place
        if number is None:
            if here is None or here.node is None:
                if stepping is None and not self._held.point.ran:
                    return _NOTHING
                return "not stopped at a node: select one in Graph, or a parameter or a module in Model"
            number = here.number
        if not 0 <= number < len(record.nodes):
            return f"the graph has no node #{number}: its last one is #{len(record.nodes) - 1}"
        if stepping is not None:
            return self._inside(record, number, here, stepping)
        if not self._held.point.ran:
            return _Received(record, number, note=_NOTHING)
        return self._by_rerun(record, number, waits)

    def _inside(self, record: GraphRecord, number: int, here: StopPlace | None, stepping: Stepping) -> _Received:
        if here is None or here.node is None or here.number != number:
            ran = number in stepping.ran
            note = "it has run: its gradients can be shown again when the phase is over" if ran else ""
            return _Received(record, number, norms=stepping.norms, note=note or "it has not run yet")
        if not stepping.looked:
            stepping.looked = True
            stepping.note_norm(here.number, here.inputs)
        if self._stopped is None or self._stopped[0]() is not here or _is_changed(self._stopped[1], here):
            seen = _Received(record, number, here.inputs, here.outputs, here.addends, stepping.norms)
            seen.made, seen.edits = here.made, here.edits
            self._stopped = (ref(here, self._release), seen)
        return self._stopped[1]

    def _release(self, gone: ReferenceType[StopPlace]) -> None:
        """Release what was received at a stop once the phase has gone on from it."""
        if self._stopped is not None and self._stopped[0] is gone:
            self._stopped = None

    def _by_rerun(self, record: GraphRecord, number: int, waits: Waits) -> _Received:
        point = self._held.point
        self._kept = [(then, seen) for then, seen in self._kept if then is point]
        known = next((seen for _, seen in self._kept if seen.number == number), None)
        if known is not None:
            return known
        seen = _Received(record, number)
        path = frozenset(self._viewer.path(record, number))

        def passes(place: int, after: bool, *_: object) -> bool:
            return place != number and (after or place not in path)

        def see(here: StopPlace) -> None:
            if here.edge == "before":
                seen.norms[here.number] = norm_of(here.inputs[0]) if _is_one(here.inputs) else None
            elif here.number == number:
                seen.arrived, seen.left, seen.addends = here.inputs, here.outputs, here.addends
                seen.made, seen.edits = here.made, here.edits
                raise EnoughError

        try:
            with torch.enable_grad():
                seen.record = backward_again(self._held, see, passes, number.__eq__, waits)
        except GradstepError as error:
            seen.note = f"{error.problem.title}: {error.problem.what}"
        self._kept = [*self._kept, (point, seen)][-_KEPT:]
        return seen


def _is_one(inputs: Sequence[object]) -> bool:
    return len(inputs) == 1 and isinstance(inputs[0], Tensor)


def _is_changed(seen: _Received, here: StopPlace) -> bool:
    """Return whether the gradient at a stop was edited since it was read."""
    return seen.arrived is not here.inputs or seen.left is not here.outputs
