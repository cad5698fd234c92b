"""Each formula of the derivative tables, computed as it is written, gives what the node gives."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gradstep.engine.autograd.derivatives.find import TABLE, rule_of, summed_over, symbol_of, words_of
from gradstep.engine.autograd.derivatives.rule import dimension
from gradstep.engine.autograd.jacobian import vjp
from gradstep.engine.autograd.saved_values import saved_values, settings

aten = torch.ops.aten


def wild(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def tame(*shape: int) -> Tensor:
    """Return numbers from 0.2 to 0.8."""
    return (torch.rand(*shape, dtype=torch.float64) * 0.6 + 0.2).requires_grad_()


def waves(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex128, requires_grad=True)


def half(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16, requires_grad=True)


def sparse(*shape: int) -> Tensor:
    return (torch.randn(*shape, dtype=torch.float64) * (torch.rand(*shape) > 0.4)).to_sparse().requires_grad_()


def twice_through(of: Callable[[Tensor], Tensor]) -> Tensor:
    x = wild(4, 5)
    return torch.autograd.grad(of(x), x, wild(4, 5), create_graph=True)[0]


def picks(*shape: int, below: int) -> Tensor:
    return torch.randint(below, shape)


def attend() -> Tensor:
    """Attend in float32: in float64 torch takes the way that is several nodes."""
    return F.scaled_dot_product_attention(*(torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3)))


def twice(x: Tensor) -> Tensor:
    return torch.cat([x, x])


CASES: dict[str, list[Callable[[], Tensor]]] = {
    "ReluBackward0": [lambda: wild(4, 5).relu()],
    "ThresholdBackward0": [lambda: F.threshold(wild(4, 5), 0.3, 0.0)],
    "LeakyReluBackward0": [lambda: F.leaky_relu(wild(4, 5), 0.2)],
    "HardtanhBackward0": [lambda: F.hardtanh(wild(4, 5)), lambda: F.relu6(wild(4, 5) * 5)],
    "ClampBackward1": [
        lambda: wild(4, 5).clamp(-0.5, 0.5),
        lambda: wild(4, 5).clamp(min=0.0),
        lambda: wild(4, 5).clamp(max=0.0),
    ],
    "GeluBackward0": [lambda: F.gelu(wild(4, 5)), lambda: F.gelu(wild(4, 5), approximate="tanh")],
    "SoftplusBackward0": [lambda: F.softplus(wild(4, 5)), lambda: F.softplus(wild(4, 5), beta=2)],
    "SiluBackward0": [lambda: F.silu(wild(4, 5))],
    "SigmoidBackward0": [lambda: wild(4, 5).sigmoid()],
    "TanhBackward0": [lambda: wild(4, 5).tanh()],
    "LogSigmoidBackward0": [lambda: F.logsigmoid(wild(4, 5))],
    "ExpBackward0": [lambda: wild(4, 5).exp()],
    "Expm1Backward0": [lambda: wild(4, 5).expm1()],
    "LogBackward0": [lambda: tame(4, 5).log()],
    "Log2Backward0": [lambda: tame(4, 5).log2()],
    "Log10Backward0": [lambda: tame(4, 5).log10()],
    "Log1PBackward0": [lambda: tame(4, 5).log1p()],
    "SqrtBackward0": [lambda: tame(4, 5).sqrt()],
    "RsqrtBackward0": [lambda: tame(4, 5).rsqrt()],
    "ReciprocalBackward0": [lambda: tame(4, 5).reciprocal()],
    "AbsBackward0": [lambda: wild(4, 5).abs()],
    "NegBackward0": [lambda: -wild(4, 5)],
    "SinBackward0": [lambda: wild(4, 5).sin()],
    "CosBackward0": [lambda: wild(4, 5).cos()],
    "ErfBackward0": [lambda: wild(4, 5).erf()],
    "PowBackward0": [
        lambda: wild(4, 5) ** 2,
        lambda: tame(4, 5) ** 2.5,
        lambda: tame(4, 5) ** -1,
        lambda: wild(4) ** 3,
    ],
    "PowBackward1": [lambda: tame(4, 5) ** wild(4, 5)],
    "AddBackward0": [lambda: wild(4, 5) + wild(4, 5), lambda: torch.add(wild(4, 5), wild(5), alpha=2.5)],
    "AddBackward1": [lambda: aten.add.Scalar(wild(4, 5), 2.0)],
    "SubBackward0": [lambda: wild(4, 5) - wild(4, 5), lambda: torch.sub(wild(4, 1), wild(4, 5), alpha=2.5)],
    "SubBackward1": [lambda: aten.sub.Scalar(wild(4, 5), 2.0)],
    "RsubBackward0": [lambda: torch.rsub(wild(4, 5), wild(4, 5)), lambda: torch.rsub(wild(4), wild(4), alpha=3)],
    "RsubBackward1": [lambda: 1 - wild(4, 5)],
    "MulBackward0": [lambda: wild(4, 5) * wild(4, 5), lambda: wild(4, 5) * wild(5)],
    "MulBackward1": [lambda: aten.mul.Scalar(wild(4, 5), -2.5)],
    "DivBackward0": [lambda: wild(4, 5) / tame(4, 5), lambda: wild(4, 5) / tame(4, 1)],
    "DivBackward1": [lambda: aten.div.Scalar(wild(4, 5), -2.5)],
    "AddcmulBackward0": [
        lambda: torch.addcmul(wild(4, 5), wild(4, 5), wild(4, 5)),
        lambda: torch.addcmul(wild(4, 5), wild(4, 5), wild(4, 5), value=2.5),
    ],
    "MaximumBackward0": [lambda: torch.maximum(wild(4, 5).round(), wild(4, 5).round())],
    "MinimumBackward0": [lambda: torch.minimum(wild(4, 5).round(), wild(4, 5).round())],
    "WhereBackward0": [lambda: torch.where(torch.rand(4, 5) > 0.5, wild(4, 5), wild(4, 5))],
    "MaskedFillBackward0": [lambda: wild(4, 5).masked_fill(torch.rand(4, 5) > 0.5, 1.0)],
    "NativeDropoutBackward0": [lambda: torch.native_dropout(wild(4, 5), 0.4, True)[0]],
    "CloneBackward0": [lambda: wild(4, 5).clone()],
    "AliasBackward0": [lambda: aten.alias(wild(4, 5))],
    "ToCopyBackward0": [lambda: wild(4, 5).float()],
    "AddmmBackward0": [
        lambda: torch.addmm(wild(5), wild(4, 3), wild(3, 5)),
        lambda: torch.addmm(wild(5), wild(4, 3), wild(3, 5), alpha=2, beta=3),
        lambda: nn.Linear(3, 5).double()(wild(4, 3)),
    ],
    "MmBackward0": [lambda: wild(4, 3) @ wild(3, 5), lambda: nn.Linear(3, 5, bias=False).double()(wild(4, 3))],
    "BmmBackward0": [lambda: torch.bmm(wild(2, 4, 3), wild(2, 3, 5))],
    "BaddbmmBackward0": [
        lambda: torch.baddbmm(wild(2, 4, 5), wild(2, 4, 3), wild(2, 3, 5)),
        lambda: torch.baddbmm(wild(2, 4, 5), wild(2, 4, 3), wild(2, 3, 5), alpha=2, beta=3),
    ],
    "MvBackward0": [lambda: wild(4, 3) @ wild(3)],
    "AddmvBackward0": [lambda: torch.addmv(wild(4), wild(4, 3), wild(3), alpha=2, beta=3)],
    "DotBackward0": [lambda: wild(4) @ wild(4)],
    "SparseAddmmBackward0": [
        lambda: torch.sparse.mm(sparse(4, 3), wild(3, 5)),
        lambda: torch.sparse.addmm(wild(4, 5), sparse(4, 3), wild(3, 5), alpha=2, beta=3),
    ],
    "GroupedMmBackward0": [
        lambda: torch._grouped_mm(half(8, 16), half(2, 16, 8), offs=torch.tensor([4, 8], dtype=torch.int32))
    ],
    "VdotBackward0": [lambda: torch.vdot(wild(4), wild(4)), lambda: torch.vdot(waves(4), waves(4))],
    "TBackward0": [lambda: wild(4, 5).t()],
    "TBackward1": [lambda: (wild(4, 5) * 1).t_()],
    "TransposeBackward1": [lambda: (wild(2, 4, 5) * 1).transpose_(0, 2)],
    "TransposeBackward0": [lambda: wild(2, 4, 5).transpose(0, 2), lambda: wild(4, 5).transpose(-1, -2)],
    "PermuteBackward0": [lambda: wild(2, 4, 5).permute(2, 0, 1)],
    "ViewBackward0": [lambda: wild(4, 5).view(2, 10)],
    "UnsafeViewBackward0": [lambda: aten._unsafe_view(wild(4, 5), [2, 10])],
    "ReshapeAliasBackward0": [lambda: aten._reshape_alias(wild(4, 5), [20], [1])],
    "UnsqueezeBackward0": [lambda: wild(4, 5).unsqueeze(1)],
    "UnsqueezeBackward1": [lambda: (wild(4, 5) * 1).unsqueeze_(1)],
    "SqueezeBackward3": [lambda: (wild(4, 1, 5) * 1).squeeze_()],
    "SqueezeBackward4": [lambda: (wild(4, 1, 5) * 1).squeeze_(1)],
    "SqueezeBackward5": [lambda: (wild(1, 4, 1) * 1).squeeze_((0, 2))],
    "SqueezeBackward0": [lambda: wild(4, 1, 5).squeeze()],
    "SqueezeBackward1": [lambda: wild(4, 1, 5).squeeze(1)],
    "SqueezeBackward2": [lambda: wild(1, 4, 1).squeeze((0, 2))],
    "ExpandBackward0": [lambda: wild(4, 1).expand(3, 4, 5)],
    "RepeatBackward0": [lambda: wild(4, 5).repeat(3, 2)],
    "SliceBackward0": [lambda: wild(4, 5)[1:3], lambda: wild(4, 5)[:, 1::2]],
    "SelectBackward0": [lambda: wild(4, 5)[2], lambda: wild(4, 5)[:, -1]],
    "IndexBackward0": [lambda: wild(4, 5)[torch.tensor([0, 2, 0])]],
    "IndexSelectBackward0": [lambda: wild(4, 5).index_select(1, torch.tensor([0, 2, 0]))],
    "GatherBackward0": [lambda: wild(4, 5).gather(1, picks(4, 3, below=5))],
    "MaskedSelectBackward0": [lambda: wild(4, 5).masked_select(torch.arange(20).reshape(4, 5) % 3 == 0)],
    "CatBackward0": [lambda: torch.cat([wild(4, 2), wild(4, 3), wild(4, 1)], 1), lambda: torch.cat([wild(2), wild(3)])],
    "StackBackward0": [lambda: torch.stack([wild(4), wild(4), wild(4)], 1)],
    "SplitBackward0": [lambda: wild(5, 4).split(2)[1]],
    "SplitWithSizesBackward0": [lambda: wild(4, 5).split([1, 4], 1)[1]],
    "UnsafeSplitBackward0": [lambda: aten.unsafe_split(wild(4, 5), 2, -1)[2]],
    "UnbindBackward0": [lambda: wild(4, 5).unbind(1)[2]],
    "FlipBackward0": [lambda: wild(4, 5).flip(0)],
    "RollBackward0": [lambda: wild(4, 5).roll(2, 1)],
    "TriuBackward0": [lambda: wild(4, 5).triu(1)],
    "TrilBackward0": [lambda: wild(4, 5).tril(-1)],
    "DiagonalBackward0": [lambda: wild(4, 5).diagonal()],
    "ConstantPadNdBackward0": [lambda: F.pad(wild(4, 5), (1, 2))],
    "CumsumBackward0": [lambda: wild(4, 5).cumsum(-1)],
    "SumBackward0": [lambda: wild(4, 5).sum()],
    "SumBackward1": [lambda: wild(4, 5).sum(1), lambda: wild(4, 5).sum(-1, keepdim=True)],
    "MeanBackward0": [lambda: wild(4, 5).mean()],
    "MeanBackward1": [lambda: wild(4, 5).mean(0), lambda: wild(2, 4, 5).mean((0, 2))],
    "ProdBackward0": [lambda: tame(5).prod()],
    "VarBackward0": [lambda: wild(4, 5).var(1), lambda: wild(4, 5).var(1, correction=0)],
    "StdBackward0": [lambda: wild(4, 5).std(1), lambda: wild(4, 5).std()],
    "AmaxBackward0": [lambda: wild(4, 9).round().amax(1)],
    "AminBackward0": [lambda: wild(4, 9).round().amin(1)],
    "MaxBackward0": [lambda: wild(4, 5).max(1)[0]],
    "MinBackward0": [lambda: wild(4, 5).min(0)[0]],
    "MaxBackward1": [lambda: wild(4, 5).round().max()],
    "MinBackward1": [lambda: wild(4, 5).round().min()],
    "TopkBackward0": [lambda: wild(4, 5).topk(2)[0]],
    "SortBackward0": [lambda: wild(4, 5).sort()[0]],
    "LinalgVectorNormBackward0": [
        lambda: wild(4, 5).norm(),
        lambda: torch.linalg.vector_norm(wild(4, 5), 1, dim=1),
        lambda: torch.linalg.vector_norm(wild(4, 5), 3, dim=1),
    ],
    "LogsumexpBackward0": [lambda: wild(4, 5).logsumexp(1)],
    "SoftmaxBackward0": [lambda: wild(4, 5).softmax(-1), lambda: wild(4, 5).softmax(0)],
    "SafeSoftmaxBackward0": [lambda: aten._safe_softmax(wild(4, 5), -1)],
    "LogSoftmaxBackward0": [lambda: wild(4, 5).log_softmax(1)],
    "MseLossBackward0": [
        lambda: F.mse_loss(wild(4, 5), wild(4, 5)),
        lambda: F.mse_loss(wild(4, 5), wild(4, 5), reduction="sum"),
    ],
    "SmoothL1LossBackward0": [
        lambda: F.smooth_l1_loss(wild(4, 5), wild(4, 5), beta=0.5),
        lambda: F.smooth_l1_loss(wild(4, 5), wild(4, 5), reduction="none"),
    ],
    "CtcLossBackward0": [
        lambda: F.ctc_loss(
            wild(4, 2, 3).log_softmax(-1),
            torch.tensor([[1, 2], [2, 2]]),
            torch.tensor([4, 4]),
            torch.tensor([2, 2]),
            reduction="none",
        )
    ],
    "HuberLossBackward0": [lambda: F.huber_loss(wild(4, 5), wild(4, 5), delta=0.5)],
    "NllLossBackward0": [
        lambda: F.nll_loss(wild(4, 5), torch.tensor([1, 4, 2, 0])),
        lambda: F.nll_loss(wild(4, 5), torch.tensor([1, 4, 2, 0]), weight=tame(5).detach()),
        lambda: F.nll_loss(wild(4, 5), torch.tensor([1, 4, 2, 0]), reduction="sum"),
    ],
    "NllLoss2DBackward0": [lambda: F.nll_loss(wild(2, 5, 3, 3), picks(2, 3, 3, below=5))],
    "BinaryCrossEntropyBackward0": [
        lambda: F.binary_cross_entropy(tame(4, 5), tame(4, 5)),
        lambda: F.binary_cross_entropy(tame(4, 5), tame(4, 5), reduction="none"),
    ],
    "BinaryCrossEntropyWithLogitsBackward0": [
        lambda: F.binary_cross_entropy_with_logits(wild(4, 5), tame(4, 5)),
        lambda: F.binary_cross_entropy_with_logits(wild(4, 5), tame(4, 5), reduction="sum"),
    ],
    "NativeLayerNormBackward0": [lambda: F.layer_norm(wild(4, 5), (5,), wild(5), wild(5))],
    "NativeGroupNormBackward0": [lambda: F.group_norm(wild(2, 4, 3), 2, wild(4), wild(4))],
    "NativeBatchNormBackward0": [
        lambda: F.batch_norm(wild(6, 4), None, None, wild(4), wild(4), training=True),
        lambda: F.batch_norm(wild(6, 4), wild(4).detach(), tame(4).detach(), wild(4), wild(4)),
    ],
    "ConvolutionBackward0": [
        lambda: F.conv1d(wild(2, 3, 8), wild(4, 3, 3), wild(4)),
        lambda: F.conv_transpose1d(wild(2, 3, 8), wild(3, 4, 3), wild(4)),
    ],
    "MaxPool2DWithIndicesBackward0": [lambda: F.max_pool2d(wild(2, 3, 6, 6), 3, stride=1)],
    "AvgPool2DBackward0": [lambda: F.avg_pool2d(wild(2, 3, 6, 6), 2)],
    "AdaptiveAvgPool2DBackward0": [lambda: F.adaptive_avg_pool2d(wild(2, 3, 6, 6), 3)],
    "WeightNormInterfaceBackward0": [lambda: torch._weight_norm(wild(4, 5), wild(4, 1), 0)],
    "FftC2CBackward0": [
        lambda: torch.fft.fft(waves(4, 5)),
        lambda: torch.fft.ifft(waves(4, 5), dim=0),
        lambda: torch.fft.fft(waves(4, 5), norm="ortho"),
    ],
    "FftR2CBackward0": [lambda: torch.fft.rfft(wild(4, 5)), lambda: torch.fft.rfft(wild(4, 6), norm="ortho")],
    "FftC2RBackward0": [lambda: torch.fft.irfft(waves(4, 5)), lambda: torch.fft.irfft(waves(4, 3), n=5)],
    "TanhBackwardBackward0": [lambda: twice_through(torch.tanh)],
    "SigmoidBackwardBackward0": [lambda: twice_through(torch.sigmoid)],
    "ThresholdBackwardBackward0": [lambda: twice_through(torch.relu)],
    "EmbeddingBackward0": [lambda: F.embedding(torch.tensor([[0, 1], [1, 3]]), wild(5, 3))],
    "ScaledDotProductFlashAttentionForCpuBackward0": [attend],
}

ELSEWHERE = {"ScaledDotProductFlashAttentionBackward0", "ScaledDotProductEfficientAttentionBackward0"}
"""Nodes of operations that the CPU does not have."""


class Known:
    """What a formula may name: v, the saved tensors by symbol, the node's settings, and the shape of the input."""

    def __init__(self, node: Any, v: Tensor, shape: tuple[int, ...], output: int) -> None:
        rule = rule_of(node)
        assert rule is not None
        self.v, self.shape, self.output, self.s = v, shape, output, settings(node)
        self.by_name = {saved.name: saved.tensor for saved in saved_values(node)}
        self.by_symbol = {rule.saved[name]: tensor for name, tensor in self.by_name.items() if name in rule.saved}

    def __getitem__(self, symbol: str) -> Any:
        return self.by_symbol[symbol]

    @property
    def dim(self) -> Any:
        dims = dimension(self.s["dim"])
        return tuple(int(part.replace("−", "-")) for part in dims.split(", "))

    def whole(self, name: str) -> int:
        return int(dimension(self.s[name]).replace("−", "-"))

    @property
    def over(self) -> int:
        return self["x"].numel() if self.s["reduction"] == 1 else 1

    def keep(self, y: Tensor) -> Tensor:
        """Return what has lost its reduced dimensions with them again, of size 1."""
        if self.s.get("keepdim") or y.dim() == len(self.shape):
            return y
        for d in sorted(d % len(self.shape) for d in (self.dim if self.s.get("dim") not in (None, []) else ())):
            y = y.unsqueeze(d)
        return y

    def zeros(self) -> Tensor:
        return torch.zeros(self.shape, dtype=self.v.dtype)

    @property
    def bell(self) -> Tensor:
        return torch.exp(-(self["x"] ** 2) / 2) / math.sqrt(2 * math.pi)

    @property
    def sigma(self) -> Tensor:
        """One over the deviation, of the shape that x̂ needs."""
        return self.stretched("1 ÷ σ")

    def stretched(self, symbol: str) -> Tensor:
        x, kept = self["x"], self[symbol]
        if "group" in self.s:
            return kept.repeat_interleave(x.shape[1] // kept.shape[1], 1).unsqueeze(-1)
        return kept if kept.dim() == x.dim() else kept.reshape(1, -1)

    @property
    def hat(self) -> Tensor:
        return (self["x"] - self.stretched("μ")) * self.sigma

    @property
    def weight(self) -> Tensor:
        return self["w"].reshape([1, -1] + [1] * (self["x"].dim() - 2)) if self["x"].dim() == 3 else self["w"]

    def mean(self, t: Tensor) -> Tensor:
        """Average over what the norm averages over."""
        if "group" in self.s:
            n = t.shape[0]
            groups = t.reshape(n, self.s["group"], -1).mean(2, keepdim=True)
            return groups.expand(-1, -1, t[0].numel() // self.s["group"]).reshape(t.shape)
        return t.mean(0 if "training" in self.s else -1, keepdim=True)

    def others(self, t: Tensor) -> Tensor:
        """Sum over the dimensions that the weight does not have."""
        return t.sum((0, 2)) if t.dim() == 3 else t.sum(0)


def picked(k: Known) -> Tensor:
    out = k.zeros()
    i = k["i"]
    return out.scatter(k.dim[0], i if i.dim() == out.dim() else i.unsqueeze(k.dim[0]), k.keep(k.v))


def added(k: Known) -> Tensor:
    """Add v where it was read from."""
    out = k.zeros()
    if "i" not in k.by_symbol:
        return out.index_put_((k.by_name["indices[0]"],), k.v, accumulate=True)
    i = k["i"]
    if i.dim() == 4:  # windows of pictures: places are counted within a plane
        return out.flatten(2).scatter_add(2, i.flatten(2), k.v.flatten(2)).reshape(k.shape)
    return out.index_add(k.dim[0], i, k.v) if i.dim() == 1 else out.scatter_add(k.dim[0], i, k.v)


def in_place(k: Known) -> Tensor:
    out, dim = k.zeros(), k.dim[0]
    if "index" in k.s:
        out.select(dim, k.whole("index")).copy_(k.v)
    else:
        out.transpose(0, dim)[slice(k.s["start"], k.s["end"], k.s["step"])] = k.v.transpose(0, dim)
    return out


def attention(k: Known) -> tuple[Tensor, Tensor]:
    s = k.s["scale"] or 1 / math.sqrt(k["Q"].shape[-1])
    p = (s * k["Q"] @ k["K"].mT).softmax(-1)
    return p, s * p * (k.v @ k["V"].mT - (k.v * k["y"]).sum(-1, keepdim=True))


def unwindowed(k: Known) -> Tensor:
    """Share v out over the windows of 2×2 that do not overlap."""
    return k.v.repeat_interleave(2, -1).repeat_interleave(2, -2) / 4


def target_entry(k: Known) -> Tensor:
    t, w = k["target"], k.by_name.get("weight")
    weights = torch.ones_like(t, dtype=k.v.dtype) if w is None else w[t]
    over = weights.sum() if k.s["reduction"] == 1 else 1
    return k.zeros().scatter(1, t.unsqueeze(1), (-weights * k.v / over).unsqueeze(1))


def each_group(k: Known, of: Callable[[Tensor, Tensor, Tensor], Tensor]) -> list[Tensor]:
    ends = [0, *k["ends of groups"].tolist()]
    pairs = enumerate(itertools.pairwise(ends))
    return [of(k["A"][low:high].float(), k["B"][i].float(), k.v[low:high].float()) for i, (low, high) in pairs]


def misspelt(k: Known) -> Tensor:
    """Go through every alignment of times and labels, and keep those that spell the target."""
    x = k["x"].detach()
    times, samples, labels = x.shape
    left = torch.zeros_like(x)
    for sample in range(samples):
        part, chance = torch.zeros(times, labels, dtype=x.dtype), 0.0
        for way in itertools.product(range(labels), repeat=times):
            if [label for label, _ in itertools.groupby(way) if label] == k["target"][sample].tolist():
                each = math.exp(sum(float(x[t, sample, label]) for t, label in enumerate(way)))
                chance += each
                part[range(times), way] += each
        left[:, sample] = (x[:, sample].exp() - part / chance) * k.v[sample]
    return left


def transformed(k: Known, forward: bool) -> Tensor:
    return torch._fft_c2c(k.v.to(torch.complex128), k.s["dim"], k.s["normalization"], forward)


def from_real(k: Known) -> Tensor:
    size = k.shape[-1]
    v = torch.cat([k.v, torch.zeros(*k.v.shape[:-1], size - k.v.shape[-1], dtype=k.v.dtype)], -1)
    return torch._fft_c2c(v, k.s["dim"], k.s["normalization"], False).real


def to_real(k: Known) -> Tensor:
    left = transformed(k, True)[..., : k.shape[-1]]
    mirrored = k.v.shape[-1] - k.shape[-1]
    left[..., 1 : 1 + mirrored] *= 2
    return left


def convolved(k: Known, turned: bool) -> Tensor:
    return (F.conv1d if turned else F.conv_transpose1d)(k.v, k["W"])


def correlated(k: Known) -> Tensor:
    x, v = (k.v, k["x"]) if k.s["transposed"] else (k["x"], k.v)
    return F.conv1d(x.transpose(0, 1), v.transpose(0, 1)).transpose(0, 1)


def gelu_slope(x: Tensor) -> Tensor:
    c = math.sqrt(2 / math.pi)
    t = torch.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def spread(k: Known, times: float) -> Tensor:
    x, dims = k["x"], tuple(range(k["x"].dim())) if k.s["dim"] in (None, []) else k.dim
    n = math.prod(x.shape[d] for d in dims)
    y = k.keep(k["y"]) if "y" in k.by_symbol else 1
    return (
        k.keep(k.v)
        * times
        * (x - x.mean(dims, keepdim=True))
        / ((n - (1 if k.s["correction"] is None else k.s["correction"])) * y)
    )


def own_part(k: Known, edge: int, node: Any) -> Tensor:
    sizes = [f._input_metadata[p].shape[k.dim[0]] for f, p in node.next_functions]
    return k.v.split(sizes, k.dim[0])[edge]


def pieces(k: Known, node: Any) -> Tensor:
    parts = [torch.zeros(m.shape, dtype=k.v.dtype) for m in node._input_metadata]
    parts[k.output] = k.v
    return torch.cat(parts, k.dim[0])


FORMULAS: dict[str, Callable[[Known], Tensor]] = {
    "v": lambda k: k.v,
    "−v": lambda k: -k.v,
    "2.5 v": lambda k: 2.5 * k.v,
    "−2.5 v": lambda k: -2.5 * k.v,
    "−3 v": lambda k: -3 * k.v,
    "3 v": lambda k: 3 * k.v,
    "v ÷ −2.5": lambda k: k.v / -2.5,
    "v ⊙ 1[y > 0]": lambda k: k.v * (k["y"] > 0),
    "v ⊙ 1[x > 0.3]": lambda k: k.v * (k["x"] > 0.3),
    "v where x > 0, else 0.2 v": lambda k: torch.where(k["x"] > 0, k.v, 0.2 * k.v),
    "v ⊙ 1[−1 < x < 1]": lambda k: k.v * ((k["x"] > -1) & (k["x"] < 1)),
    "v ⊙ 1[0 < x < 6]": lambda k: k.v * ((k["x"] > 0) & (k["x"] < 6)),
    "v ⊙ 1[−0.5 ≤ x ≤ 0.5]": lambda k: k.v * ((k["x"] >= -0.5) & (k["x"] <= 0.5)),
    "v ⊙ 1[0 ≤ x]": lambda k: k.v * (k["x"] >= 0),
    "v ⊙ 1[x ≤ 0]": lambda k: k.v * (k["x"] <= 0),
    "v ⊙ (Φ(x) + x φ(x))": lambda k: k.v * (torch.special.ndtr(k["x"]) + k["x"] * k.bell),
    "v ⊙ gelu′(x)": lambda k: k.v * gelu_slope(k["x"]),
    "v ⊙ σ(x)": lambda k: k.v * k["x"].sigmoid(),
    "v ⊙ σ(2 x)": lambda k: k.v * (2 * k["x"]).sigmoid(),
    "v ⊙ σ(−x)": lambda k: k.v * (-k["x"]).sigmoid(),
    "v ⊙ σ(x) (1 + x (1 − σ(x)))": lambda k: k.v * k["x"].sigmoid() * (1 + k["x"] * (1 - k["x"].sigmoid())),
    "v ⊙ y (1 − y)": lambda k: k.v * k["y"] * (1 - k["y"]),
    "v ⊙ (1 − y²)": lambda k: k.v * (1 - k["y"] ** 2),
    "v ⊙ y": lambda k: k.v * k["y"],
    "v ⊙ (y + 1)": lambda k: k.v * (k["y"] + 1),
    "v ÷ x": lambda k: k.v / k["x"],
    "v ÷ (x log 2)": lambda k: k.v / (k["x"] * math.log(2)),
    "v ÷ (x log 10)": lambda k: k.v / (k["x"] * math.log(10)),
    "v ÷ (1 + x)": lambda k: k.v / (1 + k["x"]),
    "v ÷ (2y)": lambda k: k.v / (2 * k["y"]),
    "−½ v ⊙ y³": lambda k: -0.5 * k.v * k["y"] ** 3,
    "−v ⊙ y²": lambda k: -k.v * k["y"] ** 2,
    "v ⊙ sign(x)": lambda k: k.v * k["x"].sign(),
    "v ⊙ cos x": lambda k: k.v * k["x"].cos(),
    "−v ⊙ sin x": lambda k: -k.v * k["x"].sin(),
    "v ⊙ 2/√π exp(−x²)": lambda k: k.v * 2 / math.sqrt(math.pi) * torch.exp(-(k["x"] ** 2)),
    "v ⊙ 2x": lambda k: k.v * 2 * k["x"],
    "v ⊙ 3 x^2": lambda k: k.v * 3 * k["x"] ** 2,
    "v ⊙ 2.5 x^1.5": lambda k: k.v * 2.5 * k["x"] ** 1.5,
    "v ⊙ −1 x^−2": lambda k: k.v * -1 * k["x"] ** -2,
    "v ⊙ b a^(b − 1)": lambda k: k.v * k["b"] * k["a"] ** (k["b"] - 1),
    "v ⊙ y log a": lambda k: k.v * k["y"] * k["a"].log(),
    "v ⊙ b": lambda k: k.v * k["b"],
    "v ⊙ a": lambda k: k.v * k["a"],
    "v ⊙ c": lambda k: k.v * k["c"],
    "2.5 v ⊙ b": lambda k: 2.5 * k.v * k["b"],
    "2.5 v ⊙ c": lambda k: 2.5 * k.v * k["c"],
    "v ÷ b": lambda k: k.v / k["b"],
    "−v ⊙ a ÷ b²": lambda k: -k.v * k["a"] / k["b"] ** 2,
    "v ⊙ (1[a > b] + ½ 1[a = b])": lambda k: k.v * ((k["a"] > k["b"]) + 0.5 * (k["a"] == k["b"])),
    "v ⊙ (1[b > a] + ½ 1[a = b])": lambda k: k.v * ((k["b"] > k["a"]) + 0.5 * (k["a"] == k["b"])),
    "v ⊙ (1[a < b] + ½ 1[a = b])": lambda k: k.v * ((k["a"] < k["b"]) + 0.5 * (k["a"] == k["b"])),
    "v ⊙ (1[b < a] + ½ 1[a = b])": lambda k: k.v * ((k["b"] < k["a"]) + 0.5 * (k["a"] == k["b"])),
    "v ⊙ 1[c]": lambda k: k.v * k["c"],
    "v ⊙ 1[not c]": lambda k: k.v * ~k["c"],
    "v ⊙ 1[not m]": lambda k: k.v * ~k["m"],
    "m ⊙ v ÷ (1 − 0.4)": lambda k: k["m"] * k.v / (1 - 0.4),
    "v W": lambda k: k.v @ k["Wᵀ"].t(),
    "v Wᵀ": lambda k: k.v @ k["W"].mT,
    "2 v Wᵀ": lambda k: 2 * k.v @ k["W"].mT,
    "xᵀ v": lambda k: k["x"].mT @ k.v,
    "2 xᵀ v": lambda k: 2 * k["x"].mT @ k.v,
    "v Wᵀ where x has entries": lambda k: k.v @ k["W"].mT * (k["x"].to_dense() != 0),
    "2 v Wᵀ where x has entries": lambda k: 2 * k.v @ k["W"].mT * (k["x"].to_dense() != 0),
    "v Bᵀ in each group": lambda k: torch.cat(each_group(k, lambda _, b, v: v @ b.mT)),
    "Aᵀ v in each group": lambda k: torch.stack(each_group(k, lambda a, _, v: a.mT @ v)),
    "v̄ b": lambda k: k.v.conj() * k["b"],
    "(exp x − p) v": misspelt,
    "g (v − d (d · v) ÷ n²) ÷ n": lambda k: (
        k["g"] * (k.v - k["d"] * (k["d"] * k.v).sum(1, keepdim=True) / k["n"] ** 2) / k["n"]
    ),
    "(d · v) ÷ n": lambda k: (k["d"] * k.v).sum(1, keepdim=True) / k["n"],
    "inverse FFT of v, scaled alike": lambda k: transformed(k, False),
    "FFT of v, scaled alike": lambda k: transformed(k, True),
    "real part of the inverse FFT of v, scaled alike": from_real,
    "FFT of v, scaled alike, doubled between its ends": to_real,
    "v ⊙ (1 − t²)": lambda k: k.v * (1 - k["t"] ** 2),
    "−2 v ⊙ u ⊙ t": lambda k: -2 * k.v * k["u"] * k["t"],
    "v ⊙ s (1 − s)": lambda k: k.v * k["s"] * (1 - k["s"]),
    "v ⊙ u ⊙ (1 − 2 s)": lambda k: k.v * k["u"] * (1 - 2 * k["s"]),
    "v ⊙ 1[x > 0]": lambda k: k.v * (k["x"] > 0),
    "0": lambda k: k.zeros(),
    "0 v": lambda k: 0 * k.v,
    "v Bᵀ": lambda k: k.v @ k["B"].mT,
    "Aᵀ v": lambda k: k["A"].mT @ k.v,
    "2 v Bᵀ": lambda k: 2 * k.v @ k["B"].mT,
    "2 Aᵀ v": lambda k: 2 * k["A"].mT @ k.v,
    "v xᵀ": lambda k: k.v[:, None] @ k["x"][None],
    "2 v xᵀ": lambda k: 2 * k.v[:, None] @ k["x"][None],
    "v b": lambda k: k.v * k["b"],
    "v a": lambda k: k.v * k["a"],
    "vᵀ": lambda k: k.v.mT,
    "v, dims 0 and 2 swapped": lambda k: k.v.transpose(0, 2),
    "v, dims −1 and −2 swapped": lambda k: k.v.transpose(-1, -2),
    "v, dims permuted back": lambda k: k.v.permute(1, 2, 0),
    "v in the shape of x": lambda k: k.v.reshape(k.shape),
    "v summed over the copies": lambda k: (
        k.v.reshape(3, 4, 2, 5).sum((0, 2)) if k.v.dim() == 2 else k.v.sum((0, 2)).reshape(k.shape)
    ),
    "v in its place, 0 elsewhere": in_place,
    "v added at i, 0 elsewhere": added,
    "v at i, 0 elsewhere": picked,
    "v at i": picked,
    "v where m, 0 elsewhere": lambda k: k.zeros().masked_scatter(k["m"], k.v),
    "v₁, v₂, … stacked": lambda k: k.zeros().index_copy(k.dim[0], torch.tensor([2]), k.v.unsqueeze(k.dim[0])),
    "v, flipped": lambda k: k.v.flip(k.s["dims"]),
    "v, rolled back": lambda k: k.v.roll(-k.s["shifts"][0], k.s["dims"]),
    "v on and above it, else 0": lambda k: k.v.triu(k.whole("diagonal")),
    "v on and below it, else 0": lambda k: k.v.tril(k.whole("diagonal")),
    "v on the diagonal, else 0": lambda k: torch.diag(k.v)[: k.shape[0]] @ torch.eye(k.shape[0], k.shape[1]).double(),
    "v without the padding": lambda k: k.v[:, 1:-2],
    "running sums of v from the end": lambda k: k.v.flip(1).cumsum(1).flip(1),
    "v for every element": lambda k: k.v.expand(k.shape),
    "v repeated": lambda k: k.keep(k.v).expand(k.shape),
    "v ÷ 20": lambda k: (k.v / 20).expand(k.shape),
    "v ÷ n, repeated": lambda k: k.keep(k.v).expand(k.shape) / (math.prod(k.shape) // k.v.numel()),
    "v y ÷ x": lambda k: k.v * k["y"] / k["x"],
    "v ⊙ 2 (x − x̄) ÷ (n − 1)": lambda k: spread(k, 2),
    "v ⊙ 2 (x − x̄) ÷ (n − 0)": lambda k: spread(k, 2),
    "v ⊙ (x − x̄) ÷ ((n − 1) y)": lambda k: spread(k, 1),
    "v ⊙ 1[x = y] ÷ how many": lambda k: (
        k.keep(k.v)
        * (mask := k["x"] == k.keep(k["y"]))
        / (mask.sum(k.dim, keepdim=True) if "dim" in k.s else mask.sum())
    ),
    "v x ÷ y": lambda k: k.v * k["x"] / k["y"],
    "v sign(x)": lambda k: k.keep(k.v) * k["x"].sign(),
    "v x |x|^(3 − 2) ÷ y^(3 − 1)": lambda k: k.keep(k.v) * k["x"] * k["x"].abs() / k.keep(k["y"]) ** 2,
    "v ⊙ exp(x − y)": lambda k: k.keep(k.v) * (k["x"] - k.keep(k["y"])).exp(),
    "y ⊙ (v − Σ v ⊙ y)": lambda k: k["y"] * (k.v - (k.v * k["y"]).sum(k.dim, keepdim=True)),
    "v − exp(y) Σ v": lambda k: k.v - k["y"].exp() * k.v.sum(k.dim, keepdim=True),
    "2 (x − t) v ÷ N": lambda k: 2 * (k["x"] - k["t"]) * k.v / k.over,
    "−2 (x − t) v ÷ N": lambda k: -2 * (k["x"] - k["t"]) * k.v / k.over,
    "2 (x − t) v": lambda k: 2 * (k["x"] - k["t"]) * k.v,
    "−2 (x − t) v": lambda k: -2 * (k["x"] - k["t"]) * k.v,
    "clip((x − t) ÷ 0.5, −1, 1) v ÷ N": lambda k: ((k["x"] - k["t"]) / 0.5).clip(-1, 1) * k.v / k.over,
    "−clip((x − t) ÷ 0.5, −1, 1) v ÷ N": lambda k: -((k["x"] - k["t"]) / 0.5).clip(-1, 1) * k.v / k.over,
    "clip((x − t) ÷ 1, −1, 1) v": lambda k: (k["x"] - k["t"]).clip(-1, 1) * k.v,
    "−clip((x − t) ÷ 1, −1, 1) v": lambda k: -(k["x"] - k["t"]).clip(-1, 1) * k.v,
    "clip(x − t, −0.5, 0.5) v ÷ N": lambda k: (k["x"] - k["t"]).clip(-0.5, 0.5) * k.v / k.over,
    "−clip(x − t, −0.5, 0.5) v ÷ N": lambda k: -(k["x"] - k["t"]).clip(-0.5, 0.5) * k.v / k.over,
    "−w v ÷ Σw at the target, 0 elsewhere": target_entry,
    "−w v at the target, 0 elsewhere": target_entry,
    "(x − t) ÷ (x (1 − x)) v ÷ N": lambda k: (k["x"] - k["t"]) / (k["x"] * (1 - k["x"])) * k.v / k.over,
    "(x − t) ÷ (x (1 − x)) v": lambda k: (k["x"] - k["t"]) / (k["x"] * (1 - k["x"])) * k.v,
    "(log(1 − x) − log x) v ÷ N": lambda k: ((1 - k["x"]).log() - k["x"].log()) * k.v / k.over,
    "(log(1 − x) − log x) v": lambda k: ((1 - k["x"]).log() - k["x"].log()) * k.v,
    "(σ(x) − t) v ÷ N": lambda k: (k["x"].sigmoid() - k["t"]) * k.v / k.over,
    "(σ(x) − t) v": lambda k: (k["x"].sigmoid() - k["t"]) * k.v,
    "−x v ÷ N": lambda k: -k["x"] * k.v / k.over,
    "−x v": lambda k: -k["x"] * k.v,
    "(g − mean g − x̂ mean(g ⊙ x̂)) ÷ σ, g = v ⊙ w": lambda k: (
        ((g := k.v * k.weight) - k.mean(g) - k.hat * k.mean(g * k.hat)) * k.sigma
    ),
    "v ⊙ w ÷ σ": lambda k: k.v * k["w"] / (k["σ²"] + k.s["eps"]).sqrt(),
    **dict.fromkeys(
        ("Σ v ⊙ x̂ over the others", "Σ v ⊙ x̂ over the batch and all positions"), lambda k: k.others(k.v * k.hat)
    ),
    "Σ v ⊙ x̂ over the batch": lambda k: k.others(
        k.v * (k.hat if k.s["training"] else (k["x"] - k["μ"]) / (k["σ²"] + k.s["eps"]).sqrt())
    ),
    **dict.fromkeys(
        ("Σ v over the others", "Σ v over the batch and all positions", "Σ v over the batch"), lambda k: k.others(k.v)
    ),
    "W ⋆ᵀ v": lambda k: convolved(k, turned=False),
    "W ⋆ v": lambda k: convolved(k, turned=True),
    "x ⋆ v": correlated,
    "v ÷ size of the window, summed": unwindowed,
    "rows of v added at i, 0 elsewhere": lambda k: k.zeros().index_add(0, k["i"].flatten(), k.v.flatten(0, 1)),
    "s D K, D = P ⊙ (v Vᵀ − rowsum(v ⊙ y))": lambda k: attention(k)[1] @ k["K"],
    "s Dᵀ Q": lambda k: attention(k)[1].mT @ k["Q"],
    "Pᵀ v": lambda k: attention(k)[0].mT @ k.v,
}
"""Each formula as the tables write it, and the same in torch."""

BY_EDGE: dict[str, Callable[[Known, int, Any], Tensor]] = {
    "its part of v": own_part,
    "its slice of v": lambda k, edge, _: k.v.select(k.dim[0], edge),
    "[v₁ v₂ …]": lambda k, _, node: pieces(k, node),
}


def test_every_rule_has_a_case_and_none_is_for_an_unknown_node() -> None:
    assert set(CASES) | ELSEWHERE == set(TABLE)


@pytest.mark.parametrize(("name", "case"), [(name, i) for name, made in CASES.items() for i in range(len(made))])
def test_the_formula_gives_what_the_node_gives(name: str, case: int) -> None:
    torch.manual_seed(3)
    y = CASES[name][case]()
    node = y.grad_fn
    assert node is not None
    assert node.name() == name
    rule = rule_of(node)
    assert rule is not None
    assert rule.words
    v = torch.randn_like(y)
    left = vjp(node, [v if i == y.output_nr else None for i in range(len(node._input_metadata))])  # type: ignore[attr-defined]
    assert isinstance(left, tuple)
    seen = 0
    for edge, ((following, place), given) in enumerate(zip(node.next_functions, left, strict=True)):
        if following is None:
            continue
        shape = tuple(following._input_metadata[place].shape)  # type: ignore[attr-defined]
        known = Known(node, v, shape, y.output_nr)
        _, formula = symbol_of(rule, edge)
        made = FORMULAS[formula](known) if formula in FORMULAS else BY_EDGE[formula](known, edge, node)
        made = made if tuple(made.shape) == shape else made.sum_to_size(shape)
        assert given is not None
        given = given.to_dense() if given.is_sparse else given
        assert bool(given.any()) == (formula != "0")
        torch.testing.assert_close(given, made.to(given.dtype))
        seen += 1
    assert seen


def test_every_formula_is_used_and_every_symbol_in_it_is_explained() -> None:
    torch.manual_seed(3)
    used = set()
    for made in CASES.values():
        for make in made:
            rule = rule_of(make().grad_fn)  # type: ignore[arg-type]
            assert rule is not None
            for _, formula in rule.inputs:
                used.add(formula)
                symbols = {*rule.saved.values(), *(symbol for symbol, _ in rule.inputs)}
                for letter in re.findall(r"(?<![\w.′])[abcxytABWKQV](?![\w′])", formula):
                    assert letter in symbols or f"{letter}ᵀ" in symbols, (rule.forward, formula, letter)
    assert used == set(FORMULAS) | set(BY_EDGE)


@pytest.mark.parametrize("name", CASES)
def test_where_the_engine_sums_over_what_was_broadcast_is_told(name: str) -> None:
    for make in CASES[name]:
        y = make()
        node: Any = y.grad_fn
        raw = node(*[torch.ones_like(y) if i == y.output_nr else None for i in range(len(node._input_metadata))])
        for edge, result in enumerate(raw if isinstance(raw, tuple) else (raw,)):
            following, place = node.next_functions[edge]
            if following is None:
                continue
            shape = tuple(following._input_metadata[place].shape)
            dims = summed_over(node, edge)
            assert bool(dims) == (tuple(result.shape) != shape)
            if result.is_sparse:
                continue
            assert (result.sum(dims).reshape(shape) if dims else result).equal(result.sum_to_size(shape))


def test_a_node_no_table_knows_has_no_rule() -> None:
    assert rule_of(wild(3, 3).det().grad_fn) is None  # type: ignore[arg-type]


def test_a_node_without_a_formula_has_a_description() -> None:
    x = wild(3, 3) * 1
    x[0] = 0
    assert words_of(x.grad_fn).startswith("an in-place write to a view")  # type: ignore[arg-type]
    assert words_of(checkpoint(torch.tanh, wild(3), use_reentrant=True).grad_fn).startswith("an activation checkpoint")
    assert words_of(Same.apply(wild(3)).grad_fn).startswith("a custom Function")
    assert words_of(wild(3, 3).det().grad_fn) == "v goes through torch's own derivative of linalg det"  # type: ignore[arg-type]
    lstm = nn.LSTM(2, 3)(torch.randn(4, 1, 2))[0].grad_fn
    assert words_of(lstm).startswith("LSTM: backpropagation through time")  # type: ignore[arg-type]
    assert words_of(wild(3).sum().grad_fn.next_functions[0][0]) == ""  # type: ignore[arg-type,union-attr]
    assert words_of(wild(3).sum().grad_fn).startswith("every element gets v")  # type: ignore[arg-type]


class Same(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Tensor:
        return v


def test_a_list_numbers_its_inputs() -> None:
    node: Any = torch.cat([wild(2), wild(3)]).grad_fn
    rule = rule_of(node)
    assert rule is not None
    assert symbol_of(rule, 1) == ("x₂", "its part of v")


def test_a_weight_that_is_transposed_is_named_so() -> None:
    node: Any = nn.Linear(3, 5)(torch.randn(2, 3)).grad_fn
    other: Any = torch.addmm(torch.randn(5), torch.randn(2, 3), torch.randn(3, 5, requires_grad=True)).grad_fn
    linear, plain = rule_of(node), rule_of(other)
    assert linear is not None
    assert plain is not None
    assert (linear.forward, plain.forward) == ("y = b + x Wᵀ", "y = b + x W")
