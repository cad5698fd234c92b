"""Whose fault it is when torch refuses a backward: the node that saved a tensor, what wrote it since, what freed it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from msgspec.structs import replace
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.buffers import is_freed, is_written
from gradstep.engine.autograd.graph import GraphRecord, record
from gradstep.engine.autograd.saved_values import saved_values
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import at
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.rerun import forward_again
from gradstep.engine.observe.source_lines import Lines, SourcePlace
from gradstep.engine.observe.stream import CompositeRan, Consumer, OpRan, OpStarts, RegionRan
from gradstep.engine.observe.taps import op_name, users_place
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem

_VERSIONS = re.compile(r"is at version (\d+); expected version (\d+)")
_SECOND = "backward through the graph a second time"
_WRITTEN = "modified by an inplace operation"
_CARRIED = "detach what is carried over from one forward to the next, such as a hidden state: `h = h.detach()`"


def named(held: Held, problem: Problem, freed_by: str) -> Problem:
    """Return a problem of a backward with the one at fault named above torch's words; any other as it is.

    Args:
        held: the workload, rolled back.
        problem: what came of the backward.
        freed_by: the command whose backward freed the graph; empty when none did.
    """
    graph = held.graph()
    if _WRITTEN in problem.what and graph is not None:
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
        yield f"{_node(held, graph, number)} has nothing left of what it saved"
    if freed_by:
        yield f"freed by {freed_by}: it ran through this graph, and retain_graph was not set"
        return
    trace, _ = _again(held)
    for name, place in [] if trace is None else trace.backwards[:1]:
        yield f"freed by {name}{at(place)}: it runs in the forward, and retain_graph is not set"


def _kept_from_before(held: Held, graph: GraphRecord, is_lost: Callable[[Node], bool | None]) -> int | None:
    """Return the first node of an earlier forward than that of this graph whose saved tensors are lost, if any."""
    return next((i for i in _earlier(held, graph) if is_lost(graph.nodes[i])), None)


def _earlier(held: Held, graph: GraphRecord) -> list[int]:
    """Return the nodes that were made before the forward of this graph; none where it was not watched."""
    numbers, leaves = held.point.watched.numbers, set(graph.leaves)
    old = (i for i, node in enumerate(graph.nodes) if i not in leaves and node._sequence_nr() not in numbers)
    return list(old) if numbers else []


_THEN_FREED = "the backward of that one freed what it saved"
_THEN_WRITTEN = "what it saved was written since, by optimizer.step() as a rule"


def _carried_over(held: Held, graph: GraphRecord, number: int, then: str) -> Iterator[str]:
    yield f"{_node(held, graph, number)} is of an earlier forward, and {then}"
    old = set(_earlier(held, graph))
    user = next((i for i, edges in enumerate(graph.edges) if i not in old and old.intersection(edges)), None)
    if user is not None:
        yield f"{_node(held, graph, user)} of this forward uses a tensor that was kept from that one"


class _Trace:
    """Notes what nodes save as they are made, and which op writes it afterwards."""

    def __init__(self) -> None:
        self._saved: dict[Node, list[tuple[Tensor, int]]] = {}
        self.culprits: dict[Node, tuple[str, SourcePlace | None]] = {}
        self.backwards: list[tuple[str, SourcePlace | None]] = []
        """The backwards that the forward runs itself."""

    def consumer(self) -> Consumer:
        """Return what takes note; what is saved inside of a composite or a compiled region is not followed."""
        return {
            OpStarts: lambda event: self._made(event.args),  # a custom Function is no op that comes by here
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
    found = _VERSIONS.search(message)
    versions = f" at version {found[2]}; it is at version {found[1]} now" if found else ""
    trace, again = _again(held)
    for i, number in enumerate(numbers[:3]):
        made = None if again is None else again.line(number)
        yield f"{_node(held, graph, number, made)} saved it{versions if not i else ''}"
        culprit = None if trace is None or again is None else trace.culprits.get(again.nodes[number])
        if culprit is not None:
            name, place = culprit
            yield f"{name}{at(place)} wrote it after that"
        elif held.point.steps_since_forward:
            yield "optimizer.step() wrote it: the graph is of the weights before that step"
    if len(numbers) > 3:
        yield f"and {len(numbers) - 3} more nodes"


def _again(held: Held) -> tuple[_Trace | None, GraphRecord | None]:
    """Run the forward once more to see what writes; nothing where it does not repeat."""
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
