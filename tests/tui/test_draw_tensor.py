"""What the Tensor panel draws, on plain strings: tables, grids, heat maps, what is said above and below them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from fake_session import tensor_view
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from tensors import answer, matrix, statistics_of, vector

from gradstep.tui.panels.tensor import panel as tensor
from gradstep.tui.panels.tensor.display import Display, StableForms
from gradstep.tui.panels.tensor.foot import plane_line, title_words
from gradstep.tui.render import heat
from gradstep.tui.render.lines import plain
from gradstep.tui.render.tones import HEAT, PLAIN, style
from gradstep.values import numbers
from gradstep.values.views.tensor import Axis, Histogram, LookTensor, Pair, Statistics, TensorView, Window


def look(**more) -> Display:
    return Display(StableForms(), **more)


def text(drawing) -> str:
    return "\n".join(plain(drawing.lines))


# -- numbers -----------------------------------------------------------------------------------------------------------
def test_a_vector_is_a_table():
    lines = plain(tensor.draw(tensor_view(1), 73, 12).lines)
    assert lines[0].split() == ["weight", ".grad", "change", "of", ".grad", ".grad"]
    assert "[3]    −0.0073    +0.3151*" in lines[4]
    points = {line.index(".", 6) for line in lines[1:11]}
    assert len(points) == 1
    assert lines[-1].startswith("  all 10: norm 0.085  min −0.0519  max +0.0450  no NaN, no inf")


def test_a_matrix_is_two_grids():
    view = matrix(((1.0, -2.0), (math.nan, math.inf)), ((0.5, 0.0), (0.25, -0.5)))
    view = replace(view, value=Window(view.value.values, None, ((False, True), (False, False))))
    lines = tensor.draw(view, 60, 8).lines
    rows = plain(lines)
    assert rows[2].split() == ["[0]", "+1.000", "−2.000*", "+0.500", "0"]
    assert rows[3].split() == ["[1]", "NaN", "+inf", "+0.250", "−0.500"]
    odd = [span.text for line in lines for span in line.spans if span.tone == "odd"]
    assert odd == ["NaN", "+inf"]
    assert "1 NaN, 1 inf" in rows[-1]


def test_a_missing_grad_says_why_in_as_many_rows_as_that_takes():
    view = replace(
        matrix(((1.0, 2.0),) * 6), no_grad="none: the last backward did not reach it: `why w.grad` says where"
    )
    rows = plain(tensor.draw(view, 60, 10).lines)
    said = " ".join(row[34:].strip() for row in rows[2:7]).strip()
    assert said == view.no_grad


def test_more_columns_of_a_matrix_fit_where_its_numbers_are_short():
    view = matrix(((0.125,) * 9,) * 2, grad_state="")
    assert tensor.columns_shown(view, 70, look()) == 8
    assert plain(tensor.draw(view, 70, 6).lines)[2].count("+0.125") == 8


@given(st.lists(st.floats(0.011, 9.0), min_size=2, max_size=8), st.sampled_from(["vector", "matrix"]))
def test_nothing_moves_when_values_change_or_another_part_is_seen(values, kind):
    """Every window of a slice, at every stop, is drawn in the same places: those of the slice's greatest."""
    forms = StableForms()
    places = set()
    for scale in (1.0, 0.4, -1.0):
        seen = tuple(value * scale for value in values)
        known = Statistics(99, -9.5 * abs(scale), 9.0, rms=1.0)
        view = vector(seen, statistics=known) if kind == "vector" else matrix((seen,), statistics=known, grad_state="")
        drawn = plain(tensor.draw(view, 100, 4 + len(seen), Display(forms)).lines)
        rows = drawn[1 : 1 + len(seen)] if kind == "vector" else drawn[2:3]
        places |= {tuple(at for at, letter in enumerate(row) if letter == ".") for row in rows}
    assert len(places) == 1


def test_a_form_is_kept_until_two_digits_would_be_lost():
    forms = StableForms()
    first = forms.column("w", 0.5, "float32", 4)
    assert forms.column("w", 0.99, "float32", 4) == first
    assert forms.column("w", 0.051, "float32", 4) == first
    assert forms.column("w", 0.004, "float32", 4).form.decimals == 5
    assert forms.column("w", 12.0, "float32", 4).text(12.0) == "+12.000"
    assert forms.column("g", 12.0, "int64", 4).text(-12.0) == "−12"


