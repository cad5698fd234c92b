"""`amp-step-skipped`: a `GradScaler` skips step after step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import isnan

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.values.findings import Rule

_WITH_NAN = 2
"""Skipped steps in a row with a loss that is NaN: no scale makes up for that."""


class AmpStepSkipped(Check):
    """Counts skipped steps in a row; the first few of a run only find the scale."""

    rule = Rule(
        id="amp-step-skipped",
        severity="warning",
        title="GradScaler skips step after step",
        why="Each skipped step halves the scale. If that does not help, the gradients are inf or NaN for another "
        "reason, and the model is not trained.",
        detects="The threshold's number of steps in a row were skipped; or two, where the loss itself is NaN.",
        remedy="Find where the first inf or NaN arises (`break nan`), compute that part in float32: with "
        "torch.autocast('cuda', enabled=False): ..., or use bfloat16.",
        source="torch.amp.GradScaler documentation: init_scale 65536 and backoff_factor 0.5, so 8 skips are a scale of "
        "256; pytorch#152279",
        threshold=8,
        unit="steps in a row",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._skipped: Counter[int] = Counter()
        """Steps in a row that were skipped, by the id of the optimizer."""

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at a step that was skipped."""
        key, bad = id(moment.optimizer), moment.held.point.skipped
        if not bad:
            self._skipped.pop(key, None)
            return
        self._skipped[key] += 1
        number, value = self._skipped[key], moment.value
        nan = value is not None and isnan(value)
        if number >= self.threshold or (nan and number >= _WITH_NAN):
            what = f"{number} steps in a row were skipped: inf or NaN in the gradients of {len(bad)} parameters: "
            what += f"{listed(bad)}{'; the loss is NaN' if nan else ''}."
            where = moment.at(parameter=bad[0], panel="ledger")
            yield Seen(what, where, {"skipped": number, "parameters": len(bad)})
