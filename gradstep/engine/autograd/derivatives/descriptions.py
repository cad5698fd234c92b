"""Descriptions of nodes without a formula: regions, double backwards, and operations that no table has."""

from __future__ import annotations

import re

from torch.autograd.graph import Node

from gradstep.engine.autograd.graph import node_name
from gradstep.engine.autograd.saved_values import is_function

_TWICE = re.compile(r"(.+?)Backward(?:Data)?(?:For\w+)?Backward\d*$")
"""A node of a backward that was recorded under `create_graph`."""
_ONCE = re.compile(r"(.+?)Backward(?:AutogradNestedTensor)?\d*$")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def description_of(node: Node) -> str:
    """Return one line on what a node without a formula does to v."""
    name = node_name(node)
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    if is_function(node):
        return "a custom Function: v goes through its own backward"
    twice = _TWICE.match(name)
    if twice is not None:
        return (
            f"double backward of {_plain(twice[1])}: "
            "v goes to the upstream gradient of its backward, and to the tensors that it saved"
        )
    once = _ONCE.match(name)
    return f"v goes through torch's own derivative of {_plain(once[1])}" if once is not None else ""


def _plain(name: str) -> str:
    return _WORD.sub(" ", name).lower()


_RECURRENT = (
    "backpropagation through time as one operation: v goes from the last time step back to the first; "
    "the weights get the sum over all steps"
)

_DESCRIPTIONS = {
    "CopySlices": "an in-place write to a view: v passes unchanged outside the view, and through the write inside it",
    "CheckpointFunctionBackward": "an activation checkpoint: it recomputes its forward, then backpropagates v",
    "CompiledFunctionBackward": "a compiled region: v goes through the compiled backward of all its operations",
    "MkldnnRnnLayerBackward0": f"LSTM: {_RECURRENT}",
    "CudnnRnnBackward0": _RECURRENT,
    "MiopenRnnBackward0": _RECURRENT,
    "NotImplemented": "torch has no derivative for this operation: it raises when v arrives",
}
