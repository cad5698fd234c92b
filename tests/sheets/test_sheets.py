"""Views as plain text and as HTML: their text, escaping of the debuggee's strings, contrast in both themes."""

from __future__ import annotations

import math
import struct
import sys
import types
import zlib
from html.parser import HTMLParser
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.sheets.html import DIM, HERE, ODD_GROUND, ODD_TEXT, wash
from gradstep.sheets.pixels import png
from gradstep.values import expressions, views
from gradstep.values.plain import clean, columns
from gradstep.values.views import (
    LossPoint,
    LossView,
    ModelRow,
    ModelView,
    NoView,
    TensorView,
    View,
    WhyView,
    Window,
    ledger,
    training,
)
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.graph import GraphView, NodeRow
from gradstep.values.views.ledger import FormulaLine, LedgerRow, LedgerView
from gradstep.values.views.tensor import Statistics
from gradstep.values.views.training import BatchView, LayerRow, LayersView, PartRow, Piece, SampleRow

HOSTILE = '<script src=x>alert(1)</script>" onload="x()&\x1b[31m\ud800\n'
DRAWN = [kind for kind in get_args(View) if issubclass(kind, Drawn)]


# -- any view at all ---------------------------------------------------------------------------------------------------
def hostile(kind: Any, depth: int = 0) -> Any:
    """Return a value of a type with every text in it hostile, every number odd and every field filled in."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return hostile(next(a for a in get_args(kind) if a is not type(None)), depth)
    if origin is Literal:
        return get_args(kind)[-1]
    if origin is tuple:
        inner = [a for a in get_args(kind) if a is not Ellipsis]
        return tuple(hostile(a, depth + 1) for a in (inner * 2 if Ellipsis in get_args(kind) else inner))
    if hasattr(kind, "__struct_fields__"):
        names = {**vars(expressions), **vars(ledger), **vars(training), **vars(views)}
        hints = get_type_hints(kind, {**names, **vars(sys.modules[kind.__module__])})
        return kind(**{name: hostile(hints[name], depth + 1) for name in kind.__struct_fields__})
    return {int: 3, float: math.nan, str: HOSTILE, bool: True}[kind]


class Page(HTMLParser):
    """Reads HTML strictly: every element that is opened is closed, in order."""

    ALONE = frozenset({"br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs
        if tag not in self.ALONE:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def safe(page: Page) -> bool:
    known = {"div", "span", "b", "br", "pre", "table", "thead", "tbody", "tr", "th", "td", "img"}
    drawn = {"svg", "path", "circle", "rect", "text", "title"}
    outside = [v for _, v in page.attributes if v and ("url(" in v or "://" in v)]
    sources = [v for name, v in page.attributes if name in ("src", "href") and not str(v).startswith("data:image/png")]
    return (
        page.names <= known | drawn
        and not outside
        and not sources
        and not any(n[:2] == "on" for n, _ in page.attributes)
    )


@pytest.mark.parametrize("kind", DRAWN, ids=lambda kind: kind.__name__)
def test_any_view_is_drawn_and_no_text_of_the_debuggees_becomes_markup(kind: Any) -> None:
    view = hostile(kind)
    page = Page(view._repr_html_())
    assert safe(page)
    assert "<script src=x>" in "".join(page.words)
    assert repr(view).isprintable() or set(filter(lambda c: not c.isprintable(), repr(view))) == {"\n"}
    assert (repr(view) + view._repr_html_()).encode()


def test_every_view_that_a_notebook_asks_for_draws_itself() -> None:
    assert {kind.__name__ for kind in DRAWN} >= {
        *("TensorView", "GraphView", "WhyView", "ModelView", "LossView", "LedgerView", "LayersView"),
        *("OptimizerView", "BatchView", "NoView"),
    }


# -- tensors -----------------------------------------------------------------------------------------------------------
def vector(values: tuple[float, ...], **more: Any) -> TensorView:
    window = Window(tuple((v,) for v in values))
    labels = tuple(map(str, range(len(values))))
    given = {"whole": (9, len(values)), "shape": (len(values),), "dtype": "float32", "kind": "vector"}
    return TensorView(1, "w[0]", "w", row_labels=labels, value=window, **{**given, **more})


def test_a_vector_is_a_table_with_what_step_would_give() -> None:
    grad = Window(((1.0,), (math.nan,)), None, ((True,), (False,)))
    view = vector((0.5, -0.25), grad=grad, would=(0.499, math.nan), statistics=Statistics(2, nans=1))
    lines = repr(view).splitlines()
    assert lines[:4] == [
        "Tensor   w[0]  of 9×2, float32",
        "             w     .grad  step would give",
        "  [0]  +0.5000  +1.0000*          +0.4990",
        "  [1]  −0.2500      NaN               NaN",
    ]
    assert "1 NaN, 0 inf" in lines[4]
    assert "* changed" in lines[4]


def test_a_matrix_is_two_grids_beside_each_other_where_there_is_room() -> None:
    window = Window(((1.0, -2.0), (0.0, 4.0)))
    view = TensorView(
        1, "w", "w", (2, 2), (2, 2), "float32", "matrix", row_labels=("0", "1"), column_labels=("0", "1"),
        value=window, grad=window,
    )  # fmt: skip
    lines = repr(view).splitlines()
    assert lines[1].split() == ["w", ".grad"]
    assert lines[3].split() == ["[0]", "+1.0000", "−2.0000"] * 2
    page = Page(view._repr_html_())
    assert "".join(page.words).count("+4.0000") == 2


def test_heat_is_symmetric_around_zero_and_deepest_at_the_greatest_magnitude() -> None:
    html = vector((-4.0, 2.0, 4.0, 0.0))._repr_html_()
    (blue, deepest), (orange, half) = wash(-1.0), wash(0.5)
    assert wash(1.0) == (orange, deepest)
    assert blue != orange
    assert half < deepest
    for heat in (-1.0, 0.5, 1.0):
        colour, opacity = wash(heat)
        assert html.count(f"rgba({','.join(map(str, colour))},{opacity:.3g})") == 1


def test_nan_and_inf_stand_out_and_have_no_heat() -> None:
    page = Page(vector((math.nan, 1.0, -math.inf))._repr_html_())
    styles = [style for name, style in page.attributes if name == "style" and style and "rgb(179,38,30)" in style]
    assert len(styles) == 2
    assert not any("rgba" in style for style in styles)
    assert {"NaN", "−inf"} <= set(page.words)


# -- both themes -------------------------------------------------------------------------------------------------------
Colour = tuple[float, float, float]
THEMES = {  # text and ground, as their own style sheets have them
    "jupyter light": ((33, 33, 33), (255, 255, 255)),
    "jupyter dark": ((224, 224, 224), (17, 17, 17)),
    "vs code dark": ((204, 204, 204), (31, 31, 31)),
    "colab dark": ((213, 213, 213), (56, 56, 56)),
}


def over(colour: Colour, opacity: float, ground: Colour) -> Colour:
    return tuple(opacity * c + (1 - opacity) * g for c, g in zip(colour, ground, strict=True))  # type: ignore[return-value]


def contrast(one: Colour, other: Colour) -> float:
    """Return the contrast of two colours (WCAG 2.2, relative luminance)."""

    def luminance(colour: Colour) -> float:
        parts = [c / 255 for c in colour]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", THEMES)
def test_all_text_can_be_read_on_every_ground_of_light_and_dark_themes(theme: str) -> None:
    text, ground = THEMES[theme]
    grounds = [ground, *(over(*wash(heat / 8), ground) for heat in range(-8, 9) if heat)]
    assert min(contrast(text, each) for each in grounds) >= 4.5
    assert contrast(over(text, DIM, ground), ground) >= 4.5
    assert contrast(text, over(HERE, 0.2, ground)) >= 4.5
    assert contrast(ODD_TEXT, ODD_GROUND) >= 4.5


# -- graph, why, ledger, layers, model ---------------------------------------------------------------------------------
def test_the_graph_keeps_its_lanes_in_a_monospaced_block() -> None:
    rows = (
        NodeRow(0, "AddBackward0", "a + b", (2, 3), "loss", "", (1,), "●─╮ ", "done"),
        NodeRow(1, "AccumulateGrad", "w.grad", (3,), "0 Linear", "w", (), "│ ◆"),
    )
    view = GraphView(1, "freed", 5, 0, rows)
    assert repr(view).splitlines() == [
        "Graph   5 nodes, freed by backward, in execution order",
        "  ✓ #0  ●─╮  a + b   2×3  loss      AddBackward0",
        "  · #1  │ ◆  w.grad  3    0 Linear  AccumulateGrad",
        "  rows 0 to 1 of 5; others with graph(first=…, count=…)",
    ]
    html = view._repr_html_()
    assert "✓ #0  ●─╮  a + b   2×3  loss      AddBackward0\n· #1  │ ◆" in html
    assert "<pre" in html
    assert "press" not in repr(GraphView(1, "none"))


def test_why_shows_the_formula_and_its_numbers() -> None:
    lines = (
        FormulaLine("w", "w − lr · .grad", "+0.5000 − 0.1 × +1.0000", "+0.4000"),
        FormulaLine("note", "", note="lost"),
    )
    view = WhyView(1, "w", "step moved it.", "optimizer.step()", ("72 of 80",), "w[0]", lines)
    assert repr(view).splitlines() == [
        "Why   w[0]",
        "  optimizer.step()",
        "  step moved it.",
        "  w = w − lr · .grad  = +0.5000 − 0.1 × +1.0000  = +0.4000",
        "  note                                                      lost",
        "  72 of 80",
    ]


def test_the_ledger_adds_up_to_its_last_row() -> None:
    rows = (
        LedgerRow("cleared", "zero_grad"),
        LedgerRow("backward", "backward 1", None, 1.5, 1.5, 2.0, 1, 9.0, used=1),
        LedgerRow("backward", "backward 2", 1.5, 0.25, 1.75, 1.0, 2, 8.0),
    )
    lines = repr(LedgerView(1, "w.grad[0]", (0,), "float32", "x2, 1 used", rows, 1.75, 2.5)).splitlines()
    assert lines[0] == "Ledger   w.grad[0]  x2, 1 used"
    assert lines[3].split() == ["+", "backward", "1,", "used", "+1.5000", "+1.5000", "2.000", "9.0000"]
    assert lines[-1].split() == ["=", ".grad", "+1.7500", "2.500"]


def test_a_vanishing_gradient_is_a_short_bar() -> None:
    rows = tuple(LayerRow(str(i), "Linear", 1.0, 10.0**-i, frozen=False) for i in (0, 3, 6))
    view = LayersView(1, (*rows, LayerRow("9", "Linear", 1.0, None, frozen=True)))
    bars = [line.count("█") for line in repr(view).splitlines()[2:6]]
    assert bars == [12, 6, 1, 0]
    assert "frozen" in repr(view)
    assert [f"{share}%" in view._repr_html_() for share in (100, 50, 1)] == [True] * 3


def test_the_model_is_a_tree_with_the_selected_row_marked() -> None:
    rows = (
        ModelRow("module", "Net", "", 0, "Net"),
        ModelRow(
            "parameter", "weight", "weight", 1, shape=(2, 3), dtype="float32", norm=1.0, grad="fresh", selected=True
        ),
        ModelRow("buffer", "mean", "mean", 1, shape=(3,), dtype="float32", norm=math.inf),
    )
    lines = repr(ModelView(1, rows, 1234)).splitlines()
    assert lines[0] == "Model   1,234 parameters"
    assert lines[3].startswith("  ▶   weight")
    assert lines[4].split() == ["mean", "3", "float32", "inf", "buffer"]


# -- loss and pictures -------------------------------------------------------------------------------------------------
def losses(*values: float, **more: Any) -> LossView:
    points = tuple(LossPoint(i, i, v, rate=0.1) for i, v in enumerate(values, 1))
    return LossView(1, points, len(points), **more)


def test_the_curve_is_broken_where_the_loss_is_not_finite_and_says_where() -> None:
    nan = LossPoint(3, 2, math.nan)
    view = losses(100.0, 1.0, math.nan, 2.0, math.inf, first_nan=nan)
    html = view._repr_html_()
    page = Page(html)
    assert safe(page)
    (path,) = [v for name, v in page.attributes if name == "d" and v and "L" in v]
    assert path.count("M") == 2
    assert {"NaN", "inf", "100.0000", "1.0000"} <= set(page.words)
    assert repr(view).splitlines()[0] == "Loss   log scale, by forward"
    assert repr(view).splitlines()[2] == "  █▁N▂∞"
    assert "the first NaN is at forward 3" in repr(view)


def test_a_loss_that_falls_is_drawn_falling() -> None:
    page = Page(losses(4.0, 3.0, 2.0)._repr_html_())
    (path,) = [v for name, v in page.attributes if name == "d" and v and "L" in v]
    heights = [float(part.split()[1]) for part in path[1:].split("L")]
    assert heights == sorted(heights)
    assert heights[0] < heights[-1]


def test_a_learning_rate_that_varies_has_a_strip_of_its_own() -> None:
    steady = losses(3.0, 2.0)
    points = (LossPoint(1, 1, 3.0, rate=0.1), LossPoint(2, 2, 2.0, rate=0.05))
    assert "lr 0.05" in Page(LossView(1, points, 2)._repr_html_()).words
    assert "lr 0.1" not in Page(steady._repr_html_()).words


FLOATS = st.floats(width=32) | st.floats()


@given(st.lists(st.tuples(FLOATS, st.none() | FLOATS, st.none() | FLOATS), max_size=90))
def test_any_history_is_drawn(values: list[tuple[float, float | None, float | None]]) -> None:
    points = tuple(LossPoint(i, i // 2, *value) for i, value in enumerate(values, 1))
    view = LossView(1, points, len(points))
    page = Page(view._repr_html_())
    assert safe(page)
    numbers = [v for name, v in page.attributes if name in ("d", "x", "y", "cx", "cy") and v]
    assert not any("nan" in v or "inf" in v for v in numbers)
    assert all(columns(line) <= 120 for line in repr(view).splitlines())


def test_pictures_are_png_with_black_white_and_red_for_nan() -> None:
    data = png(((0.0, 1.0), (math.nan, 0.5)), 0.0, 1.0)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", data[16:24]) == (2, 2)
    start = data.index(b"IDAT") + 4
    rows = zlib.decompress(data[start : start + struct.unpack(">I", data[start - 8 : start - 4])[0]])
    assert rows == bytes([0, 0, 0, 0, 255, 255, 255, 0, 255, 0, 0, 128, 128, 128])


def test_a_batch_of_images_has_one_per_sample_with_its_prediction() -> None:
    image = Piece("image", ((0.0, 1.0), (1.0, 0.0)), 4)
    said = [Piece("tokens", ((float(n),),), 1) for n in (2, 1)]
    samples = (
        SampleRow(5, 1.5, image, said[0], None, said[1], 0.0, 17),
        SampleRow(0, 0.5, image, said[0], None, said[0]),
    )
    view = BatchView(1, 3, (PartRow("input", "image", (2, 2, 2), "float32", nans=1),), samples, total=9)
    assert view._repr_html_().count("data:image/png;base64,") == 2
    assert "#5 dataset[17]  loss 1.5000  target 2, predicted 1 ✗" in repr(view)
    assert "#0  loss 0.5000  target 2, predicted 2 ✓" in repr(view)
    assert "██" in repr(view)


# -- strings -----------------------------------------------------------------------------------------------------------
@given(st.text())
def test_a_cleaned_text_is_one_row_that_can_be_written(text: str) -> None:
    row = clean(text)
    assert not set(row) & set("\n\r\x1b\x00")
    assert row.encode().decode() == row
    assert 0 <= columns(row) <= 2 * len(row)


def test_wide_letters_take_two_columns() -> None:
    assert columns("a重み") == 5
    assert repr(NoView(1, "重み\nb")).splitlines() == ["nothing to show", "  重み", "  b"]
