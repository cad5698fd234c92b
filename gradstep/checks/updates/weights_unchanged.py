"""`weights-unchanged`: steps with a gradient and a learning rate leave weights as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gradstep.checks.check import Moment, Seen, listed
from gradstep.checks.updates.updates import UpdateCheck, updates
from gradstep.values.findings import Rule


class WeightsUnchanged(UpdateCheck):
    """Compares some elements of some weights before and after a step."""

    rule = Rule(
        id="weights-unchanged",
        severity="warning",
        title="steps do not change the weights",
        why="An update smaller than half the distance to the next number of the dtype is rounded away, so the weight "
        "never changes, however many steps there are.",
        detects="In the threshold's number of checked steps in a row, all elements with a gradient keep their bits "
        "through the step, and lr is above 0.",
        remedy="Keep the weights in float32 and compute in half precision: torch.autocast('cuda', torch.bfloat16); "
        "or raise lr.",
        source="SageMaker Debugger, rule UnchangedTensor (3 steps); torcheck; Micikevicius et al., Mixed Precision "
        "Training (2018), 3.1",
        threshold=5.0,
        unit="steps in a row",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._same: dict[str, int] = {}

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare after a step."""
        found = [each for each in updates(moment) if each.rate > 0 and bool((each.gradient != 0).any())]
        for each in found:
            self._same[each.name] = self._same.get(each.name, 0) + 1 if each.same else 0
        still = [each for each in found if self._same[each.name] >= self.threshold]
        if still:
            one = still[0]
            size, spacing = float(one.gradient.abs().max()) * one.rate, torch.finfo(one.parameter.dtype).eps * one.size
            kind = str(one.parameter.dtype).removeprefix("torch.")
            what = (
                f"{len(still)} of {len(found)} weights ({listed(each.name for each in still)}) have not changed in "
                f"{self._same[one.name]} steps: lr x gradient is at most {size:.1e}, and {kind} near {one.size:.1e} "
                f"has a spacing of {spacing:.1e}."
            )
            evidence = {"weights": len(still), "lr x gradient": size, "spacing": spacing}
            yield Seen(what, moment.at(parameter=one.name, panel="why"), evidence)
