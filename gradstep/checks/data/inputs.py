"""What a batch held, inputs and labels that the graph of the loss has saved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.checks.patterns import BCE, NLL, saved, setting, shape_of, terms
from gradstep.engine.autograd.graph import GraphRecord

_LAYERS = {
    "AddmmBackward0": ("mat1", 1),
    "MmBackward0": ("self", 0),
    "ConvolutionBackward0": ("input", 0),
    "LinearBackward0": ("input", 0),
    "EmbeddingBackward0": ("indices", None),
}
"""By layer: what it saves its input as, and which of its next nodes would get the gradient of it."""
MOST = 1 << 16
"""Elements of a tensor that are looked at."""
_INPUTS = 1000
"""Inputs that are looked at: a recurrent network may have one at each time step."""


class Input(NamedTuple):
    """The input of a layer that comes from the data: it requires no grad."""

    number: int
    """The layer's node."""
    node: Node
    value: Tensor


class Labels(NamedTuple):
    """The labels of a term of the loss."""

    number: int
    """The node of the loss."""
    node: Node
    value: Tensor
    classes: int
    """0 where they are of a binary cross entropy."""


def inputs(graph: GraphRecord) -> Iterator[Input]:
    """Yield up to `_INPUTS` inputs of layers that come from the data, last to first.

    Sparse ones are left out; a frozen layer saves none.
    """
    return islice(_inputs(graph), _INPUTS)


def _inputs(graph: GraphRecord) -> Iterator[Input]:
    for number, node in graph.named(*_LAYERS):
        name, place = _LAYERS[node.name()]
        if place is None or node.next_functions[place][0] is None:
            value = saved(node, name)
            if value is not None and value.layout is torch.strided and value.numel():
                yield Input(number, node, value)


def labels(graph: GraphRecord) -> Iterator[Labels]:
    """Yield the labels of the terms of the loss that classify and average over samples."""
    for number, node in terms(graph):
        value = saved(node, "target") if node.name() in NLL | BCE and setting(node, "reduction") in (1, 2) else None
        if value is not None and value.numel():
            classes = shape_of(node.next_functions[0][0])[1:2] if node.name() in NLL else ()
            yield Labels(number, node, value, int(classes[0]) if classes else 0)


def few(values: Tensor, most: int = MOST) -> Tensor:
    """Return some elements of a tensor, evenly spread, in one dimension."""
    flat = values.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // most)]
