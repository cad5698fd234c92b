"""`learning-rate-low`: all steps point the same way, and make no progress."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.losses import losses, mean
from gradstep.checks.updates.updates import UpdateCheck, updates
from gradstep.values.findings import Rule

_STEPS = 20
"""Steps in a row that are looked at."""
_SAME = 0.95
"""Cosine of two gradients that point the same way."""
_LOSS = 0.999
"""Part of its start that the loss still has."""


class LearningRateLow(UpdateCheck):
    """Looks for gradients that stay the same while weights and loss hardly change."""

    rule = Rule(
        id="learning-rate-low",
        severity="warning",
        title="the learning rate is too low",
        why="In twenty steps neither the direction of the gradient nor the loss has changed: the steps are far "
        "smaller than they could be.",
        detects="In twenty checked steps in a row, no weight changes by more than the threshold times its norm, each "
        "gradient points in the direction of the one before (cosine above 0.95), lr is above 0 and does not rise, "
        "and the loss has not fallen by 0.1 %.",
        remedy="Raise lr, by ten at first; `check lr-range` finds the largest that works.",
        source="cs231n, 'Babysitting the learning process' (a loss that barely changes: lr too low)",
        threshold=1e-5,
        unit="of the weight",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._gradients: dict[str, Tensor] = {}
        self._low = 0
        self._rate = 0.0
        self._losses: list[float] = []

    @at("forward", "step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare gradients and changes after a step."""
        if moment.phase == "forward":
            self._losses = losses(moment)
        found, past = [each for each in updates(moment) if each.size], self._losses
        if not found:
            return
        before, self._gradients = self._gradients, {each.name: each.gradient for each in found}
        most = max(found, key=lambda each: each.ratio)
        rises, self._rate = most.rate > self._rate > 0, most.rate
        pairs = [(before[each.name], each.gradient) for each in found if each.name in before]
        low = most.rate > 0 and most.ratio < self.threshold and not rises and _same_way(pairs)
        self._low = self._low + 1 if low else 0
        if self._low >= _STEPS and past and 0 < _LOSS * mean(past[:3]) < mean(past[-3:]):
            what = (
                f"In {self._low} steps the loss has gone from {past[0]:.5g} to {past[-1]:.5g}, all gradients point the "
                f"same way, and no weight changes by more than {most.ratio:.1e} of its size; lr is {most.rate:g}."
            )
            yield Seen(what, moment.at(panel="optimizer"), {"lr": most.rate, "ratio": most.ratio})


def _same_way(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    if not pairs or any(before.shape != now.shape for before, now in pairs):
        return False
    before, now = (torch.cat(each) for each in zip(*pairs, strict=True))
    return float(before @ now) > _SAME * float(before.norm()) * float(now.norm()) > 0
