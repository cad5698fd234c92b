"""Zeros of ReLUs that are called as functions, not as modules: read from the graph while its buffers are alive."""

from __future__ import annotations

from bisect import bisect_right
from weakref import ref

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import saved_values
from gradstep.engine.held import Held
from gradstep.engine.observe.forward import is_zeroing
from gradstep.engine.reads import read, scalars

_MANY = 64
"""Maximum number of calls with a row each; of more, as in an unrolled network, those of one module share a row."""

Share = tuple[float, str, float]
"""Its position in forward order, the module that called it, and the share of zeros in its output."""


class FunctionalZeros:
    """Keeps the shares of the last forward, since backward frees the tensors they are read from."""

    def __init__(self) -> None:
        self.shares: list[Share] = []
        self._loss: ref[Tensor] | None = None
        """The loss that was counted; a weak reference, or its graph would live on."""

    def observe(self, held: Held) -> None:
        """Count the zeros of a new loss's graph."""
        loss = held.point.loss
        if loss is not None and self._loss is not None and loss is self._loss():
            return
        self._loss = None if loss is None else ref(loss)
        graph, owners = held.graph(), held.point.watched.owners
        self.shares = []
        if graph is None:
            return
        counted: dict[tuple[float, str], tuple[int, int]] = {}
        results: list[tuple[tuple[float, str], int, Tensor]] = []
        zeroing = {path for module, path in held.paths.items() if is_zeroing(module)}
        calls = [
            (node, owner or "")
            for node, owner in zip(graph.nodes, graph.owners, strict=True)
            if node.name() == "ReluBackward0" and owner not in zeroing
        ]
        for node, owner in calls:
            result = _result(node)
            if result is not None and result.numel():
                place = bisect_right(owners.numbers, int(node._sequence_nr())) - 0.5 if len(calls) <= _MANY else 0.0
                results.append(((place, owner), result.numel(), torch.count_nonzero(result)))
        for (key, more, _), nonzero in zip(results, read(scalars([count for *_, count in results])), strict=True):
            zeros, size = counted.get(key, (0, 0))
            counted[key] = (zeros + more - int(nonzero), size + more)
        self.shares = [(place, owner, zeros / size) for (place, owner), (zeros, size) in counted.items()]


def _result(node: Node) -> Tensor | None:
    """Return the output of a ReLU, unless it was freed, was written since, or is packed by a hook (a checkpoint's)."""
    results = (value.tensor for value in saved_values(node) if value.name == "result" and value.state == "alive")
    return next((result for result in results if result is not None and not result.is_meta), None)
