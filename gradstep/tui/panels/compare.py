"""The panel *Compare*: two points of the timeline, their losses on one plot, and the tensors that differ."""

from __future__ import annotations

from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest, window_with
from gradstep.tui.render.lines import Line, Row, clean, fit, fit_middle, text_line
from gradstep.tui.render.plot import OTHER, Plot
from gradstep.values import numbers
from gradstep.values.views import LossPoint, LossView, Request
from gradstep.values.views.tensor import Between
from gradstep.values.views.timeline import CompareLoss, CompareRow, CompareView, LookCompare

_PLOT = 12
"""Minimum height for the plot; one loss on each side is not plotted."""
_WIDE_RANGE = 20.0
"""Ratio of the largest to the smallest loss from which on the scale is logarithmic."""


def draw(
    view: CompareView | None,
    width: int,
    height: int,
    first: int = 0,
    at: int = -1,
    keyboard: Keyboard = DEFAULT_KEYS,
) -> Drawing:
    """Draw both points, the plot, other differences, and the tensors from row `first` on, the cursor on `at`."""
    if view is None:
        timeline, mark, other = map(keyboard.named, ("timeline", "compare", "try"))
        return empty(
            width,
            height,
            f"Nothing to compare yet. In Timeline ({timeline}), {mark} marks a stop, and {mark} on another one "
            "compares the two.",
            f"{other} runs the same commands again with one change, such as another lr, on a new branch, and compares.",
        )
    head = head_lines(view, width, height)
    foot = height >= 6 and 0 <= at < len(view.rows)
    start, end = window_with(len(view.rows), first, height - len(head) - 1 - foot, at)
    lines = [*head]
    if view.rows:
        columns = _Columns(view.rows, width)
        lines.append(columns.header())
        lines += [columns.line(row, start + i == at) for i, row in enumerate(view.rows[start:end])]
    elif not view.others:
        lines += paragraph("Identical, bit for bit: every tensor, every hyperparameter, the random generators.", width)
    if foot:
        lines += [Line()] * (height - 1 - len(lines))
        lines.append(text_line(fit(row_words(view.rows[at]), width - GUTTER - 1), width, "dim"))
    total = len(view.rows) + view.same
    about = f"{len(view.rows)} of {numbers.count(total, 'tensor')} differ, fork at stop {view.fork}"
    return Drawing(about, lines[: max(height, 0)], len(view.rows), start, end - start)


