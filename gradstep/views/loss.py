"""The Loss view: one point for each forward, thinned so that it fits a plot."""

from __future__ import annotations

from gradstep.engine.held import Held
from gradstep.values.views import LossPoint, LossView


def loss_view(held: Held, stop: int, points: int) -> LossView:
    """Return the history of the loss, at most `points` of it, evenly spread, the first and the last among them."""
    losses = held.losses
    total = len(losses)
    keep = list(range(total))
    if total > points:
        last = max(points - 1, 1)
        keep = sorted({round((total - 1) * (1 - i / last)) for i in range(max(points, 1))})
    scalar = held.point.loss is None or held.point.value is not None
    note = "" if scalar else "the loss is not one number: backward will refuse it; end it with .sum() or .mean()"
    return LossView(stop, tuple(LossPoint(i + 1, *losses[i]) for i in keep), total, note)
