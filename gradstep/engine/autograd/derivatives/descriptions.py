"""Words for nodes that no table has a formula of: those that are no one operation, double backwards, and all others."""

from __future__ import annotations

import re

from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import is_function

_TWICE = re.compile(r"(.+?)Backward(?:Data)?(?:For\w+)?Backward\d*$")
"""The node of an operation's backward that was itself recorded, under `create_graph`."""
_ONCE = re.compile(r"(.+?)Backward(?:AutogradNestedTensor)?\d*$")
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def description_of(node: Node) -> str:
    """Return in a line of words what a node without a formula does to v."""
    name = node.name().rsplit("::", 1)[-1]
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    if is_function(node):
        return "a custom Function: v goes through the backward that its author wrote"
    twice = _TWICE.match(name)
    if twice is not None:
        return (
            f"the backward of {_plain(twice[1])}, differentiated once more: "
            "v goes to the gradient that had arrived there, and to what that backward used of the forward"
        )
    once = _ONCE.match(name)
    return f"v goes through torch's own derivative of {_plain(once[1])}" if once is not None else ""


def _plain(name: str) -> str:
    return _WORD.sub(" ", name).lower()


_RECURRENT = (
    "a whole layer over all time steps as one: v walks back from the last step to the first; the input of each step "
    "gets what that step passes down, the weights the sum over all of them"
)

_DESCRIPTIONS = {
    "CopySlices": "a write into a part of a tensor: v passes outside of it, and inside what the write leaves of it",
    "CheckpointFunctionBackward": "a checkpoint: it runs its part of the forward again, and v backward through that",
    "CompiledFunctionBackward": "a compiled region: v goes through the backward of all its operations as one",
    "MkldnnRnnLayerBackward0": f"LSTM: {_RECURRENT}",
    "CudnnRnnBackward0": _RECURRENT,
    "MiopenRnnBackward0": _RECURRENT,
    "NotImplemented": "torch has no derivative of this operation: it raises when v arrives",
}