def test_a_window_that_is_on_its_way_does_not_hide_the_cursor():
    """The view still holds rows 0 to 9 while the panel is at row 5 already."""
    view = answer(LookTensor(rows=10, columns=3), (40, 30))
    lines = plain(tensor.draw(view, 80, 7, look(spot=(8, 1), first=5)).lines)
    assert [line.split()[0] for line in lines[2:6]] == ["[5]", "[6]", "[7]", "▶"]
    assert lines[5].split()[:2] == ["▶", "[8]"]


# -- titles ------------------------------------------------------------------------------------------------------------
def test_the_title_says_in_torchs_notation_which_plane_is_seen():
    view = answer(LookTensor(rows=3, columns=3), (8, 3, 5, 4), name="conv.weight")
    assert title_words(view) == "conv.weight[0, 0, :, :]  of 8×3×5×4, float32  ↓ dim 2 → dim 3"
    view = answer(LookTensor(rows=3, columns=3, dims=(3, 1), at=(6, 0, 2, 0)), (8, 3, 5, 4), name="conv.weight")
    assert title_words(view) == "conv.weight[6, :, 2, :]  of 8×3×5×4, float32  ↓ dim 3 → dim 1"
    assert title_words(answer(LookTensor(), (4, 3))) == "w  of 4×3, float32"
    assert title_words(answer(LookTensor(dims=(1, 0)), (4, 3))) == "w[:, :]  of 4×3, float32  ↓ dim 1 → dim 0"


def test_a_plane_of_a_slice_is_written_as_a_slice():
    view = answer(LookTensor(), (8, 3, 5, 4), name="w")
    axes = (Axis(0, 1, 3, 2), Axis(2, 0, 1, 5), Axis(3, 1, 1, 2))
    view = replace(view, axes=axes, place=(4, 1, None, None))
    assert plane_line(view) == "w[4, 1, :, 1:3]"


# -- heat maps ---------------------------------------------------------------------------------------------------------
@given(st.floats(allow_nan=True, allow_infinity=True), st.floats(1e-6, 1e6))
def test_a_cell_tells_the_sign_by_glyph_and_by_hue(value, scale):
    sign, shade = heat.cell(value, scale)
    assert cell_len(sign.text + shade.text) == heat.CELL
    if math.isfinite(value) and value:
        assert sign.text == ("+" if value > 0 else numbers.MINUS)
        depth = int(sign.tone.removeprefix("heat:"))
        assert (depth > 0) == (value > 0)
        assert 1 <= abs(depth) <= HEAT
        assert shade.tone == f"solid:{depth}"
    elif value == 0:
        assert (sign.text + shade.text, sign.tone) == (heat.glyphs(value, 1.0), "dim")
    else:
        assert (
            sign.text + shade.text == {0: "NN", 1: "+∞", -1: "−∞"}[0 if math.isnan(value) else int(value > 0) * 2 - 1]
        )
        assert sign.tone == shade.tone == "odd"


@given(st.floats(1e-3, 1.0), st.floats(1e-3, 1.0))
def test_what_is_farther_from_zero_is_never_paler(one, other):
    if one <= other:
        assert heat.level(one, 1.0) <= heat.level(other, 1.0)
        assert heat.level(-one, 1.0) == -heat.level(one, 1.0), "symmetric around zero"


@pytest.mark.parametrize("theme", ["dark", "light", "high-contrast"])
def test_without_its_hues_a_patch_is_still_read(theme):
    for depth in (*range(-HEAT, 0), *range(1, HEAT + 1)):
        patch = style(f"solid:{depth}", "panel", theme)
        assert patch.color == patch.bgcolor, "with colours the shade is not seen"
        assert style(f"heat:{depth}", "panel", theme).bgcolor == patch.bgcolor
    assert style("solid:7", "panel", PLAIN).color is None, "without them it is"


def test_a_heat_map_states_its_scale_and_names_its_columns():
    row = tuple((j - 6) / 10 for j in range(13))
    view = matrix((row, row), tuple((0.0,) * 13 for _ in range(2)))
    lines = plain(tensor.draw(view, 90, 6, look(heat=True)).lines)
    assert lines[0].split()[:4] == ["w", "±0.600", "=", "max"]
    assert "0         5         10" in lines[1]
    assert "−█−▓−▓−▒−▒−░ 0+░+▒+▒+▓+▓+█" in lines[2]
    assert " 0 0 0 0 0 0" in lines[2]


