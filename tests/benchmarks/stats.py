"""Statistics of one tensor of 50,257 x 768 float32, against `torch.linalg.vector_norm` of it."""

from __future__ import annotations

from functools import partial

import torch
from timing import row, timed
from torch import Tensor

from gradstep.engine.numbers.selection import cut
from gradstep.engine.reads import read
from gradstep.values.views.tensor import Statistics
from gradstep.views.tensor.before_after import BeforeAfter, statistics_of

SHAPE = (50_257, 768)
BINS = 24


def plain(tensor: Tensor) -> None:
    """Compute the same with torch's functions, each by itself."""
    torch.aminmax(tensor)
    tensor.mean()
    tensor.std()
    torch.linalg.vector_norm(tensor)
    torch.count_nonzero(tensor)
    tensor.isnan().sum()
    tensor.isinf().sum()
    torch.histc(tensor, BINS)


def measure(turns: int) -> list[str]:
    """Take each in turn; return the lines of the report."""
    torch.manual_seed(0)
    weight = torch.randn(SHAPE) * 0.02
    moved = weight + 1e-3 * torch.randn(SHAPE)
    whole = cut(SHAPE, ())
    side = BeforeAfter("weight", moved, weight, "kept")
    sparse = torch.zeros(SHAPE)
    sparse[:64] = weight[:64]

    def ours(side: BeforeAfter, quantity: str, bins: int) -> Statistics:
        return read(statistics_of(side, whole, quantity, bins))  # type: ignore[arg-type]

    calls = {
        "without a histogram": partial(ours, side, "value", 0),
        "with one": partial(ours, side, "value", BINS),
        "of a .grad, nearly all 0": partial(ours, BeforeAfter("grad", sparse, None, "none"), "value", BINS),
        "of nothing but NaN": partial(
            ours, BeforeAfter("nan", torch.full(SHAPE, torch.nan), None, "none"), "value", BINS
        ),
        "of bfloat16": partial(ours, BeforeAfter("half", moved.bfloat16(), None, "none"), "value", BINS),
        "of the change": partial(ours, side, "change", BINS),
        "torch, one by one": partial(plain, moved),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ("norm", *calls)}
    for turn in range(turns + 1):
        for name, call in (("norm", partial(torch.linalg.vector_norm, moved)), *calls.items()):
            taken = timed(call)
            if turn:
                seconds[name].append(taken)
    return [row(name, seconds[name], seconds["norm"]) for name in calls]
