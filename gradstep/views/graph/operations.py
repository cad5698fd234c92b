"""The forward operation of a node in plain words, by torch's name of the node."""

from __future__ import annotations

import re
from functools import cache

from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import settings

WORDS: dict[str, str] = {
    # products
    "Addbmm": "b + Σ x W",
    "Baddbmm": "c + a @ b, batched",
    "Addmv": "b + A @ x",
    "Addr": "M + a bᵀ",
    "Linear": "b + x Wᵀ",
    "T": "Wᵀ",
    "Mm": "a @ b",
    "Bmm": "a @ b, batched",
    "Mv": "A @ x",
    "Dot": "a · b",
    # arithmetic
    "Add": "a + b",
    "Sub": "a − b",
    "Rsub": "b − a",
    "Mul": "a × b",
    "Div": "a ÷ b",
    "Addcmul": "a + b × c",
    "Addcdiv": "a + b ÷ c",
    "Neg": "−x",
    "Reciprocal": "1 ÷ x",
    "Exp": "exp(x)",
    "Exp2": "2 ** x",
    "Expm1": "exp(x) − 1",
    "Log": "log(x)",
    "Log1P": "log(1 + x)",
    "Log2": "log₂(x)",
    "Log10": "log₁₀(x)",
    "Sqrt": "√x",
    "Rsqrt": "1 ÷ √x",
    "Abs": "|x|",
    "Sin": "sin(x)",
    "Cos": "cos(x)",
    "Sgn": "sign of x",
    "Sign": "sign of x",
    "ClampMin": "clamp from below",
    "ClampMax": "clamp from above",
    "Maximum": "larger of a, b",
    "Minimum": "smaller of a, b",
    "Lerp": "a + w (b − a)",
    "Where": "a where c, else b",
    # sums and the like
    "Cumsum": "cumulative sum",
    "Cumprod": "cumulative product",
    "Logsumexp": "log Σ exp(x)",
    "LinalgVectorNorm": "norm",
    "Norm": "norm",
    "Std": "standard deviation",
    "Var": "variance",
    "VarMean": "variance and mean",
    "StdMean": "standard deviation and mean",
    "Amax": "largest",
    "Amin": "smallest",
    "Max": "largest",
    "Min": "smallest",
    "Prod": "product",
    # activations
    "LeakyRelu": "leaky ReLU",
    "PreluKernel": "PReLU",
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Elu": "ELU",
    "Hardtanh": "clamp",
    "SafeSoftmax": "softmax",
    "Logit": "log(p ÷ (1 − p))",
    "Glu": "GLU",
    # layers
    "NativeDropout": "dropout",
    "FusedDropout": "dropout",
    "NativeLayerNorm": "layer norm",
    "FusedRmsNorm": "RMS norm",
    "NativeGroupNorm": "group norm",
    "NativeBatchNorm": "batch norm",
    "CudnnBatchNorm": "batch norm",
    "MiopenBatchNorm": "batch norm",
    "NativeBatchNormLegit": "batch norm",
    "NativeBatchNormLegitNoTraining": "batch norm",
    "BatchNormWithUpdate": "batch norm",
    "BatchNormNoUpdate": "batch norm",
    "CudnnConvolution": "convolution",
    "MkldnnConvolution": "convolution",
    "MiopenConvolution": "convolution",
    "MpsConvolution": "convolution",
    "SlowConv2D": "convolution",
    "ConvDepthwise2D": "depthwise convolution",
    "MkldnnLinear": "b + x Wᵀ",
    "ConvolutionOverrideable": "convolution",
    "MaxPool2DWithIndices": "max pool",
    "MaxPool3DWithIndices": "max pool",
    "MkldnnMaxPool2D": "max pool",
    "AvgPool2D": "average pool",
    "AvgPool3D": "average pool",
    "AdaptiveAvgPool2D": "average pool",
    "AdaptiveAvgPool3D": "average pool",
    "AdaptiveMaxPool2D": "max pool",
    "MkldnnAdaptiveAvgPool2D": "average pool",
    "UpsampleNearest2D": "upsample, nearest",
    "UpsampleBilinear2D": "upsample, bilinear",
    "GridSampler2D": "grid sample",
    "MkldnnRnnLayer": "LSTM layer",
    "CudnnRnn": "recurrent layers",
    "ThnnFusedLstmCell": "LSTM cell",
    "ThnnFusedGruCell": "GRU cell",
    "ScaledDotProductFlashAttention": "attention",
    "ScaledDotProductFlashAttentionForCpu": "attention",
    "ScaledDotProductEfficientAttention": "attention",
    "ScaledDotProductCudnnAttention": "attention",
    "ScaledDotProductFusedAttentionOverrideable": "attention",
    # losses
    "MseLoss": "mean (a − b)²",
    "SmoothL1Loss": "smooth |a − b|",
    "HuberLoss": "Huber loss",
    "NllLoss": "−log p[target]",
    "NllLoss2D": "−log p[target]",
    "BinaryCrossEntropy": "binary cross-entropy",
    "BinaryCrossEntropyWithLogits": "binary cross-entropy",
    "CtcLoss": "CTC loss",
    # shapes and indexing
    "UnsafeView": "view",
    "ReshapeAlias": "view",
    "AsStrided": "view with strides",
    "Alias": "the same tensor",
    "Squeeze": "drop a dimension",
    "Unsqueeze": "add a dimension",
    "Select": "x[i]",
    "Slice": "x[a:b]",
    "Index": "x[indices]",
    "UnsafeIndex": "x[indices]",
    "IndexPutImpl": "x[indices] = y",
    "Unfold": "windows of x",
    "Im2Col": "windows of x",
    "Topk": "the k largest",
    "Trilinear": "bilinear",
    "IndexPut": "x[indices] = y",
    "MaskedSelect": "x[mask]",
    "ConstantPadNd": "pad",
    "ReflectionPad2D": "pad, reflected",
    "Tril": "lower triangle",
    "Triu": "upper triangle",
    "SplitWithSizes": "split",
    "UnsafeSplit": "split",
    "Clone": "copy",
    "CopyBackwards": "copy to dtype or device",
    "ToCopy": "copy to dtype or device",
    "Cat": "concatenate",
    "Zero": "fill with zeros",
    "CopySlices": "in-place write to a view",
    "AsStridedScatter": "in-place write to a view",
    "SliceScatter": "x[a:b] = y",
    "SelectScatter": "x[i] = y",
    "Error": "not differentiable",
    "NotImplemented": "not differentiable",
    "UndefinedGrad": "no gradient",
}
"""Operations by torch's name of the node; any other is that name in lower-case words."""

_OWN = {
    "CheckpointFunction": "checkpoint: runs its forward again",
    "CompiledFunction": "a compiled region",
}
"""Functions written in Python that come with torch."""


def operation_of(node: Node) -> str:
    """Return the forward operation of a node in plain words, e.g. `x ** 2` for PowBackward0."""
    core = _core(node.name())
    if issubclass(type(node), BackwardCFunction):
        return _OWN.get(core, f"{core}, a custom Function")
    if core == "Pow":
        exponent = settings(node).get("exponent")  # of PowBackward1 it is a tensor
        return f"x ** {exponent:g}" if isinstance(exponent, (int, float)) else "x ** n"
    if core in ("Addmm", "AddmmActivation"):
        # torch.nn.Linear multiplies by its weight transposed, Hugging Face's Conv1D does not
        weight = node.next_functions[2][0] if len(node.next_functions) > 2 else None
        return "b + x Wᵀ" if weight is not None and weight.name() == "TBackward0" else "b + x W"
    return WORDS.get(core) or _words(core)


# a large graph has the same few names over and over
@cache
def _core(name: str) -> str:
    return re.sub(r"Backward\d*$", "", name.rsplit("::", 1)[-1])


@cache
def _words(core: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", core).lower()
