"""`graph-kept-across-iterations`: a sum of losses, a list of them or a hidden state keeps the graphs of the past."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.checks.order import Order
from gradstep.engine.autograd.saved_values import saved_values
from gradstep.values.findings import Rule

_number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
_LEAF = 2**64 - 1
_AT = frozenset({*range(2, 12), 17, 67, 257, 1021})
"""The steps at which the script's variables are looked at: in the first epoch too, where it has three iterations."""
_NODES = 200
"""Nodes behind a variable that are looked at: the past of a sum is near."""
_OFTEN = 40
"""Backwards whose graphs are all walked; later ones are sampled."""
_ATTRIBUTES = 64
"""Attributes of an object that are looked at."""
_SPANS = 3
"""Iterations whose graphs one variable has: fewer may be left over."""


class _Backward(NamedTuple):
    """The last backward at a call site."""

    retains: bool
    nodes: int
    """Nodes of its graph that an earlier iteration made."""
    grows: int
    """How many times in a row there were more of them."""


class GraphKeptAcrossIterations(Check):
    """Looks for nodes of earlier iterations, by their sequence numbers, in the graph of a loss and behind variables."""

    rule = Rule(
        id="graph-kept-across-iterations",
        severity="warning",
        title="the graph of earlier iterations is kept",
        why="Memory grows with each iteration; and backward through earlier iterations takes longer each time, or "
        "raises: 'Trying to backward through the graph a second time'.",
        detects="The graph of a loss has nodes that were made before the last backward at the same line, which freed "
        "them, or more nodes each time; or the graph of a variable, or of an attribute of one, spans three "
        "steps.",
        remedy="Keep numbers: total += loss.item(). Cut the hidden state: hidden = hidden.detach().",
        source="PyTorch FAQ, 'My model reports out of memory'; darts#56, labelmodels#4",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._forget()

    def _forget(self) -> None:
        self._began: dict[tuple[object, ...], int] = {}
        """By the call site of a backward, the sequence number at the first forward after it."""
        self._waits: set[tuple[object, ...]] = set()
        """Call sites of backwards after which no forward has begun."""
        self._last: dict[tuple[object, ...], _Backward] = {}
        self._start = 0
        """The sequence number when it began to look."""
        self._steps: dict[int, list[int]] = {}
        """By the id of each optimizer, the sequence numbers at the ends of its steps."""

    @at("forward", "backward")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at a forward, and at the graph of a backward."""
        if self._order is not moment.order:
            self._order = moment.order
            self._forget()
            self._start = _number()
        if moment.phase == "forward" and self._waits:
            now = _number()
            self._began.update(dict.fromkeys(self._waits, now))
            self._waits.clear()
        elif moment.phase == "backward" and moment.of.accumulates:
            yield from self._backward(moment)

    def _backward(self, moment: Moment) -> Iterable[Seen]:
        site = moment.find_site()
        before, last = self._began.pop(site, None), self._last.get(site)
        looks = (moment.count < _OFTEN or sampled(moment.count)) and not moment.held.graph_takes_long
        new = moment.held.point.watched.numbers  # of the forward's own thread, which may not be this one
        old = [] if before is None or not looks else list(_older(moment.of.outputs, range(self._start, before), new))
        freed = last is not None and not last.retains and any(map(_is_freed, old))
        grows = last.grows + 1 if last is not None and len(old) > last.nodes else 0
        self._waits.add(site)
        self._last[site] = _Backward(moment.of.retains, len(old), grows if old else 0)
        if old and (freed or grows >= _SPANS):
            what = f"The graph of this loss has {len(old)} nodes of earlier iterations"
            what += ", which their backward has freed." if freed else f", more than the last {grows} times."
            yield Seen(what, moment.at(panel="graph"), {"nodes": len(old), "freed": int(freed)})

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the script's variables after a step."""
        steps = self._steps.setdefault(id(moment.optimizer), [])
        steps.append(_number())
        if moment.count not in _AT:
            return
        for name, value in _with_attributes(moment.find_variables()):
            spans = _spans(value, steps, self._start)
            if len(spans) >= _SPANS:
                kind = "is a sum over" if isinstance(value, Tensor) else f"is a {type(value).__name__} of tensors of"
                what = f"{name} {kind} at least {len(spans)} iterations, and keeps the graph of each of them."
                remedy = f"Keep numbers: {name} += loss.item()." if isinstance(value, Tensor) else ""
                remedy = remedy or f"Keep numbers: {name}.append(loss.item())."
                yield Seen(what, moment.at(parameter=name, panel="loss"), {"iterations": len(spans)}, remedy)


def _with_attributes(variables: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield variables, and the attributes of objects: a meter or a trainer may hold the sum."""
    for name, value in variables:
        yield name, value
        if not isinstance(value, (type, ModuleType, Tensor)) and hasattr(value, "__dict__"):
            yield from [(f"{name}.{attribute}", each) for attribute, each in islice(vars(value).items(), _ATTRIBUTES)]


def _spans(value: Any, steps: list[int], start: int) -> set[int]:
    """Return the steps of an optimizer between which the nodes behind a variable were made."""
    several = list(value)[-64:] if type(value) in (list, tuple) and value else [value]
    roots = [each.grad_fn for each in several if isinstance(each, Tensor) and each.grad_fn is not None]
    return {bisect_right(steps, number) for number in _numbers(roots) if number >= start}


def _numbers(roots: list[Node]) -> Iterator[int]:
    waiting, seen = list(roots), set(roots)
    for node in waiting:  # grows during the loop
        number = int(node._sequence_nr())
        if number != _LEAF:
            yield number
        if len(seen) < _NODES:
            following = [each for each, _ in node.next_functions if each is not None and each not in seen]
            waiting += following
            seen.update(following)


def _older(outputs: Iterable[object], old: range, new: range) -> Iterator[Node]:
    """Yield the nodes of a graph with old sequence numbers that are not among the new ones, first on each path."""
    waiting: list[Node | None] = [each.grad_fn for each in outputs if isinstance(each, Tensor)]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        number = int(node._sequence_nr())
        if number in old and number not in new:
            yield node
        waiting += [each for each, _ in node.next_functions]


def _is_freed(node: Node) -> bool:
    return any(each.state == "freed" for each in saved_values(node))