def head_lines(view: CompareView, width: int, height: int) -> list[Line]:
    """Return the rows above the tensors: both points with their loss, the plot, and other differences as text."""
    ends = ((view.names[0], view.first, view.loss_first), (view.names[1], view.second, view.loss_second))
    names = [_name(name, stop) for name, stop, _ in ends]
    loss = GUTTER + 2 + widest(names) + 2
    lines = []
    for glyph, tone, name, (_, _, value) in zip((OTHER, "●"), ("dim", "now"), names, ends, strict=True):
        row = Row(width).left(GUTTER, glyph, tone).add(f" {name}", "bright" if tone == "now" else "text")
        odd = value is not None and value - value != 0
        row.left(loss, "loss ", "dim").add(numbers.loss(value) or "none", "odd" if odd else "text")
        if tone == "now" and value is not None and view.loss_first is not None and not odd:
            row.add(f"  ({numbers.loss(value - view.loss_first, sign=True)})")
        lines.append(row.line())
    if height >= _PLOT and max(len(view.losses_first), len(view.losses_second)) > 1:
        lines += plot_lines(view, width, max(5, height // 3))
    return lines + [line for text in view.others for line in paragraph(clean(text), width, "bright")]


def _name(name: str, stop: int) -> str:
    return f"stop {stop}" if name.isdigit() else f"{clean(name)}, stop {stop}"


def plot_lines(view: CompareView, width: int, rows: int) -> list[Line]:
    """Draw the losses of both on one plot."""
    own, beside = _points(view.losses_second or view.losses_first), _points(view.losses_first)
    finite = [point.loss for point in (*own, *beside) if point.loss - point.loss == 0]
    log = bool(finite) and min(finite) > 0 and max(finite) / min(finite) > _WIDE_RANGE
    plot = Plot(LossView(view.stop, own, len(own), beside=beside), width, rows - 1, log)
    return plot.lines()


def _points(losses: tuple[CompareLoss, ...]) -> tuple[LossPoint, ...]:
    return tuple(LossPoint(point.forward, point.iteration, point.loss) for point in losses)


def row_words(row: CompareRow) -> str:
    """Return what there is to say of a tensor beyond its columns."""
    parts = [clean(row.name)]
    if row.largest is not None:
        parts.append(f"largest difference {numbers.single(row.largest)} at {list(row.at)}")
    if row.norm is None:
        parts.append(f"{clean(row.first)} and {clean(row.second)}")
    if row.elements:
        parts.append(f"{row.differing:,} of {numbers.count(row.elements, 'element')} differ")
    return ", ".join(parts)


def _difference(row: CompareRow) -> str:
    """Return the norm of the difference, or why there is none."""
    if row.norm is not None:
        return numbers.norm(row.norm)
    return "was none" if row.first == "none" else "now none" if row.second == "none" else "no norm"


class _Columns:
    """The positions of the columns: name, both sides, norm of the difference and its largest element."""

    def __init__(self, rows: tuple[CompareRow, ...], width: int) -> None:
        self.width = width
        self.norms = [_difference(row) for row in rows]
        sides = [clean(text) for row in rows for text in (row.first, row.second)]
        names = GUTTER + widest([row.name for row in rows], 6) + 2
        side = min(widest(sides, 6), 16) + 2
        self.norm = names + 2 * side + max(widest(self.norms, 4), len("difference"))
        self.first, self.second = names, names + side
        if self.norm > width - 1:
            # the difference is what matters: leave out the sides
            self.norm = width - 1
            self.second = self.first = 0
        self.name = (self.first or self.norm - max(widest(self.norms), len("difference"))) - 1
        self.largest = self.norm + 12 if self.norm + 12 <= width - 1 else 0

    def header(self) -> Line:
        row = Row(self.width).left(GUTTER, "tensor", "dim")
        if self.first:
            row.left(self.first, "first", "dim").left(self.second, "second", "dim")
        row.right(self.norm, "difference", "dim")
        return (row.right(self.largest, "largest", "dim") if self.largest else row).line()

    def line(self, row: CompareRow, here: bool) -> Line:
        drawn = cursor(Row(self.width, here), here)
        drawn.left(GUTTER, fit_middle(clean(row.name), self.name - GUTTER), "bright" if here else "text")
        if self.first:
            drawn.left(self.first, fit(clean(row.first), self.second - self.first - 2), "dim")
            drawn.left(self.second, fit(clean(row.second), 16))
        odd = row.norm is not None and row.norm - row.norm != 0
        drawn.right(self.norm, _difference(row), "odd" if odd else "dim" if row.norm is None else "bright")
        if self.largest and row.largest is not None:
            drawn.right(self.largest, numbers.single(row.largest), numbers.tone_of(row.largest))
        return drawn.line()


class ComparePanel(Panel[CompareView]):
    """Two points, with a cursor on the tensors that differ."""

    title = "Compare"
    help_text = (
        "Two stops or branches: their losses on one plot, then every tensor that differs, with the norm of the "
        "difference, second minus first, and its largest element. {choose} opens both tensors and their "
        "difference in Tensor, at that element. There {tensor_quantity} shows the difference relative to the "
        "first, {tensor_element} finds its extremes, and {pause} goes back."
    )
    shows = CompareView

    def __init__(self) -> None:
        super().__init__("compare")
        self.pair: tuple[str, str] | None = None
        """The points compared: stops, branches, or `now`; None for none."""
        self.at = 0

    def request(self) -> Request | None:
        """Return the request for the differences; None until two points are chosen."""
        return None if self.pair is None else LookCompare(*self.pair, max(16, 2 * self.size.width))

    def compare(self, first: str, second: str) -> None:
        """Compare two other points."""
        self.pair, self.at, self.first = (first, second), 0, 0

    def forget(self) -> None:
        """Clear the comparison: its points are gone."""
        self.pair, self.view, self.why, self.unchanged = None, None, "", False

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    def press(self, key: str, actions: Actions) -> bool:
        """Show the tensor under the cursor at both points, at the element that differs most."""
        if key != "choose" or self.here is None or self.pair is None:
            return False
        actions.show_difference(Between(self.here.name, *self.pair), self.here.at)
        return True

    @property
    def here(self) -> CompareRow | None:
        """The tensor under the cursor; None for none."""
        return self.view.rows[self.at] if self.view is not None and 0 <= self.at < len(self.view.rows) else None

    def update(self, view: CompareView, before: CompareView | None) -> None:
        """Keep the cursor in range."""
        if before is None or before.rows != view.rows:
            self.at = max(0, min(self.at, len(view.rows) - 1))
        self._reveal()

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at, self.keyboard)

    @property
    def body(self) -> int:
        """Rows for tensors, without those above them, the header and the line on the cursor's row."""
        height = super().body
        above = len(head_lines(self.view, max(self.size.width, 20), height)) if self.view is not None else 0
        return max(1, height - above - 2)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None:
            self.at = max(0, min(self.at + rows, len(self.view.rows) - 1))
            self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None:
            above = len(head_lines(self.view, max(self.size.width, 20), super().body)) + 1
            if 0 <= row - above + self.first < len(self.view.rows) and row >= above:
                self.at = row - above + self.first

    def copied(self) -> Copied | None:
        """Return what there is to say of the tensor under the cursor."""
        return Copied("the difference", row_words(self.here)) if self.here is not None else None

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        self.first = max(min(self.first, self.at), self.at - self.body + 1, 0)
