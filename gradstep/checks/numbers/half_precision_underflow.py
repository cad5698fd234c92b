"""`half-precision-underflow`: most elements of float16 gradients are zero, for they are too small for it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen, at, listed, sampled
from gradstep.values.findings import Rule

IN_A_ROW = 3
"""Sampled backwards in which it has to be so."""
_SMALLEST = 2.0**-14
"""The smallest normal float16: below it numbers lose their digits."""


class HalfPrecisionUnderflow(Check):
    """Counts zeros and subnormal numbers among float16 gradients, in rows that have others."""

    rule = Rule(
        id="half-precision-underflow",
        severity="warning",
        title="float16 gradients underflow to zero",
        why="float16 rounds numbers below 3e-8 to zero: small gradients vanish, and their weights are not trained.",
        detects=f"In {IN_A_ROW} sampled backwards in a row, more than the threshold of the elements of float16 "
        "gradients are zero or below 2^-14, or all of them are zero. Rows that are zero throughout, as of an "
        "embedding, do not count.",
        remedy="Scale the loss: scaler = torch.amp.GradScaler(); scaler.scale(loss).backward(), or train in bfloat16.",
        source="Micikevicius et al. 2018, 'Mixed Precision Training', section 3.2 (loss scaling)",
        threshold=0.5,
        unit="of the elements",
    )

    def __init__(self, threshold: float | None = None) -> None:
        """Begin with nothing seen."""
        super().__init__(threshold)
        self._runs: dict[str, int] = {}
        self._empty = 0
        """Sampled backwards in a row of which every float16 gradient is zero."""

    @at("backward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients of a backward."""
        if not sampled(moment.iteration):
            return
        named = [(name, p.grad) for name, p in moment.parameters() if p.grad is not None and p.dim() > 1]
        half = [(name, grad) for name, grad in named if grad.dtype is torch.float16 and grad.layout is torch.strided]
        if not half:
            return
        shares = torch.stack([_share(grad) for _, grad in half]).tolist()
        for (name, _), share in zip(half, shares, strict=True):
            self._runs[name] = self._runs.get(name, 0) + 1 if share > self.threshold else 0
        self._empty = self._empty + 1 if len(half) > 1 and not any(bool(grad.any()) for _, grad in half) else 0
        if self._empty >= IN_A_ROW:
            what = f"All elements of {len(half)} float16 gradients are zero ({listed(name for name, _ in half)})."
            yield Seen(what, moment.at(half[0][0], panel="layers"), {"share": 1.0, "parameters": len(half)})
        lost = {name: share for (name, _), share in zip(half, shares, strict=True) if self._runs[name] >= IN_A_ROW}
        if lost:
            worst = max(lost, key=lambda name: lost[name])
            what = f"{100 * lost[worst]:.0f} % of {worst}.grad is zero or too small for float16 ({listed(lost)})."
            yield Seen(what, moment.at(worst, panel="layers"), {"share": lost[worst], "parameters": len(lost)})


def _share(grad: Tensor) -> Tensor:
    rows = grad.detach().flatten(1).abs()
    used = rows[rows.amax(1) > 0]
    return (used < _SMALLEST).float().mean() if used.numel() else torch.zeros(())
