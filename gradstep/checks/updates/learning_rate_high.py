"""`learning-rate-high`: steps go too far."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.losses import losses
from gradstep.checks.numbers.gradients import is_adaptive
from gradstep.checks.updates.updates import UpdateCheck, updates
from gradstep.values.findings import Rule

_STEPS = 3
"""Steps in a row that overshoot."""
_AGAINST = -0.5
"""Cosine of two gradients that point against each other."""
_LOSSES = 10
_WORSE = 2.0
"""Times its start that the loss stays at."""
_LARGE = 0.1
"""Part of a weight that one step has changed."""


class LearningRateHigh(UpdateCheck):
    """Looks for gradients that turn round and grow from step to step, and for a loss that large steps have raised."""

    rule = Rule(
        id="learning-rate-high",
        severity="warning",
        title="the learning rate is too high",
        why="Each step overshoots the minimum: the next gradient points back, and a larger one means further away.",
        detects="In three steps of plain gradient descent in a row, the gradient is opposite to that of the step "
        "before (cosine below -0.5) and larger, and the loss rises; or, after ten iterations, the loss is above "
        "twice its start, and a step has changed a weight by a tenth of its size or more.",
        remedy="Lower lr, by ten at first; `check lr-range` finds the largest that works.",
        source="LeCun et al., Efficient BackProp (1998), 4: gradient descent diverges above twice the best rate; "
        "cs231n, 'Babysitting the learning process'",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._gradients: dict[str, Tensor] = {}
        self._against = 0
        self._ratio = 0.0
        self._losses: list[float] = []

    @at("forward", "step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare gradients after a step."""
        if moment.phase == "forward":
            self._losses = losses(moment)
        found, past = updates(moment), self._losses
        if not found:
            return
        self._ratio = max(self._ratio, *(each.ratio for each in found if math.isfinite(each.ratio)), 0.0)
        before, self._gradients = self._gradients, {each.name: each.gradient for each in found}
        pairs = [(before[each.name], each.gradient) for each in found if each.name in before]
        rises = len(past) > 1 and past[-1] > past[-2]
        self._against = self._against + 1 if rises and not is_adaptive(moment) and _overshoots(pairs) else 0
        rate = found[0].rate
        if self._against >= _STEPS:
            what = f"In {self._against} steps in a row the gradient has turned round and grown; lr is {rate:g}."
            yield Seen(what, moment.at(panel="optimizer"), {"lr": rate, "loss": past[-1]})
        elif len(past) == _LOSSES and self._ratio > _LARGE and self._is_worse():
            what = (
                f"The loss has gone from {past[0]:.3g} to {past[-1]:.3g} in {_LOSSES} iterations; a step has changed a "
                f"weight by {self._ratio:.0%} of its size; lr is {rate:g}."
            )
            yield Seen(what, moment.at(panel="optimizer"), {"lr": rate, "first": past[0], "now": past[-1]})

    def _is_worse(self) -> bool:
        past = self._losses
        return past[0] > 0 and math.isfinite(past[-1]) and min(past[-3:]) > _WORSE * past[0]


def _overshoots(pairs: list[tuple[Tensor, Tensor]]) -> bool:
    if not pairs or any(before.shape != now.shape for before, now in pairs):
        return False
    before, now = (torch.cat(each) for each in zip(*pairs, strict=True))
    norms = float(before.norm()), float(now.norm())
    return norms[1] > norms[0] > 0 and float(before @ now) < _AGAINST * norms[0] * norms[1]
