"""The Loss view: one point for each forward or iteration, thinned so that it fits a plot."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal

from msgspec.structs import replace

from gradstep.engine.held import Held
from gradstep.values.views import LookLoss, LossPoint, LossView


class LossViewer:
    """Makes the view; the part of the history that it has read is not read again at the next stop."""

    def __init__(self) -> None:
        self._series: dict[int, _Series] = {}
        self._which = -1

    def view(self, held: Held, stop: int, look: LookLoss, same: bool = False) -> LossView:
        """Return the history of the loss, at most `look.points` of it.

        They are evenly spread, the first and the last included; a point that is not finite replaces its finite
        neighbour, so that none is lost. Of several losses it is the last one's; with `same`, that of the last view.
        """
        smoothing = min(max(look.smoothing, 0.0), 0.999) if math.isfinite(look.smoothing) else 0.0
        if not same or self._which < 0:
            self._which = held.loss_series[-1] if len(held.loss_names) > 1 and held.loss_series else -1
        which = self._which
        series = self._series.get(which, _NONE)
        if (series.by, series.smoothing) != (look.by, smoothing):
            series = self._series[which] = _Series(look.by, smoothing)
        series.follow(held.losses)
        series.read(held.losses, held.loss_rates, () if which < 0 else held.loss_series, which)
        scalar = held.point.loss is None or held.point.value is not None
        note = "" if scalar else "the loss is not a scalar: backward will raise; end it with .sum() or .mean()"
        points = tuple(series.points[i] for i in _kept(len(series.points), look.points, series.odd))
        odd = [series.points[i] for i in (series.first_nan, series.first_inf) if i is not None]
        nan = next((point for point in odd if math.isnan(point.loss)), None)
        inf = next((point for point in odd if math.isinf(point.loss)), None)
        name = "" if which < 0 else held.loss_names[which]
        return LossView(stop, points, len(held.losses), note, look.by, smoothing, nan, inf, name=name)

    def beside(
        self, losses: Sequence[tuple[int, float]], rates: Sequence[tuple[float, ...]], look: LookLoss
    ) -> tuple[LossPoint, ...]:
        """Return another history in the same form, without the moving average."""
        series = _Series(look.by, 0.0)
        series.read(losses, rates)
        return tuple(series.points[i] for i in _kept(len(series.points), look.points, series.odd))


class _Series:
    """The points by forward or by iteration, with their moving average."""

    def __init__(self, by: Literal["forward", "iteration"], smoothing: float) -> None:
        self.by, self.smoothing = by, smoothing
        self.points: list[LossPoint] = []
        self.odd: list[int] = []
        """The indices of the points that are not finite, ascending."""
        self.first_nan: int | None = None
        self.first_inf: int | None = None
        self._seen: list[tuple[int, float]] = []
        """The losses that were read; what led to one is the same wherever the very same tuple is."""
        self._together = 0  # forwards in the last point

    def follow(self, losses: Sequence[tuple[int, float]]) -> None:
        """Drop the points of what is not in the history any more, after going back in time."""
        seen = self._seen
        common = bisect_left(range(min(len(seen), len(losses))), True, key=lambda i: losses[i] is not seen[i])
        if common < len(seen):
            place = bisect_right(self.points, common, key=lambda point: point.forward)
            if self.by == "iteration":  # more forwards may follow in it
                place = max(0, place - 1)
            del self.points[place:]
            del self.odd[bisect_left(self.odd, place) :]
            del seen[self.points[-1].forward if self.points else 0 :]
            if self.first_nan is not None and self.first_nan >= place:
                self.first_nan = None
            if self.first_inf is not None and self.first_inf >= place:
                self.first_inf = None

    def read(
        self,
        losses: Sequence[tuple[int, float]],
        rates: Sequence[tuple[float, ...]],
        series: Sequence[int] = (),
        which: int = -1,
    ) -> None:
        """Read what was added since; of `series`, where it is not empty, only the losses of `which`."""
        read = len(self._seen)
        self._seen += losses[read:]
        for i in range(read, len(losses)):
            if series and series[i] != which:
                continue
            iteration, loss = losses[i]
            rate = rates[i][0] if i < len(rates) and rates[i] else None
            point = LossPoint(i + 1, iteration, loss, None, rate)
            if self.by == "iteration" and self.points and self.points[-1].iteration == iteration:
                point = replace(point, loss=self._joined(loss))
            else:
                self._together = 1
            self._add(point)

    def _joined(self, loss: float) -> float:
        """Remove the last point, and return the mean of it and one more forward of its iteration."""
        before = self.points.pop().loss
        if self.odd and self.odd[-1] == len(self.points):
            self.odd.pop()
        self._together += 1
        if not math.isfinite(before) or not math.isfinite(loss):
            return before + loss
        return before + (loss / self._together - before / self._together)

    def _add(self, point: LossPoint) -> None:
        place, finite = len(self.points), math.isfinite(point.loss)
        if self.smoothing:
            before = self.points[-1].smooth if self.points else None
            smooth = before if not finite else point.loss
            if finite and before is not None:
                smooth = self.smoothing * before + (1 - self.smoothing) * point.loss
            point = replace(point, smooth=smooth)
        if not finite:
            self.odd.append(place)
        if math.isnan(point.loss) and self.first_nan is None:
            self.first_nan = place
        if math.isinf(point.loss) and self.first_inf is None:
            self.first_inf = place
        self.points.append(point)


_NONE = _Series("forward", -1.0)


def _kept(total: int, points: int, odd: list[int]) -> list[int]:
    """Return the indices of at most `points` of `total` points; those that are not finite win over their neighbours."""
    if total <= points:
        return list(range(total))
    spread = max(points - 2, 1) if odd and points > 3 else max(points, 1)  # two may be added beside the ends
    last = max(spread - 1, 1)
    even = sorted({round((total - 1) * (1 - i / last)) for i in range(spread)})
    kept: set[int] = set()
    for i, place in enumerate(even):
        start = (even[i - 1] + place) // 2 + 1 if i else 0
        end = (place + even[i + 1]) // 2 + 1 if i + 1 < len(even) else total
        found = bisect_left(odd, start)
        instead = odd[found] if found < len(odd) and odd[found] < end else place
        kept.add(instead)
        if i in (0, len(even) - 1):
            kept.add(place)
    return sorted(kept)