def test_what_stands_out_does_not_leave_the_rest_pale():
    assert heat.scale_of(100.0, 1.0) == (3.0, "3 rms")
    assert heat.scale_of(2.0, 1.0) == (2.0, "max")
    assert "all zero" in text(tensor.draw(matrix(((0.0, math.nan),), grad_state=""), 60, 6, look(heat=True)))
    assert heat.level(50.0, 3.0) == HEAT


def test_a_vector_is_folded_into_a_heat_map():
    view = vector(tuple(float(i) for i in range(64)), grad_state="")
    lines = plain(tensor.draw(view, 60, 8, look(heat=True, spot=(26, 0))).lines)
    assert [line.split()[0] for line in lines[2:5]] == ["[0]", "▶", "[50]"]
    marked = [s for line in tensor.draw(view, 60, 8, look(heat=True, spot=(26, 0))).lines for s in line.spans]
    assert [span.text for span in marked if span.tone == "block"] == list(heat.glyphs(26.0, 63.0))


def test_nan_is_marked_in_a_heat_map_and_no_ratio_is_left_blank():
    view = matrix(((math.nan, math.inf, 1.0),), grad_state="")
    view = replace(view, value=Window(view.value.values, absent=((False, False, True),)))
    spans = tensor.draw(view, 60, 5, look(heat=True)).lines[2].spans
    assert "".join(span.text for span in spans if span.tone == "odd") == "NN+∞"
    assert "░" not in "".join(span.text for span in spans)


# -- below the numbers -------------------------------------------------------------------------------------------------
def test_the_block_says_everything_about_the_slice():
    known = Statistics(1000, -0.5, 0.5, 0.0, 0.25, 9.237, 12, 3, 4, 0.3, Histogram(-0.5, 0.5, (1, 0, 8, 4), 7))
    view = vector((0.25, -0.5), (1.0, 0.0), statistics=known)
    lines = plain(tensor.draw(view, 160, 12, look(spot=(1, 0), block=True)).lines)
    head, own = next(i for i, line in enumerate(lines) if "zeros" in line), 1
    titles = ["min", "max", "mean", "std", "norm", "zeros", "NaN", "inf", "histogram,", "1", "in", "7", "sampled"]
    assert lines[head].split() == ["of", "2", *titles]
    assert lines[head + own].split()[:9] == ["w", "−0.5000", "+0.5000", "0", "0.2500", "9.237", "12", "3", "4"]
    assert "−0.5000 ▁ █▄ +0.5000" in lines[head + own]
    spans = tensor.draw(view, 160, 12, look(spot=(1, 0), block=True)).lines[head + own].spans
    assert [span.text for span in spans if span.tone == "odd"] == ["3", "4"]


def test_the_block_has_room_for_what_matters_on_a_narrow_screen():
    view = vector((0.25, -0.5), (1.0, 0.0))
    head = next(line for line in plain(tensor.draw(view, 45, 14, look(block=True)).lines) if "norm" in line)
    assert head.split()[-3:] == ["min", "max", "norm"]


def test_the_element_under_the_cursor_is_told_with_its_change():
    view = vector((0.25, -0.5), grad_state="")
    view = replace(view, value=Window(((0.25,), (-0.5,)), ((0.25,), (-0.4,)), ((False,), (True,))))
    drawn = text(tensor.draw(view, 120, 12, look(spot=(1, 0), block=True)))
    assert "w −0.50000  was −0.40000  change −0.10000  +0.250 relative" in drawn


def test_what_is_not_measured_yet_is_said():
    view = matrix(((1.0, 2.0),), statistics=None, due=True)
    assert "all 2: computing …" in text(tensor.draw(view, 80, 8))
    assert "all 2: computing …" in text(tensor.draw(view, 80, 12, look(block=True)))


def test_what_is_seen_in_place_of_values_is_said():
    view = vector((0.25, -0.5), quantity="change", note="it did not exist before")
    lines = plain(tensor.draw(view, 80, 8).lines)
    assert lines[0].split()[:3] == ["change", "of", "w"]
    assert lines[-1].startswith("  it did not exist before")
    assert "change ÷ before of w" in text(tensor.draw(replace(view, quantity="ratio"), 80, 8))


