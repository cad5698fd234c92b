"""The cause of an error in backward: the node that saved a tensor, and what modified or freed it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from msgspec.structs import replace
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.buffers import is_freed, is_written
from gradstep.engine.autograd.graph import GraphRecord, record
from gradstep.engine.autograd.saved_values import IN_PLACE_ERROR, VERSIONS, saved_values
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import at
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import Lines, SourcePlace, op_name, users_place
from gradstep.engine.observe.stream import CompositeRan, Consumer, OpRan, OpStarts, RegionRan
from gradstep.engine.stepping.rerun import forward_again
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem

_SECOND = "backward through the graph a second time"
_CARRIED = "detach what is carried over from one forward to the next, such as a hidden state: `h = h.detach()`"


def with_cause(held: Held, problem: Problem, freed_by: str) -> Problem:
    """Return a problem of a backward with its cause before torch's message; any other problem unchanged.

    Args:
        held: the workload, rolled back.
        problem: what the backward raised.
        freed_by: the command whose backward freed the graph; empty if none did.
    """
    graph = held.graph()
    if IN_PLACE_ERROR in problem.what and graph is not None:
        kept = _kept_from_before(held, graph, is_written)
        if kept is not None:
            problem = replace(problem, remedy=_CARRIED)
        lines = list(_written(held, problem.what) if kept is None else _carried_over(held, graph, kept, _THEN_WRITTEN))
    elif _SECOND in problem.what and graph is not None:
        kept = None if freed_by else _kept_from_before(held, graph, is_freed)
        if kept is not None:
            problem = replace(problem, remedy=_CARRIED)
        lines = list(_freed(held, graph, freed_by) if kept is None else _carried_over(held, graph, kept, _THEN_FREED))
    else:
        return problem
    return replace(problem, what="\n".join([*lines, problem.what])) if lines else problem


def _freed(held: Held, graph: GraphRecord, freed_by: str) -> Iterator[str]:
    number = next((i for i, node in enumerate(graph.nodes) if is_freed(node)), None)
    if number is not None:
        yield f"the saved tensors of {_node(held, graph, number)} are freed"
    if freed_by:
        yield f"freed by {freed_by}, which ran through this graph without retain_graph"
        return
    trace, _ = _traced(held)
    for name, place in [] if trace is None else trace.backwards[:1]:
        yield f"freed by {name}{at(place)}, which runs in the forward without retain_graph"


def _kept_from_before(held: Held, graph: GraphRecord, is_lost: Callable[[Node], bool | None]) -> int | None:
    """Return the first node from an earlier forward whose saved tensors are lost, if any."""
    return next((i for i in _earlier(held, graph) if is_lost(graph.nodes[i])), None)


def _earlier(held: Held, graph: GraphRecord) -> list[int]:
    """Return the nodes made before the last forward; none when that forward was not observed."""
    numbers, leaves = held.point.watched.numbers, set(graph.leaves)
    old = (i for i, node in enumerate(graph.nodes) if i not in leaves and node._sequence_nr() not in numbers)
    return list(old) if numbers else []


_THEN_FREED = "the backward of that forward freed its saved tensors"
_THEN_WRITTEN = "its saved tensors were modified in place since, usually by optimizer.step()"


def _carried_over(held: Held, graph: GraphRecord, number: int, then: str) -> Iterator[str]:
    yield f"{_node(held, graph, number)} is from an earlier forward, and {then}"
    old = set(_earlier(held, graph))
    user = next((i for i, edges in enumerate(graph.edges) if i not in old and old.intersection(edges)), None)
    if user is not None:
        yield f"{_node(held, graph, user)} of this forward uses a tensor kept from the earlier one"


class _Trace:
    """Records the tensors that nodes save as they are made, and which op modifies them afterwards."""

    def __init__(self) -> None:
        self._saved: dict[Node, list[tuple[Tensor, int]]] = {}
        self.culprits: dict[Node, tuple[str, SourcePlace | None]] = {}
        self.backwards: list[tuple[str, SourcePlace | None]] = []
        """The backwards that run inside the forward."""

    def consumer(self) -> Consumer:
        """Return the consumer of events; saves inside a composite or a compiled region are not followed."""
        return {
            OpStarts: lambda event: self._made(event.args),  # a custom Function emits no event of its own
            OpRan: self._op_ran,
            CompositeRan: lambda event: self._ran(type(event.module).__name__, event.output, event.frame),
            RegionRan: lambda event: self._ran(event.name, event.result, event.frame),
        }

    def _op_ran(self, event: OpRan) -> None:
        if getattr(event.func, "__name__", "") in ("backward", "grad"):
            self.backwards.append((op_name(event.func), users_place(event.frame)))
        self._ran(op_name(event.func), event.result, event.frame)

    def _ran(self, name: str, result: Any, frame: FrameType) -> None:
        for node, kept in self._saved.items():
            if node not in self.culprits and any(tensor._version != version for tensor, version in kept):
                self.culprits[node] = (name, users_place(frame))
        self._made(result)

    def _made(self, value: Any) -> None:
        for _, tensor in tensors_in(value, ""):
            made = tensor.grad_fn
            if made is not None and made not in self._saved:
                self._saved[made] = [
                    (kept.tensor, kept.tensor._version) for kept in saved_values(made) if kept.tensor is not None
                ]


def _written(held: Held, message: str) -> Iterator[str]:
    graph = held.graph()
    if graph is None:
        return
    numbers = [i for i, node in enumerate(graph.nodes) if is_written(node)]
    found = VERSIONS.search(message)
    versions = f" at version {found[2]}; it is at version {found[1]} now" if found else ""
    trace, again = _traced(held)
    for i, number in enumerate(numbers[:3]):
        made = None if again is None else again.line(number)
        yield f"{_node(held, graph, number, made)} saved the tensor{versions if not i else ''}"
        culprit = None if trace is None or again is None else trace.culprits.get(again.nodes[number])
        if culprit is not None:
            name, place = culprit
            yield f"{name}{at(place)} modified it in place after that"
        elif held.point.steps_since_forward:
            yield "optimizer.step() modified it in place: the graph was built with the weights before that step"
    if len(numbers) > 3:
        yield f"and {len(numbers) - 3} more nodes"


def _traced(held: Held) -> tuple[_Trace | None, GraphRecord | None]:
    """Run the forward again and trace its in-place writes; None when it does not repeat."""
    trace, lines = _Trace(), Lines()
    try:
        loss, watched = forward_again(
            held, lambda: observe(trace.consumer(), lines.consumer(held.paths), computes=True)
        )
    except GradstepError:
        return None, None
    assert loss.grad_fn is not None
    return trace, record(loss.grad_fn, watched.owners, lines)


def _node(held: Held, graph: GraphRecord, number: int, made: SourcePlace | None = None) -> str:
    owner = graph.owners[number]
    of = f" of {owner} {held.kinds.get(owner or '', '')}".replace("  ", " ").rstrip() if owner is not None else ""
    return f"node #{number} {graph.nodes[number].name()}{of}{at(made or held.line_of(number))}"
