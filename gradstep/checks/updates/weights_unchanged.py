"""`weights-unchanged`: steps with a gradient and a learning rate leave weights as they are, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gradstep.checks.check import Moment, Seen, at, listed
from gradstep.checks.updates.updates import Update, UpdateCheck, updates
from gradstep.values.findings import Rule

_LOW = 1e-3
"""Part of its first value that a learning rate has come down to where its scheduler is to blame."""
_NEVER = 20
"""Steps with a learning rate of 0 from the first on: a warm-up begins with one or a few."""
_DECAYED = (
    "Check the scheduler: step it once per epoch or once per batch, as T_max, total_steps and step_size count; gamma "
    "must be above 0."
)


class WeightsUnchanged(UpdateCheck):
    """Compares some elements of some weights before and after a step."""

    rule = Rule(
        id="weights-unchanged",
        severity="warning",
        title="steps do not change the weights",
        why="An update smaller than half the distance to the next number of the dtype is rounded away, so the weight "
        "never changes, however many steps there are.",
        detects="In the threshold's number of checked steps in a row, all elements with a gradient keep their bits "
        "through the step, and lr is above 0; or lr is 0 for all weights, after it was above 0 or for the first 20 "
        "steps.",
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
        self._rate = 0.0
        """The largest learning rate so far."""
        self._zero = 0
        """Steps in a row with a learning rate of 0."""

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare after a step."""
        taken = [each for each in updates(moment) if bool((each.gradient != 0).any())]
        if not taken or moment.held.calls_closure:  # a line search may end where it began
            return
        yield from self._ended(moment, taken)
        found = [each for each in taken if each.rate > 0]
        for each in found:
            self._same[each.name] = self._same.get(each.name, 0) + 1 if each.same else 0
        still = [each for each in found if self._same[each.name] >= self.threshold]
        if still:
            one, groups = still[0], moment.optimizer.param_groups
            size, spacing = float(one.gradient.abs().max()) * one.rate, torch.finfo(one.parameter.dtype).eps * one.size
            kind = str(one.parameter.dtype).removeprefix("torch.")
            what = (
                f"{len(still)} of {len(found)} weights ({listed(each.name for each in still)}) have not changed in "
                f"{self._same[one.name]} steps: lr x gradient is at most {size:.1e}, and {kind} near {one.size:.1e} "
                f"has a spacing of {spacing:.1e}."
            )
            evidence = {"weights": len(still), "lr x gradient": size, "spacing": spacing}
            began = float(next((group["initial_lr"] for group in groups if "initial_lr" in group), 0.0))
            remedy = _DECAYED if one.rate < _LOW * began else ""
            what += f" lr has gone from {began:g} to {one.rate:.1e}." if remedy else ""
            yield Seen(what, moment.at(parameter=one.name, panel="why"), evidence, remedy)

    def _ended(self, moment: Moment, taken: list[Update]) -> Iterable[Seen]:
        """Look for a learning rate that a scheduler has brought to 0, or has never brought above it."""
        rate = max(each.rate for each in taken)
        self._rate = max(self._rate, rate)
        self._zero = self._zero + 1 if rate == 0 else 0
        if self._zero >= (self.threshold if self._rate else _NEVER):
            before = f"; it was {self._rate:g}" if self._rate else ", and was never above it"
            what = f"lr is 0 in {self._zero} steps in a row{before}."
            yield Seen(what, moment.at(panel="optimizer"), {"lr": 0.0, "before": self._rate}, _DECAYED)