SHAPES = [(1, 1), (3, 40), (20, 2), (45, 10), (73, 13), (120, 40)]


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("more", [{}, {"heat": True}, {"block": True}, {"heat": True, "block": True}])
@pytest.mark.parametrize("kind", ["number", "vector", "matrix", "planes"])
def test_nothing_overflows_at_any_size(size, more, kind):
    width, height = size
    views = {
        "number": vector((math.nan,), axes=(), dims=(), place=(), kind="number", row_labels=(), shape=(), whole=()),
        "vector": vector(tuple(float(i) for i in range(30)), tuple(-float(i) for i in range(30))),
        "matrix": matrix(((1.0, -2.0, 0.0), (math.nan, math.inf, 4.0)), ((1.0, -2.0, 0.0), (5.0, 6.0, 4.0))),
        "planes": answer(LookTensor(rows=30, columns=30), (2, 3, 40, 50)),
    }
    drawing = tensor.draw(views[kind], width, height, look(spot=(0, 0), **more))
    assert len(drawing.lines) <= height
    assert all(cell_len(line.plain) <= width for line in drawing.lines)


def test_a_grad_that_was_just_cleared_bears_the_mark_of_what_changed():
    table = tensor.draw(vector((1.0, 2.0), grad_gone=True), 80, 8)
    assert [line.split()[2] for line in plain(table.lines)[1:3]] == ["none*", "none*"]
    assert "* changed" in text(table)
    assert "*" not in text(tensor.draw(vector((1.0, 2.0)), 80, 8))
    assert "none*" in text(tensor.draw(matrix(((1.0, 2.0),), grad_gone=True), 80, 8))
    assert "*" not in text(tensor.draw(matrix(((1.0, 2.0),)), 80, 8))


# -- two points -----------------------------------------------------------------------------------------------------
def between(missing: str = "", **more: Any) -> TensorView:
    """Return the view of a matrix at two points."""
    first, second = ((1.0, -2.0), (3.0, 4.0)), ((1.5, -2.0), (2.0, 4.0))
    moved = ((0.5, 0.0), (-1.0, 0.0))
    value = Window(moved, first, ((True, False), (True, False)), second)
    pair = Pair("main", "stop 12", 8, 12, missing, statistics_of(first), statistics_of(second))
    if missing:
        value = Window(first)
    quantity = "value" if missing else "change"
    return matrix(
        first, value=value, grad_state="", pair=pair, quantity=quantity, statistics=statistics_of(moved), **more
    )


def test_a_difference_is_drawn_with_both_that_it_is_of() -> None:
    view = between()
    drawing = tensor.draw(view, 110, 8, Display(StableForms(), (1, 0)))
    rows = ["  ".join(row.split()) for row in plain(drawing.lines)]
    assert drawing.about == "w: stop 12 − main at stop 8  of 2×2, float32"
    assert rows[0] == "main  stop  12  stop  12  −  main"
    assert rows[2] == "[0]  +1.000  −2.000  +1.500  −2.000  +0.500  0"
    assert rows[3] == "▶  [1]  +3.000  +4.000  +2.000  +4.000  −1.000  0"
    assert "the difference: norm" in " ".join(plain(drawing.lines)[-1].split())


def test_where_there_is_no_room_for_three_the_difference_is_drawn_and_the_element_said() -> None:
    rows = [" ".join(row.split()) for row in plain(tensor.draw(between(), 45, 8, Display(StableForms(), (1, 0))).lines)]
    assert rows[0] == "stop 12 − main"
    assert rows[2] == "[0] +0.500 0"
    assert rows[-1].startswith("+3.0000 and +2.0000")


def test_what_one_side_lacks_is_none_and_there_is_no_difference() -> None:
    rows = [
        " ".join(row.split()) for row in plain(tensor.draw(between("second"), 110, 8, Display(StableForms())).lines)
    ]
    assert rows[2] == "[0] +1.000 −2.000 none no difference"
    assert rows[3] == "[1] +3.000 +4.000"
    rows = [" ".join(row.split()) for row in plain(tensor.draw(between("first"), 110, 8, Display(StableForms())).lines)]
    assert rows[2] == "[0] none +1.000 −2.000 no difference"
