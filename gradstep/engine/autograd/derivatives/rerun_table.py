"""The table of operations that can be rerun: for each kind of node, its operation in torch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional as f

from gradstep.engine.autograd.derivatives.rerun import (
    Function,
    Maker,
    Rerun,
    SavedContext,
    at_saved,
    attention,
    by_edge,
    from_result,
    linear,
    loss,
    reduction_of,
)
from gradstep.engine.autograd.graph import node_name


def _broadcast(sign: int = 1, scaled: bool = False) -> Maker:
    """Return the maker of an input that is added, and may be broadcast."""
    return linear(lambda k, x: (sign * (k.number("alpha") if scaled else 1) * x).expand(k.out_shape))


def _dims(k: SavedContext) -> list[int] | None:
    dims = k.number("dim")
    return dims if isinstance(dims, list) and dims else [dims] if isinstance(dims, int) else None


def _product(k: SavedContext, first: str, second: str, factor: str = "") -> Function:
    """Return a matrix product as a function of its first or second matrix."""
    times = k.number(factor) if factor else 1
    matrices = k.edge - (1 if factor else 0)
    other = k[second if matrices == 0 else first]
    return (lambda x: times * x @ other) if matrices == 0 else (lambda x: times * other @ x)


def _added_product(first: str, second: str) -> Maker:
    def make(k: SavedContext) -> Function:
        if k.edge == 0:
            return lambda x: (k.number("beta") * x).expand(k.out_shape)
        return _product(k, first, second, "alpha")

    return make


def _mul(k: SavedContext) -> Function:
    other = k["other" if k.edge == 0 else "self"]
    return lambda x: x * other


def _div(k: SavedContext) -> Function | Rerun:
    other = k["other"]
    if k.edge == 0:
        return lambda x: x / other
    dividend = k["self"]
    return Rerun(lambda x: dividend / x, other)


def _tensor_power(k: SavedContext) -> Rerun:
    base, exponent = k["self"], k["exponent"]
    return Rerun(lambda x: x**exponent, base) if k.edge == 0 else Rerun(lambda x: base**x, exponent)


def _softmax(k: SavedContext) -> Rerun:
    return Rerun(lambda x: x.softmax(k.number("dim")), k["result"].log())  # the softmax of log y is y


def _log_softmax(k: SavedContext) -> Rerun:
    return Rerun(lambda x: x.log_softmax(k.number("dim")), k["result"])  # the log softmax of y is y


def _relu(k: SavedContext) -> Rerun:
    y = k["result"]
    return Rerun(torch.relu, torch.where(y > 0, y, -1.0))  # where y is 0, x is any number below


def _layer_norm(k: SavedContext) -> Rerun:
    point, shape = k["input"], k.number("normalized_shape")
    spread = point.var(list(range(-len(shape), 0)), correction=0, keepdim=True)
    # eps is not saved, but 1 ÷ √(variance + eps) is
    eps = float((k["result2"].reshape(spread.shape) ** -2 - spread).median().clamp(min=0))
    return _normalised(k, lambda x, w, b: torch.layer_norm(x, shape, w, b, eps))


def _group_norm(k: SavedContext) -> Rerun:
    return _normalised(k, lambda x, w, b: torch.group_norm(x, k.number("group"), w, b, k.number("eps")))


def _batch_norm(k: SavedContext) -> Rerun:
    training = bool(k.number("training"))
    running = (None, None) if training else (k.get("running_mean"), k.get("running_var"))
    eps = k.number("eps")
    return _normalised(k, lambda x, w, b: torch.batch_norm(x, w, b, *running, training, 0.0, eps, False))


def _normalised(k: SavedContext, function: Callable[[Tensor, Tensor | None, Tensor | None], Tensor]) -> Rerun:
    """Return a norm as a function of its input, its weight or its bias."""
    x, w = k["input"], k.get("weight")
    if k.edge == 0:
        return Rerun(lambda moved: function(moved, w, None), x)
    if k.edge == 1:
        return Rerun(lambda moved: function(x, moved, None), k.anywhere)
    return Rerun(lambda moved: function(x, w, moved), k.anywhere)


def _convolution(k: SavedContext) -> Function:
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    options = [k.number(name) for name in names]
    if k.edge == 0:
        weight = k["weight"]
        return lambda x: torch.convolution(x, weight, None, *options)
    if k.edge == 1:
        given = k["input"]
        return lambda w: torch.convolution(given, w, None, *options)
    return lambda b: b.reshape(-1, *[1] * (len(k.out_shape) - 2)).expand(k.out_shape)


def _max_pool(k: SavedContext, x: Tensor) -> Tensor:
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    made: Tensor = f.max_pool2d(x, *[k.number(name) for name in names])
    return made


def _avg_pool(k: SavedContext, x: Tensor) -> Tensor:
    names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
    return f.avg_pool2d(x, *[k.number(name) for name in names])


def _index(k: SavedContext) -> Function:
    places = k.listed("indices")
    return lambda x: x[places]


def _nll(k: SavedContext) -> Function:
    target, weight = k["target"], k.get("weight")
    options = {"ignore_index": k.number("ignore_index"), "reduction": reduction_of(k)}
    return lambda x: f.nll_loss(x, target, weight, **options)


def _embedding(k: SavedContext) -> Function:
    if k.number("scale_grad_by_freq") or k.number("padding_idx") >= 0:
        raise KeyError("a gradient that is scaled or dropped on purpose is not the derivative")
    indices = k["indices"]
    return lambda weight: weight[indices]


def _stacked(k: SavedContext) -> Function:
    dim = k.number("dim")

    def run(x: Tensor) -> Tensor:
        whole = x.new_zeros(k.out_shape)
        return whole.select_scatter(x, dim, k.edge)

    return run


_RESHAPE = linear(lambda k, x: x.reshape(k.out_shape))
_IDENTITY = linear(lambda _, x: x)
_GATHER = linear(lambda k, x: x.gather(k.number("dim"), k["index"]))

TABLE: dict[str, Maker] = {
    # elementwise
    "ReluBackward0": _relu,
    "LeakyReluBackward0": at_saved("self", lambda k, x: f.leaky_relu(x, k.number("negative_slope"))),
    "HardtanhBackward0": at_saved("self", lambda k, x: x.clamp(k.number("min_val"), k.number("max_val"))),
    "ClampBackward1": at_saved("self", lambda k, x: x.clamp(k.number("min"), k.number("max"))),
    "GeluBackward0": at_saved("self", lambda k, x: f.gelu(x, approximate=k.number("approximate"))),
    "SoftplusBackward0": at_saved("self", lambda k, x: f.softplus(x, k.number("beta"), k.number("threshold"))),
    "SiluBackward0": at_saved("self", lambda _, x: f.silu(x)),
    "LogSigmoidBackward0": at_saved("self", lambda _, x: f.logsigmoid(x)),
    "SigmoidBackward0": from_result(torch.sigmoid, torch.logit),
    "TanhBackward0": from_result(torch.tanh, torch.atanh),
    "ExpBackward0": from_result(torch.exp, torch.log),
    "Expm1Backward0": from_result(torch.expm1, torch.log1p),
    "SqrtBackward0": from_result(torch.sqrt, torch.square),
    "RsqrtBackward0": from_result(torch.rsqrt, lambda y: y**-2),
    "ReciprocalBackward0": from_result(torch.reciprocal, torch.reciprocal),
    "LogBackward0": at_saved("self", lambda _, x: x.log()),
    "Log2Backward0": at_saved("self", lambda _, x: x.log2()),
    "Log10Backward0": at_saved("self", lambda _, x: x.log10()),
    "Log1PBackward0": at_saved("self", lambda _, x: x.log1p()),
    "AbsBackward0": at_saved("self", lambda _, x: x.abs()),
    "SinBackward0": at_saved("self", lambda _, x: x.sin()),
    "CosBackward0": at_saved("self", lambda _, x: x.cos()),
    "ErfBackward0": at_saved("self", lambda _, x: x.erf()),
    "NegBackward0": linear(lambda _, x: -x),
    "PowBackward0": at_saved("self", lambda k, x: x ** k.number("exponent")),
    "PowBackward1": _tensor_power,
    "AddBackward0": by_edge(_broadcast(), _broadcast(scaled=True)),
    "SubBackward0": by_edge(_broadcast(), _broadcast(-1, scaled=True)),
    "RsubBackward0": by_edge(_broadcast(-1, scaled=True), _broadcast()),
    "RsubBackward1": _broadcast(-1, scaled=True),
    "MulBackward0": _mul,
    "MulBackward1": linear(lambda k, x: x * k.number("other")),
    "DivBackward0": _div,
    "DivBackward1": linear(lambda k, x: x / k.number("other")),
    "WhereBackward0": by_edge(
        linear(lambda k, x: torch.where(k["condition"], x, 0.0)),
        linear(lambda k, x: torch.where(k["condition"], 0.0, x)),
    ),
    "MaskedFillBackward0": linear(lambda k, x: x.masked_fill(k["mask"], 0.0)),
    "NativeDropoutBackward0": linear(lambda k, x: x * k["result1"] / (1 - k.number("p"))),
    "CloneBackward0": _IDENTITY,
    "AliasBackward0": _IDENTITY,
    "ToCopyBackward0": _IDENTITY,
    # products
    "MmBackward0": lambda k: _product(k, "self", "mat2"),
    "BmmBackward0": lambda k: _product(k, "self", "mat2"),
    "MvBackward0": lambda k: _product(k, "self", "vec"),
    "DotBackward0": lambda k: _product(k, "self", "tensor"),
    "AddmmBackward0": _added_product("mat1", "mat2"),
    "BaddbmmBackward0": _added_product("batch1", "batch2"),
    "AddmvBackward0": _added_product("mat", "vec"),
    # shapes
    "TBackward0": linear(lambda _, x: x.t()),
    "TransposeBackward0": linear(lambda k, x: x.transpose(k.number("dim0"), k.number("dim1"))),
    "PermuteBackward0": linear(lambda k, x: x.permute(k.number("dims"))),
    **dict.fromkeys(
        (
            "ViewBackward0",
            "UnsafeViewBackward0",
            "ReshapeAliasBackward0",
            "UnsqueezeBackward0",
            "SqueezeBackward0",
            "SqueezeBackward1",
            "SqueezeBackward2",
        ),
        _RESHAPE,
    ),
    "ExpandBackward0": linear(lambda k, x: x.expand(k.out_shape)),
    "RepeatBackward0": linear(lambda k, x: x.repeat(k.number("repeats"))),
    "SelectBackward0": linear(lambda k, x: x.select(k.number("dim"), k.number("index"))),
    "SliceBackward0": linear(
        lambda k, x: torch.ops.aten.slice(x, *[k.number(name) for name in ("dim", "start", "end", "step")])
    ),
    "IndexBackward0": _index,
    "IndexSelectBackward0": linear(lambda k, x: x.index_select(k.number("dim"), k["index"])),
    "GatherBackward0": _GATHER,
    "StackBackward0": _stacked,
    "SplitBackward0": linear(lambda k, x: torch.split(x, k.number("split_size"), k.number("dim"))[k.output]),
    "UnsafeSplitBackward0": linear(lambda k, x: torch.split(x, k.number("split_size"), k.number("dim"))[k.output]),
    "SplitWithSizesBackward0": linear(lambda k, x: torch.split(x, k.number("split_sizes"), k.number("dim"))[k.output]),
    "UnbindBackward0": linear(lambda k, x: x.unbind(k.number("dim"))[k.output]),
    "FlipBackward0": linear(lambda k, x: x.flip(k.number("dims"))),
    "RollBackward0": linear(lambda k, x: x.roll(k.number("shifts"), k.number("dims"))),
    "TriuBackward0": linear(lambda k, x: x.triu(k.number("diagonal"))),
    "TrilBackward0": linear(lambda k, x: x.tril(k.number("diagonal"))),
    "ConstantPadNdBackward0": linear(lambda k, x: f.pad(x, k.number("pad"))),
    "CumsumBackward0": linear(lambda k, x: x.cumsum(k.number("dim"))),
    # sums, means, extremes, softmax
    "SumBackward0": linear(lambda _, x: x.sum()),
    "SumBackward1": linear(lambda k, x: x.sum(_dims(k), k.number("keepdim"))),
    "MeanBackward0": linear(lambda _, x: x.mean()),
    "MeanBackward1": linear(lambda k, x: x.mean(_dims(k), k.number("keepdim"))),
    "ProdBackward0": at_saved("self", lambda _, x: x.prod()),
    "VarBackward0": at_saved(
        "self", lambda k, x: x.var(_dims(k), correction=_correction(k), keepdim=k.number("keepdim"))
    ),
    "StdBackward0": at_saved(
        "self", lambda k, x: x.std(_dims(k), correction=_correction(k), keepdim=k.number("keepdim"))
    ),
    "AmaxBackward0": at_saved("self", lambda k, x: x.amax(_dims(k) or [], k.number("keepdim"))),
    "AminBackward0": at_saved("self", lambda k, x: x.amin(_dims(k) or [], k.number("keepdim"))),
    "MaxBackward1": at_saved("self", lambda _, x: x.max()),
    "MinBackward1": at_saved("self", lambda _, x: x.min()),
    "LinalgVectorNormBackward0": at_saved(
        "self", lambda k, x: torch.linalg.vector_norm(x, k.number("ord"), _dims(k), k.number("keepdim"))
    ),
    "LogsumexpBackward0": at_saved("self", lambda k, x: x.logsumexp(_dims(k) or [], k.number("keepdim"))),
    "SoftmaxBackward0": _softmax,
    "SafeSoftmaxBackward0": _softmax,
    "LogSoftmaxBackward0": _log_softmax,
    # losses
    "MseLossBackward0": loss(f.mse_loss),
    "SmoothL1LossBackward0": loss(f.smooth_l1_loss, "beta"),
    "HuberLossBackward0": loss(f.huber_loss, "delta"),
    "NllLossBackward0": _nll,
    "NllLoss2DBackward0": _nll,
    "BinaryCrossEntropyBackward0": loss(f.binary_cross_entropy, tensors=["weight"]),
    "BinaryCrossEntropyWithLogitsBackward0": loss(f.binary_cross_entropy_with_logits, tensors=["weight", "pos_weight"]),
    # layers
    "NativeLayerNormBackward0": _layer_norm,
    "NativeGroupNormBackward0": _group_norm,
    "NativeBatchNormBackward0": _batch_norm,
    "ConvolutionBackward0": _convolution,
    "MaxPool2DWithIndicesBackward0": at_saved("self", _max_pool),
    "AvgPool2DBackward0": at_saved("self", _avg_pool),
    "AdaptiveAvgPool2DBackward0": at_saved(
        "self", lambda k, x: f.adaptive_avg_pool2d(x, (k.out_shape[-2], k.out_shape[-1]))
    ),
    "EmbeddingBackward0": _embedding,
    "ScaledDotProductFlashAttentionForCpuBackward0": attention,
}


def _correction(k: SavedContext) -> int:
    found = k.set["correction"]
    return 1 if found is None else int(found)  # type: ignore[arg-type]


def rerun(node: Node, edge: int, output: int = 0) -> Rerun | None:
    """Return the operation of a node as a function of one input; None when it can't be rerun."""
    maker = TABLE.get(node_name(node))
    if maker is None:
        return None
    kept = SavedContext(node, edge, output)
    try:
        made = maker(kept)
    except KeyError:  # something was not saved, because no gradient needed it
        return None
    return made if isinstance(made, Rerun) else Rerun(made, kept.anywhere)
