"""Nodes in plain words: what the forward's operation was, by the name torch gives its backward node."""

from __future__ import annotations

import re

from torch.autograd.graph import Node

WORDS: dict[str, str] = {
    "Addmm": "b + x Wᵀ",
    "Addbmm": "b + x W",
    "T": "Wᵀ",
    "Transpose": "transpose",
    "Mm": "a @ b",
    "Bmm": "a @ b, batched",
    "Mv": "A @ x",
    "Dot": "a · b",
    "Add": "a + b",
    "Sub": "a − b",
    "Rsub": "b − a",
    "Mul": "a × b",
    "Div": "a ÷ b",
    "Neg": "−x",
    "Exp": "exp(x)",
    "Log": "log(x)",
    "Sqrt": "√x",
    "Rsqrt": "1 ÷ √x",
    "Abs": "|x|",
    "NativeDropout": "dropout",
    "NativeLayerNorm": "layer norm",
    "NativeBatchNorm": "batch norm",
    "Convolution": "convolution",
    "MaxPool2DWithIndices": "max pool",
    "MkldnnMaxPool2D": "max pool",
    "AvgPool2D": "average pool",
    "MseLoss": "mean (a − b)²",
    "NllLoss": "−log p[target]",
    "NllLoss2D": "−log p[target]",
    "BinaryCrossEntropyWithLogits": "binary cross-entropy",
    "ScaledDotProductFlashAttentionForCpu": "attention",
    "Embedding": "embedding rows",
    "UnsafeView": "view",
    "Clone": "copy",
    "Cat": "concatenate",
    "Stack": "stack",
    "CopySlices": "write into a view",
}
"""Nodes whose torch name does not read as the operation; any other is its own name in small letters."""


def operation_of(node: Node) -> str:
    """Return the forward operation of a node in plain words, e.g. `x ** 2` for PowBackward0."""
    core = re.sub(r"Backward\d*$", "", node.name().rsplit("::", 1)[-1])
    if core == "Pow":
        # of PowBackward1 the exponent is a saved tensor: reading it may run a checkpoint's hook, or be refused
        exponent = getattr(node, "_saved_exponent", None) if node.name() == "PowBackward0" else None
        return f"x ** {exponent:g}" if isinstance(exponent, (int, float)) else "x ** n"
    return WORDS.get(core) or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", core).lower()
