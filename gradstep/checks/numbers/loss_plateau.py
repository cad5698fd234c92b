"""`loss-plateau`: the loss has not fallen since the start."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.losses import losses, mean
from gradstep.values.findings import Rule

_ITERATIONS = 100
_EVERY = 10
_SHARE = 5
"""A fifth of the losses, at each end, is compared."""


class LossPlateau(Check):
    """Compares the first losses with the last."""

    rule = Rule(
        id="loss-plateau",
        severity="hint",
        title="the loss does not fall",
        why="After a hundred iterations a model that learns has a lower loss; this one may be no better than guessing.",
        detects="After 100 iterations or more the mean of the last fifth of the losses is below that of the first "
        "fifth by less than the threshold, and the losses differ little.",
        remedy="Look at the gradients and updates in the Layers panel; `check overfit-one-batch` tells whether the "
        "model can learn one batch at all.",
        source="SageMaker Debugger, rule LossNotDecreasing (0.1 % in 10 steps)",
        threshold=0.01,
        unit="of the loss",
    )

    @at("forward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the losses after a forward."""
        past = losses(moment)
        if moment.iteration < _ITERATIONS or moment.iteration % _EVERY or len(past) < 4 * _SHARE:
            return
        if not all(map(math.isfinite, past)):
            return
        part = len(past) // _SHARE
        first, last = mean(past[:part]), mean(past[-part:])
        if first > 0 and first * (1 - self.threshold) < last < first * (1 + self.threshold):
            what = f"The mean loss was {first:.4g} at first, and is {last:.4g} after {moment.iteration} iterations."
            yield Seen(what, moment.at(panel="loss"), {"first": first, "last": last, "iterations": moment.iteration})
