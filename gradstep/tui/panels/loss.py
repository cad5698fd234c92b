"""The panel *Loss*: the last loss and its history; NaN and inf are points too."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from msgspec.structs import replace

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, empty
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.tui.render.plot import OTHER, Plot
from gradstep.tui.render.sparks import merged, spark
from gradstep.values import numbers
from gradstep.values.views import LookLoss, LossPoint, LossView, Request

_WIDE_RANGE = 20.0
"""Ratio of the largest to the smallest loss from which on the scale is logarithmic, if automatic."""

SMOOTHINGS = (0.0, 0.6, 0.9, 0.98)
"""The smoothing weights to choose from; 0 for none."""


class PlotStyle(NamedTuple):
    """How the history is drawn."""

    scale: Literal["auto", "log", "linear"] = "auto"
    at: int = -1
    """The number of the forward under the cursor, -1 for none."""
    names: tuple[str, str] = ("", "")
    """The current branch, and the one plotted behind it."""


AUTO = PlotStyle()


def draw(
    view: LossView | None, width: int, height: int, style: PlotStyle = AUTO, keyboard: Keyboard = DEFAULT_KEYS
) -> Drawing:
    """Draw the last loss, or the one at the cursor, and the plot of the history."""
    if view is None or not view.points:
        note = clean(view.note) if view is not None else ""
        hint = in_keys("No loss yet: run `forward`, which computes it.", keyboard)
        return empty(width, height, note or hint)
    log, why = _scale(view, style.scale)
    name = f"{clean(view.name)}, " if view.name else ""
    about = f"{name}{why}by {view.by}" + (f", smoothed {view.smoothing:g}" if view.smoothing else "")
    at = place_of(view, style.at)
    lines = [_value(view, at, width)]
    notes = _firsts(view, width) if height >= 8 else []
    notes += [_legend(view, style.names, width)] if view.beside and height >= 5 else []
    rates = height >= 9 and any(point.rate != view.points[0].rate for point in view.points)
    if height >= 4:
        plot = Plot(view, width, height - 2 - len(notes) - rates, log, at)
        lines += plot.lines()
        lines += [_rates(view, plot, width)] if rates else []
    return Drawing(about, [*lines, *notes][: max(height, 0)], view.forwards)


def place_of(view: LossView, forward: int) -> int:
    """Return the index of the point nearest to a forward; -1 for none."""
    if forward < 0:
        return -1
    return min(range(len(view.points)), key=lambda i: abs(view.points[i].forward - forward))


def _scale(view: LossView, wanted: str) -> tuple[bool, str]:
    """Return whether the scale is logarithmic, and a note on it."""
    finite = [point.loss for point in (*view.points, *view.beside) if math.isfinite(point.loss)]
    positive = bool(finite) and min(finite) > 0
    if wanted == "linear":
        return False, "linear, "
    if wanted == "log" and not positive:
        return False, "linear (not every loss is above 0), "
    log = positive and (wanted == "log" or max(finite) / min(finite) > _WIDE_RANGE)
    return log, "log scale, " if log else ""


def _value(view: LossView, at: int, width: int) -> Line:
    here = at if at >= 0 else len(view.points) - 1
    point = view.points[here]
    row = Row(width)
    if at >= 0:
        row.add("▶", "now")
    row.left(GUTTER, numbers.loss(point.loss), "bright" if math.isfinite(point.loss) else "odd")
    before = view.points[here - 1].loss if here else math.nan
    if math.isfinite(before) and math.isfinite(point.loss):
        row.add(f"  {numbers.loss(point.loss - before, sign=True)}")
    for part in _facts(view, point):
        if row.at + len(part) < width:
            row.add(part, "dim")
    return row.line()


def _facts(view: LossView, point: LossPoint) -> list[str]:
    """Return the other facts on a point, the most important first."""
    parts = [f"  forward {point.forward}", f", iteration {point.iteration}"]
    if view.by == "iteration":
        parts = [f"  iteration {point.iteration}", f", up to forward {point.forward}"]
    if point.smooth is not None:
        parts.append(f"  smoothed {numbers.loss(point.smooth)}")
    if point.rate is not None:
        parts.append(f"  lr {numbers.short(point.rate)}")
    return parts


def _legend(view: LossView, names: tuple[str, str], width: int) -> Line:
    """Return the legend of the branches, with the last loss of each."""
    row = Row(width).left(GUTTER, "●", "now").add(f" {clean(names[0])} ", "bright")
    row.add(numbers.loss(view.points[-1].loss)).add(f"   {OTHER} {clean(names[1])} ", "dim")
    return row.add(numbers.loss(view.beside[-1].loss), "dim").line()


def _firsts(view: LossView, width: int) -> list[Line]:
    """Return where NaN and inf first occurred."""
    found = [(name, point) for name, point in (("NaN", view.first_nan), ("inf", view.first_inf)) if point is not None]
    rows: list[Row] = []
    for name, point in sorted(found, key=lambda each: each[1].forward):
        where = f" at forward {point.forward}, " if view.by == "forward" else " at "
        where += f"iteration {point.iteration}"
        if not rows or rows[-1].at + len(where) + 11 > width:
            rows.append(Row(width))
        rows[-1].to(rows[-1].at + GUTTER).add("first ", "dim").add(name, "odd").add(where, "dim")
    return [row.line() for row in rows]


def _rates(view: LossView, plot: Plot, width: int) -> Line:
    """Draw the learning rate below the plot, aligned with the points."""
    cells: dict[int, float] = {
        plot.cell(i): point.rate for i, point in enumerate(view.points) if point.rate is not None
    }
    ends = max(cells, default=0)
    held: list[float | None] = []
    for x in range(ends + 1):
        held.append(cells.get(x, held[-1] if held else None))
    row = Row(width).right(max(plot.left - 2, GUTTER + 2), "lr", "dim").to(plot.left)
    for text, tone in merged(spark(held)):
        row.add(text, tone)
    return row.line()


class LossPanel(Panel[LossView]):
    """The history of the loss, with a cursor on a point."""

    title = "Loss"
    help_text = (
        f"The loss of each forward, the oldest at the left. ← and → move to a point and show its value. {OTHER} is "
        "the branch that you left last."
    )
    shows = LossView

    def __init__(self) -> None:
        super().__init__("loss")
        self.style = PlotStyle()
        self.look = LookLoss()
        self.branches = ("", "")
        """The current branch, and the one plotted behind it; empty for none."""

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the keys that change the plot."""
        return {"loss_scale": self.switch_scale, "loss_smooth": self.switch_smoothing, "loss_axis": self.switch_axis}

    def request(self) -> Request:
        """Return the request for its view."""
        return replace(self.look, points=max(16, 2 * self.size.width), beside=self.branches[1])

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        at = self.style.at if self.focused else -1
        return draw(self.view, width, height, self.style._replace(at=at, names=self.branches), self.keyboard)

    def move(self, rows: int) -> None:
        """Move the cursor: the plot does not scroll."""
        self.sideways(rows)

    def sideways(self, columns: int) -> None:
        """Move the cursor by points; past the last one it is removed."""
        if self.view is None or not self.view.points:
            return
        count = len(self.view.points)
        now = place_of(self.view, self.style.at)
        place = (count - 1 if now < 0 else now) + columns
        at = -1 if place >= count else self.view.points[max(0, place)].forward
        self.style = self.style._replace(at=at)

    def copied(self) -> Copied | None:
        """Return the loss at the cursor, or the last."""
        if self.view is None or not self.view.points:
            return None
        point = self.view.points[place_of(self.view, self.style.at)]
        return Copied(f"the loss of forward {point.forward}", repr(point.loss))

    def switch_scale(self) -> str:
        """Switch the scale: automatic, logarithmic, linear; return its description."""
        after: dict[str, Literal["auto", "log", "linear"]] = {"auto": "log", "log": "linear", "linear": "auto"}
        self.style = self.style._replace(scale=after[self.style.scale])
        return "log for a wide range" if self.style.scale == "auto" else self.style.scale

    def switch_smoothing(self) -> str:
        """Switch the smoothing; return its description."""
        place = SMOOTHINGS.index(self.look.smoothing) + 1
        self.look = replace(self.look, smoothing=SMOOTHINGS[place % len(SMOOTHINGS)])
        weight = self.look.smoothing
        return f"moving average, weight {weight:g} on the past" if weight else "not smoothed"

    def switch_axis(self) -> str:
        """Switch between forwards and iterations; return the description."""
        self.look = replace(self.look, by="iteration" if self.look.by == "forward" else "forward")
        return (
            "one point per iteration: the mean of its forwards"
            if self.look.by == "iteration"
            else "one point per forward"
        )
