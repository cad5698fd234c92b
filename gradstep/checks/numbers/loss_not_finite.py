"""Checks of a loss that is not finite. In a script, it is reported only once a step uses it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at


class LossNotFinite(Check):
    """A check that explains a loss that is not finite.

    A loop may skip such a step, as a `GradScaler` does after an overflow: then nothing is reported.
    """

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._pending: Seen | None = None
        """What is reported at the next step of a script."""

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Report it as a step begins."""
        if self._pending is not None and not skips(moment):
            yield self._pending
            self._pending = None

    @at("forward", "step", "zero_grad")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the loss after a forward."""
        if moment.phase in ("step", "zero_grad"):  # of a step that is skipped, or the script's own, none has begun
            if self._pending is not None and moment.phase == "step" and moment.held.point.unowned:
                yield self._pending
            self._pending = None
        if moment.phase != "forward" or moment.value is None or math.isfinite(moment.value):
            return
        seen = self.explain(moment)
        if moment.script:
            self._pending = self._pending or seen
        elif seen is not None:
            yield seen

    def explain(self, moment: Moment) -> Seen | None:
        """Return what is wrong with the loss of a forward; None where that is not for this check to report."""
        raise NotImplementedError


def skips(moment: Moment) -> bool:
    """Return whether the optimizer itself skips a step whose gradients are not finite."""
    return getattr(moment.optimizer, "found_inf", None) is not None
