"""The panels Layers, Optimizer, Batch and the deeper Loss, drawn to plain strings."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from gradstep.tui.panels import batch, layers, loss, optimizer
from gradstep.tui.render import sparks, tones
from gradstep.tui.render.lines import Row, plain
from gradstep.values.views import LossPoint, LossView
from gradstep.values.views.training import (
    BatchView,
    GroupRow,
    LayerRow,
    LayersView,
    OptimizerView,
    PartRow,
    Piece,
    RatePoint,
    SampleRow,
    SlotRow,
)

NASTY = ["[red]x[/red]", "模型.weight", "\x1b[31mred\x1b[0m", "a\nb", "x" * 500]
ANY = st.one_of(st.none(), st.floats())


def text(drawing) -> str:
    return "\n".join(plain(drawing.lines))


def odd(drawing) -> list[str]:
    return [span.text for line in drawing.lines for span in line.spans if span.tone == "odd"]


# -- small pictures ----------------------------------------------------------------------------------------------------
def test_a_bar_is_as_long_as_the_logarithm():
    scale = sparks.decades_of([1e-8, 1.0])
    assert scale == (-8, 1)
    assert sparks.bar(1e-8, scale, 9) == "▏"
    assert sparks.bar(1e-4, scale, 9) == "████"
    assert sparks.bar(10**-3.5, scale, 9) == "████▌"
    assert sparks.bar(10.0, scale, 9) == "█" * 9
    assert [sparks.bar(v, scale, 9) for v in (0.0, None, math.nan, math.inf, -1.0)] == [""] * 5


def test_like_numbers_have_like_bars():
    assert sparks.decades_of([0.5, 0.6]) == (-4, 0)
    assert sparks.decades_of([0.0, None, math.nan]) is None


@pytest.mark.parametrize(
    ("value", "drawn"),
    [
        (1e-3, "······●······"),
        (1e-6, "●·····│······"),
        (1.0, "······│·····●"),
        (1e-9, "◂·····│······"),
        (5.0, "······│·····▸"),
        (None, "······│······"),
        (math.nan, "······│······"),
        (0.0, "······│······"),
    ],
)
def test_a_gauge_has_a_mark_and_a_dot(value, drawn):
    row = Row(13)
    sparks.gauge(row, 0, value, sparks.Decades(-6, 0), 1e-3, 13, "text")
    assert row.line().plain == drawn


def test_a_sparkline_shows_what_is_not_finite():
    spans = sparks.spark([0.0, 0.5, 1.0, math.nan, None, -math.inf])
    assert "".join(span.text for span in spans) == "▁▅█N ∞"


@given(st.lists(ANY, max_size=20))
def test_any_numbers_have_a_sparkline(values):
    assert len(sparks.spark(values)) == len(values)


def test_two_pixels_share_a_cell_in_colour_and_a_shade_without():
    pixels = [[0.0, 1.0], [1.0, 0.0], [0.5, math.nan]]
    rows = sparks.picture(pixels, 0.0, 1.0, colour=True)
    assert [[span.tone for span in row] for row in rows] == [["pixel:0:15", "pixel:15:0"], ["pixel:8:", "odd"]]
    assert "".join(span.text for span in rows[1]) == "▀N"
    grey = sparks.picture([[0.0, 1.0, 0.5]] * 2, 0.0, 1.0, colour=False)
    assert "".join(span.text for span in grey[0]) == " █▒"
    assert tones.style("pixel:15:0", "panel", tones.PLAIN) == Style()


def test_every_pair_of_pixels_has_its_colours():
    style = tones.style("pixel:15:0", "panel")
    assert (style.color.name, style.bgcolor.name) == ("#ffffff", "#000000")


# -- layers ------------------------------------------------------------------------------------------------------------
def some_layers(updated: int | None = 1) -> LayersView:
    rows = (
        LayerRow("0", "Linear", 9.25, 1e-9, 1e-5, 1e-6),
        LayerRow("1", "ReLU", zeros=0.5),
        LayerRow("2", "Linear", 1.5, 1.0, 1.5e-3, 1e-3, selected=True),
        LayerRow("3", "Linear", math.nan, math.inf, None, math.inf),
        LayerRow("4", "Linear", 1.0, None, frozen=True),
    )
    return LayersView(1, rows, updated)


def test_layers_are_drawn_in_order_with_bars_and_the_mark():
    drawing = layers.draw(some_layers(), 80, 9)
    assert drawing.about == "5 modules in forward order"
    assert plain(drawing.lines) == [
        "  module   weight     .grad ▏1e−9       1e1  update/weight 1e−6      1e0  zeros",
        "  0 Linear  9.250  1.00e−09 ▏                     1.00e−06 ●·····│······",
        "  1 ReLU                                                                    50%",
        "  2 Linear  1.500     1.000 █████████████▌           0.001 ······●······",
        "  3 Linear    NaN       inf                            inf ······│······",
        "  4 Linear  1.000    frozen                                ······│······",
        "",
        "",
        "  update/weight of iteration 1; about 1e−3 (│) is typical",
    ]
    assert odd(drawing) == ["NaN", "inf", "inf"]


def test_layers_name_a_parameter_that_is_frozen_beside_others_that_are_not():
    rows = (LayerRow("0", "Linear", 1.0, 1.0), LayerRow("2", "Linear", 1.0, 1.0, partly=("weight",)))
    drawing = layers.draw(LayersView(1, rows, 1), 110, 8)
    assert "2 Linear (weight frozen)" in text(drawing)
    assert "update/weight of iteration 1; about 1e−3 (│) is typical; frozen: 2.weight" in text(drawing)


def test_layers_say_what_is_not_known_yet():
    view = LayersView(1, (LayerRow("0", "Linear", 1.0), LayerRow("1", "ReLU")))
    drawn = text(layers.draw(view, 120, 9))
    assert "appears after the next s" in drawn
    assert "zeros are counted from the next f" in drawn
    assert "none" in drawn
    assert "no module has a parameter" in text(layers.draw(LayersView(1, (), note="no module has a parameter"), 40, 9))
    assert "No layers yet" in text(layers.draw(None, 40, 9))


def test_layers_mark_an_update_that_is_still_measured():
    view = LayersView(1, (LayerRow("0", "Linear", 1.0), LayerRow("1", "ReLU", zeros=0.5)), 3, due=True)
    header, linear, relu = text(layers.draw(view, 90, 8)).splitlines()[:3]
    assert linear[: header.index("update/weight") + len("update/weight")].endswith("…")
    assert "…" not in relu


def test_a_share_is_nothing_or_everything_only_when_it_is():
    shares = [0.0, 1e-9, 0.004, 0.5, 0.996, 1 - 1e-9, 1.0]
    assert [layers.percent(s) for s in shares] == ["0%", "<1%", "<1%", "50%", ">99%", ">99%", "100%"]


ROWS = st.builds(LayerRow, st.sampled_from(NASTY), st.just("T"), ANY, ANY, ANY, ANY, st.none() | st.floats(0, 1))


@given(st.lists(ROWS, max_size=4), st.integers(0, 130), st.integers(0, 30))
def test_any_layers_fit_any_place(rows, width, height):
    drawing = layers.draw(LayersView(1, tuple(rows)), width, height)
    assert len(drawing.lines) <= height
    assert all(cell_len(line.plain) <= width for line in drawing.lines)


def test_many_layers_scroll():
    view = LayersView(1, tuple(LayerRow(f"h.{i}", "Linear", 1.0) for i in range(5_000)))
    drawing = layers.draw(view, 60, 10, first=4_000)
    assert plain(drawing.lines)[1].startswith("  h.4000 Linear")
    assert drawing.rows == 5_000


# -- optimizer ---------------------------------------------------------------------------------------------------------
def an_optimizer(**more) -> OptimizerView:
    rates = tuple(RatePoint(i, 0.001 * (i + 1)) for i in range(8))
    groups = (GroupRow(0, 2, 2570, 0.008, rates, (("betas", "(0.9, 0.999)"), ("eps", "1e-08"), ("amsgrad", "False"))),)
    slots = (
        SlotRow("2.weight.state.step", "step", (), "float32", None, "8"),
        SlotRow("2.weight.state.exp_avg", "exp_avg", (10, 256), "float32", 0.25),
        SlotRow("2.weight.state.bad", "bad", (10, 256), "float32", math.nan),
        SlotRow("2.weight.state.plain", "plain", text="[1, 2]"),
    )
    return OptimizerView(1, "Adam", groups, ("LambdaLR",), "step", "2.weight", slots, **more)


def test_the_optimizer_is_drawn_with_its_groups_and_its_state():
    drawing = optimizer.draw(an_optimizer(), 60, 12, at=7)
    assert drawing.about == "Adam, 1 group"
    assert plain(drawing.lines) == [
        "  LambdaLR updates lr after every step",
        "  parameters  2 tensors, 2,570 elements",
        "    lr 0.008  ▁▂▃▄▅▆▇█  0.001 to 0.008",
        "    betas (0.9, 0.999)  eps 1e−08  amsgrad False",
        "",
        "  state of 2.weight",
        "    step     8",
        "▶   exp_avg  10×256  norm 0.250  float32",
        "    bad      10×256  norm NaN  float32",
        "    plain    [1, 2]",
    ]
    shown = [entry.shows for entry in optimizer.entries(an_optimizer(), 60)]
    assert shown[6:] == ["2.weight.state.step", "2.weight.state.exp_avg", "2.weight.state.bad", ""]


def test_parameters_that_no_step_moves_stand_out():
    drawing = optimizer.draw(an_optimizer(missing=("1.weight", "1.bias"), twice=("0.bias",)), 80, 12)
    assert plain(drawing.lines)[:2] == [
        "  ✗ in no parameter group, so no step updates it: 1.weight, 1.bias",
        "  ✗ in the parameter groups twice, so a step updates it twice: 0.bias",
    ]
    many = optimizer.draw(an_optimizer(missing=tuple(f"p{i}" for i in range(5_000))), 80, 12)
    assert "5,000 in" in text(many)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("width", [0, 1, 9, 45, 120])
def test_any_optimizer_fits_any_place(name, width):
    group = GroupRow(0, 1, 1, math.nan, (RatePoint(0, math.inf), RatePoint(1, math.nan)), ((name, name),))
    view = OptimizerView(
        1, name, (group, group), (name,), "epoch", name, (SlotRow(name, name, (1,), name, math.inf, ""),)
    )
    drawing = optimizer.draw(view, width, 9, at=0)
    assert len(drawing.lines) <= 9
    assert all(cell_len(line.plain) <= max(width, 1) for line in drawing.lines)


# -- batch -------------------------------------------------------------------------------------------------------------
def one(value: float, kind: str = "tokens") -> Piece:
    return Piece(kind, ((value,),), 1)


def images(colour: bool = True, pixel: float = 1.0) -> BatchView:
    pixels = tuple(tuple(pixel if x == y else 0.0 for x in range(4)) for y in range(4))
    picture = Piece("image", pixels, 16)
    samples = (
        SampleRow(7, 2.5, picture, one(2), Piece("numbers", ((1.0, 2.0, 0.0),), 3), one(1), 0.0, 345),
        SampleRow(1, 0.5, picture, one(0), None, one(0), 1.0),
    )
    parts = (PartRow("input", "image", (2, 1, 4, 4), "float32", -1.0, 1.5, 0.25, 0.5, 1, 2),)
    return BatchView(1, 3, parts, samples, 0, 2, 0.0, 1.0, "mean")


def test_images_are_drawn_with_their_loss_and_what_was_said():
    drawing = batch.draw(images(), 60, 30, colour=False)
    assert drawing.about == "batch 3, 2 samples, worst first, loss is their mean"
    assert plain(drawing.lines) == [
        "  input  2×1×4×4  1 NaN, 2 inf  float32  −1.0000 to +1.5000",
        "  ██        #7 dataset[345]",
        "    ██      loss 2.5000",
        "      ██    target 2, predicted 1 ✗",
        "        ██",
        "",
        "  ██        #1",
        "    ██      loss 0.5000",
        "      ██    target 0, predicted 0 ✓",
        "        ██",
    ]
    low = batch.draw(images(), 60, 5, colour=False)
    assert plain(low.lines)[1:] == ["  ▒▒    #7 dataset[345]", "    ▒▒  loss 2.5000", "        target 2, predicted 1 ✗"]
    assert low.mark() == "↓ 1 more"
    beside = plain(batch.draw(images(), 90, 30, colour=False, at=1).lines)
    assert beside[1:4] == [
        "  ██        #7 dataset[345]          ██       ▶#1",
        "    ██      loss 2.5000                ██      loss 0.5000",
        "      ██    target 2, predicted 1 ✗      ██    target 0, predicted 0 ✓",
    ]
    assert odd(drawing) == ["1 NaN, 2 inf"]
    coloured = {span.tone for line in batch.draw(images(), 60, 30).lines for span in line.spans}
    assert {"pixel:15:15", "pixel:0:0"} <= coloured
    assert "NN" in text(batch.draw(images(pixel=math.nan), 60, 30))


def test_tokens_stand_below_each_other_and_wrong_ones_are_marked():
    sample = SampleRow(
        4,
        1.25,
        Piece("tokens", ((1.0, 20.0, 3.0),), 3),
        Piece("tokens", ((20.0, 3.0, 4.0),), 3),
        None,
        Piece("tokens", ((20.0, 9.0, 4.0),), 3),
        2 / 3,
    )
    drawing = batch.draw(BatchView(1, 1, (), (sample,), 0, 1, reduction="mean"), 60, 9)
    assert plain(drawing.lines) == [
        "  #4  loss 1.2500  2 of 3 right",
        "    input       1 20  3",
        "    target     20  3  4",
        "    predicted  20✗ 9  4",
    ]


def test_curves_and_numbers_are_drawn_and_the_reason_is_said():
    curve = Piece("curve", (tuple(i / 20 for i in range(20)),), 20)
    sample = SampleRow(0, None, curve, curve, Piece("numbers", ((-1.0, math.nan),), 9))
    view = BatchView(1, 2, (), (sample,), 0, 1, note="compute_loss takes the whole batch")
    rows = plain(batch.draw(view, 33, 9).lines)
    assert rows[0] == "  compute_loss takes the whole"
    assert rows[3] == "    input     ▁▁▁▂▂▃▃▃▄▅▅▆▆▆▇▇██"
    assert rows[5] == "    predicted −1.0000  … of 9"
    wider = plain(batch.draw(view, 40, 9).lines)[-1]
    assert "NaN" in wider
    assert wider.endswith(" … of 9")


def test_the_words_of_a_large_picture_stand_below_it():
    pixels = ((0.5,) * 28,) * 28
    sample = SampleRow(3, 0.5, Piece("image", pixels, 784), one(2), None, one(2), 1.0)
    lines = plain(batch.draw(BatchView(1, 1, (), (sample,), 0, 24), 60, 40, colour=False).lines)
    assert [line.strip() for line in lines[-3:]] == ["#3", "loss 0.5000", "target 2, predicted 2 ✓"]
    assert batch.draw(BatchView(1, 1, (), (sample,), 0, 24), 60, 40).mark() == "↓ 23 more"


@pytest.mark.parametrize("height", range(4, 30))
def test_a_sample_counts_as_seen_when_all_of_it_is(height):
    piece = Piece("numbers", ((0.5, 0.25),), 2)
    samples = tuple(SampleRow(i, 1.0 - i / 10, piece, piece, piece) for i in range(6))
    drawing = batch.draw(BatchView(1, 1, (), samples, 0, 24), 60, height)
    assert drawing.below == 24 - min(6, height // 4)
    assert len(drawing.lines) == min(6, height // 4) * 4


def test_a_single_number_is_named_in_the_row_of_its_sample():
    number = Piece("numbers", ((0.5, 0.25),), 2)
    sample = SampleRow(3, 1.5, number, one(1), Piece("numbers", ((0.5, 0.25),), 2), one(0), 0.0, 17)
    view = BatchView(1, 1, (), (sample,), 0, 1)
    assert plain(batch.draw(view, 73, 9, at=0).lines) == [
        "▶ #3 dataset[17]  loss 1.5000  target 1, predicted 0 ✗",
        "    input     +0.5000 +0.2500",
    ]
    assert plain(batch.draw(view, 40, 9).lines)[:2] == ["  #3 dataset[17]  loss 1.5000", "    target 1, predicted 0 ✗"]
    wish = SampleRow(0, 1.5, number, one(2.5, "numbers"), one(1.25, "numbers"))
    line = plain(batch.draw(BatchView(1, 1, (), (wish,), 0, 1), 73, 9).lines)[0]
    assert line == "  #0  loss 1.5000  target +2.5000, predicted +1.2500"


def test_a_nan_loss_stands_out():
    sample = SampleRow(3, math.nan, Piece("numbers", ((1.0,),), 1), one(2.5, "numbers"), None)
    assert odd(batch.draw(BatchView(1, 1, (), (sample,), 0, 1), 60, 5)) == ["NaN"]


def test_empty_batches_say_what_to_press():
    assert "Press" in text(batch.draw(BatchView(1, note="Press n"), 40, 4))
    assert "No batch yet" in text(batch.draw(None, 40, 4))
    assert (
        text(batch.draw(BatchView(1, 2, note="its first part has no samples"), 60, 4))
        == "  its first part has no samples"
    )


@given(st.integers(0, 130), st.integers(-1, 40), st.sampled_from(NASTY), st.floats())
def test_any_batch_fits_any_place(width, height, name, value):
    parts = (PartRow(name, "numbers", (1,) * 30, name, value, value, value, value, 10**9, 10**9),)
    pieces = [Piece(kind, ((value, 1.0) * 5,), 10**9) for kind in ("image", "curve", "numbers")]
    for piece in pieces:
        samples = tuple(SampleRow(i, value, piece, piece, piece) for i in range(3))
        drawing = batch.draw(BatchView(1, 1, parts, samples, 0, 3, -math.inf, value), width, height)
        assert len(drawing.lines) <= max(height, 0)
        assert all(cell_len(line.plain) <= max(width, 0) for line in drawing.lines)


# -- loss --------------------------------------------------------------------------------------------------------------
def losses(*values: float, **more) -> LossView:
    points = tuple(LossPoint(i, i - 1, v, rate=0.1 / i) for i, v in enumerate(values, 1))
    return LossView(1, points, len(values), **more)


def test_the_scale_is_chosen_or_told():
    view = losses(1000.0, 10.0, 1.0)
    assert loss.draw(view, 60, 10).about == "log scale, by forward"
    assert loss.draw(view, 60, 10, loss.PlotStyle("linear")).about == "linear, by forward"
    assert loss.draw(losses(2.0, 1.0), 60, 10, loss.PlotStyle("log")).about == "log scale, by forward"
    assert "not every loss is above 0" in loss.draw(losses(2.0, 0.0), 60, 10, loss.PlotStyle("log")).about
    smooth = LossView(1, view.points, 3, by="iteration", smoothing=0.9)
    assert loss.draw(smooth, 60, 10).about == "log scale, by iteration, smoothed 0.9"


def test_the_cursor_reads_a_point():
    drawing = loss.draw(losses(3.0, 2.0, 1.0), 70, 10, loss.PlotStyle(at=2))
    rows = plain(drawing.lines)
    assert rows[0] == "▶ 2.0000  −1.0000  forward 2, iteration 1  lr 0.05"
    assert sum("│" in row for row in rows) >= 5
    now = [span.text for line in drawing.lines for span in line.spans if span.tone == "now"]
    assert "●" in now
    assert "2" in now


def test_the_rate_stands_under_its_points():
    rows = plain(loss.draw(losses(3.0, 2.0, 1.0), 70, 12).lines)
    rates = next(row for row in rows if row.lstrip().startswith("lr"))
    assert rates.endswith("▁")
    assert "█" in rates
    same = LossView(1, tuple(LossPoint(i, 0, 1.0, rate=0.1) for i in (1, 2)), 2)
    assert not any(row.lstrip().startswith("lr ") for row in plain(loss.draw(same, 70, 12).lines))


def test_where_nan_and_inf_came_first_is_said():
    view = losses(1.0, math.inf, math.nan, first_nan=LossPoint(3, 2, math.nan), first_inf=LossPoint(2, 1, math.inf))
    rows = plain(loss.draw(view, 90, 10).lines)
    assert rows[-1] == "  first inf at forward 2, iteration 1  first NaN at forward 3, iteration 2"
    rows = plain(loss.draw(view, 45, 10).lines)
    assert rows[-2:] == ["  first inf at forward 2, iteration 1", "  first NaN at forward 3, iteration 2"]


def test_a_nan_among_many_points_is_not_covered_by_its_neighbours():
    values = [100 / i for i in range(1, 400)]
    values[200] = math.nan
    assert "N" in text(loss.draw(losses(*values), 60, 12))


@given(
    st.lists(st.tuples(st.floats(), ANY, ANY), max_size=60),
    st.integers(0, 100),
    st.integers(0, 20),
    st.sampled_from(["auto", "log", "linear"]),
    st.integers(-1, 70),
)
def test_any_history_can_be_plotted(points, width, height, scale, at):
    made = tuple(LossPoint(i, i // 3, v, None if s is None else abs(s), r) for i, (v, s, r) in enumerate(points, 1))
    drawing = loss.draw(LossView(1, made, len(made), smoothing=0.5), width, height, loss.PlotStyle(scale, at))
    assert len(drawing.lines) <= height
    assert all(cell_len(line.plain) <= width for line in drawing.lines)
