"""`vanishing-gradient`: the gradient is gone before it reaches some layers."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.numbers.gradients import STEPS, gradients, is_adaptive
from gradstep.values.findings import Rule

_RATIO = 1e-4
"""Of the largest gradient of all weights."""
_ADAPTIVE = 1e-3
"""What the threshold is scaled by for optimizers that scale gradients themselves: below Adam's eps of 1e-8."""
_LASTS = {False: 3, True: 10}
"""Steps in a row that are looked at; more with an adaptive optimizer, for gates that open slowly."""
_GROWS = 2.0
"""Times its size that a gradient is after one step where it begins to flow."""


class VanishingGradient(Check):
    """Compares the largest element of each weight's gradient with that of the others."""

    rule = Rule(
        id="vanishing-gradient",
        severity="warning",
        title="the gradient vanishes on its way to the first layers",
        why="backward multiplies by the derivative of each layer: many factors below 1 leave almost nothing, and the "
        "first layers don't learn.",
        detects="The gradients of two weights or more are not zero, and in three steps in a row no element of them "
        "is above the threshold or above 1e-4 of the largest element of any weight's gradient, and they don't double "
        "from one step to the next. With an optimizer that divides by the size of past gradients: a thousandth of the "
        "threshold, in ten steps.",
        remedy="Use ReLU or GELU instead of sigmoid and tanh, add normalisation (nn.LayerNorm) or residual "
        "connections (x = x + layer(x)), and initialise for the activation: nn.init.kaiming_normal_(layer.weight).",
        source="SageMaker Debugger, rule VanishingGradient (1e-7); AutoTrainer (first to last below 1e-3); Glorot and "
        "Bengio, Understanding the difficulty of training deep feedforward neural networks (2010)",
        threshold=1e-7,
        unit="largest element of a gradient",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._lasts = 0
        self._most = 0.0
        """The largest element of those that were gone in the step before."""

    @at("step", first=STEPS)
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        weights = [each for each in gradients(moment) if each.parameter.dim() > 1 and each.most > 0]
        adaptive = is_adaptive(moment)
        most = max(weights, key=lambda each: each.most, default=None)
        bound = self.threshold * (_ADAPTIVE if adaptive else 1)
        gone = [each for each in weights if most is not None and each.most < min(bound, _RATIO * most.most)]
        before, self._most = self._most, max((each.most for each in gone), default=0.0)
        grows = 0 < _GROWS * before < self._most  # a gate that opens
        self._lasts = self._lasts + 1 if len(gone) > 1 and not grows else 0
        if most is not None and self._lasts >= _LASTS[adaptive]:
            least = min(gone, key=lambda each: each.most)
            what = (
                f"No element of the gradient of {len(gone)} of {len(weights)} weights ({listed(g.name for g in gone)}) "
                f"is above {max(each.most for each in gone):.1e}; that of {most.name} has {most.most:.1e}."
            )
            evidence = {"least": least.most, "most": most.most, "weights": len(gone)}
            yield Seen(what, moment.at(parameter=gone[0].name, panel="layers"), evidence)
