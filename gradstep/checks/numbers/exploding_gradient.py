"""`exploding-gradient`: gradients grow from step to step, or move a weight many times its size."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.numbers.gradients import STEPS, Gradient, blocks, gradients, is_adaptive, largest, rate_of
from gradstep.values.findings import Rule

_MOVES = 10.0
"""Times its largest element that plain gradient descent would move a weight."""
_LASTS = 3
_AT_ONCE = 1000.0
"""Times its size that a weight is moved in one step which nothing survives."""
_SMALL = 1e-3
"""A weight below this has only begun to grow."""


class ExplodingGradient(Check):
    """Compares gradients with those of the first steps, and what they move with the weights."""

    rule = Rule(
        id="exploding-gradient",
        severity="warning",
        title="the gradient explodes",
        why="One step along such a gradient throws the weights far off, and the next gradient is larger still.",
        detects="In three steps in a row, each larger than the one before, the largest gradient is the threshold "
        "times as large as in the first; or, with an optimizer that does not scale gradients, in three steps in a "
        "row lr times the largest element is ten times the largest element of the weight, or a thousand times once. "
        "Clipped gradients are judged as clipped.",
        remedy="Clip before the step: torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0); lower lr; average the "
        "loss over the batch instead of summing it.",
        source="Pascanu et al., On the difficulty of training recurrent neural networks (2013); TheDeepChecker",
        threshold=1000.0,
        unit="times the largest gradient of the first step",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._sizes: dict[int, list[float]] = {}
        """The largest gradient in each step, by optimizer."""
        self._moves = 0

    @at("step", first=STEPS)
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        finite = [each for each in gradients(moment) if math.isfinite(each.most)]
        most = max(finite, key=lambda each: each.most, default=None)
        if most is None or not most.most:
            return
        sizes = self._sizes.setdefault(id(moment.optimizer), [])
        sizes.append(most.most)
        last = sizes[-_LASTS - 1 :]
        if len(last) > _LASTS and last == sorted(last) and most.most > self.threshold * sizes[0]:
            what = (
                f"The largest element of the gradients has grown from {sizes[0]:.1e} to {most.most:.1e} ({most.name})."
            )
            evidence = {"first": sizes[0], "now": most.most}
            yield Seen(what, moment.at(parameter=most.name, panel="layers"), evidence)
        yield from self._moved(moment, finite)

    def _moved(self, moment: Moment, finite: list[Gradient]) -> Iterable[Seen]:
        weights = [each for each in finite if each.parameter.dim() > 1]
        if is_adaptive(moment) or moment.held.calls_closure or not weights:
            return
        sizes = largest([blocks(each.parameter.detach()) for each in weights])
        pairs = list(zip(weights, sizes, strict=True))
        far = [
            (g, size) for g, size in pairs if size > _SMALL and g.most * rate_of(moment, g.parameter) > _MOVES * size
        ]
        self._moves = self._moves + 1 if far else 0
        if not far:
            return
        one, size = max(far, key=lambda each: each[0].most / each[1])
        times = one.most * rate_of(moment, one.parameter) / size
        if self._moves >= _LASTS or times > _AT_ONCE:
            what = f"lr times the gradient of {one.name} is {times:.3g} times its largest weight."
            yield Seen(what, moment.at(parameter=one.name, panel="layers"), {"times": times, "gradient": one.most})
