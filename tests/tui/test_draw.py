"""Each panel's draw function, on plain strings: what is there, and what never happens."""

from __future__ import annotations

import math

import pytest
from counting import calls
from fake_session import FREED, model_of, model_rows, node_rows
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from tensors import matrix, vector

from gradstep.tui.panels import log, loss, model, script, why
from gradstep.tui.panels.bars import status
from gradstep.tui.panels.graph import panel as graph
from gradstep.tui.panels.tensor import panel as tensor
from gradstep.tui.render.lines import Row, clean, plain, wrap
from gradstep.tui.render.markdown import markdown_lines
from gradstep.values import numbers
from gradstep.values.commands import Backward, Say
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import (
    LossPoint,
    LossView,
    ModelRow,
    WhyView,
)
from gradstep.values.views.graph import GraphView, NodeRow

NASTY = ["[red]x[/red]", "模型.weight", "\x1b[31mred\x1b[0m", "a\nb", "e\u0301", "\u202eabc", "x" * 500]


def text(drawing) -> str:
    return "\n".join(plain(drawing.lines))


def losses(*values: float) -> LossView:
    return LossView(1, tuple(LossPoint(i, 0, v) for i, v in enumerate(values, 1)), len(values))


# -- numbers ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([-0.0288, 0.0072, 0.0], ["−0.0288", "+0.0072", "0"]),
        ([12.5, -1.0], ["+12.500", "−1.000"]),
        ([1e-9, -2e-7], ["+1.000e−09", "−2.000e−07"]),
        ([0.0038, -0.00001], ["+0.00380", "−0.00001"]),
        ([math.nan, math.inf, -math.inf, 1.0], ["NaN", "+inf", "−inf", "+1.0000"]),
        ([3e38, -1.0], ["+3.000e+38", "−1.000e+00"]),
        ([None, 2.0], ["·", "+2.0000"]),
        ([-0.0], ["−0"]),
    ],
)
def test_a_column_has_one_form(values, texts):
    form = numbers.form_of(values)
    assert [numbers.signed(value, form) for value in values] == texts


def test_integers_have_no_point():
    form = numbers.form_of([3.0, -12.0], "int64")
    assert [numbers.signed(v, form) for v in (3.0, -12.0)] == ["+3", "−12"]


@given(st.floats())
def test_sign_and_tone_agree(value):
    tone, sign = numbers.tone_of(value), numbers.signed(value, numbers.form_of([value]))[0]
    if math.isfinite(value) and value:
        assert (tone, sign) in {("negative", "−"), ("positive", "+")}
    else:
        assert tone == ("dim" if value == 0 else "odd")


# -- lines -----------------------------------------------------------------------------------------------------------
@given(st.text(max_size=60), st.integers(1, 40))
def test_a_row_is_exactly_as_wide_as_it_should_be(string, width):
    row = Row(width).left(2, clean(string)).right(width, clean(string)).line()
    assert cell_len(row.plain) == width


@given(st.text(max_size=80), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_nothing_but_blanks(string, width):
    lines = wrap(string, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == clean(string).replace(" ", "")


@pytest.mark.parametrize("name", NASTY)
def test_nothing_of_the_debuggee_can_move_the_cursor(name):
    assert not any(ord(c) < 32 or c in "\x7f\x9b\u202e" for c in clean(name))


# -- the drawing -----------------------------------------------------------------------------------------------------
def test_model_draws_the_tree():
    drawing = model.draw(model_of(1, model_rows("2.weight"), 203530), 46, 11)
    assert drawing.about == "203,530 parameters"
    assert plain(drawing.lines) == [
        "  module                shape    norm   .grad",
        "  Sequential",
        "  ├ 0 Linear",
        "  │   weight          256×784   9.259   fresh",
        "  │   bias                256   9.259   fresh",
        "  ├ 1 ReLU",
        "  └ 2 Linear",
        "▶     weight           10×256   1.908   fresh",
        "      bias                 10   1.908   fresh",
        "",
        "  2.weight  float32  cpu  .grad norm 29.740",
    ]


def test_graph_draws_lanes_and_ticks():
    drawing = graph.draw(GraphView(1, "freed", 6, 0, node_rows(True)), 73, 9, at=5)
    rows = plain(drawing.lines)
    assert drawing.about == "6 nodes, buffers freed by backward"
    assert rows[3].startswith("  ✓ #2  ●─┬─╮   b + x Wᵀ")
    assert rows[6].startswith("▶ ✓ #5  │ ◆     2.weight.grad")
    waiting = plain(graph.draw(GraphView(1, "alive", 6, 0, node_rows(False)), 73, 9).lines)
    assert all(row.startswith("  ·") for row in waiting[1:7])


def test_graph_names_the_key_that_records_what_was_run_past():
    view = GraphView(1, "alive", 6, 0, node_rows(False), recorded=False)
    assert plain(graph.draw(view, 43, 9).lines)[-1].strip() == "modules and lines: from the next f on"
    assert "modules and lines: from the next f" in plain(graph.draw(view, 73, 9, at=0).lines)[-1]


def test_loss_marks_what_is_no_number_and_goes_on():
    drawing = loss.draw(losses(4.0, math.nan, 2.0, math.inf, 1.0), 46, 9)
    drawn = text(drawing)
    assert "N" in drawn
    assert "∞" in drawn
    assert "●" in drawn
    assert drawing.about == "by forward"
    assert loss.draw(losses(1000.0, 1.0), 46, 9).about == "log scale, by forward"
    assert loss.draw(losses(-1000.0, 1.0), 46, 9).about == "by forward"


@pytest.mark.parametrize("values", [(math.nan,), (math.inf, -math.inf), (1.7e308, -1.7e308), (0.0,), (5e-324, 1.0)])
def test_any_loss_can_be_plotted(values):
    assert text(loss.draw(losses(*values), 30, 8))


def test_many_losses_are_drawn_in_braille():
    drawn = text(loss.draw(losses(*(100 / i for i in range(1, 400))), 46, 9))
    assert any("\u2800" <= c <= "\u28ff" for c in drawn)


def test_log_keeps_its_end_in_sight():
    entries = [log.LogRow("command", f"forward {i}") for i in range(100_000)]
    rows = plain(log.draw(entries, 40, 5).lines)
    assert rows[-1] == "  forward 99999"
    assert plain(log.draw(entries, 40, 5, 10).lines)[0] == "  forward 10"


def test_a_log_that_forgets_its_oldest_rows_counts_the_commands_that_it_has(monkeypatch):
    monkeypatch.setattr(log.LogPanel, "_MOST", 20)
    panel = log.LogPanel()
    for i in range(30):
        panel.add([log.LogRow("failed" if i % 3 else "command", f"forward {i}"), log.LogRow("printed", "1")])
        panel.write("text\nmore")
    assert len(panel.entries) <= 20
    assert panel.draw(40, 5) == log.draw(panel.entries, 40, 5)


def test_a_long_log_costs_its_rows_in_sight():
    took = []
    for many in (100, 10_000):
        panel = log.LogPanel()
        panel.add([log.LogRow("command", f"forward {i}") for i in range(many)])
        took.append(calls(lambda: panel.draw(40, 5)))  # noqa: B023
    assert took[1] < 1.2 * took[0]


def test_log_marks_failures_and_output():
    rows = plain(
        log.draw([*log.entries_of(Outcome(Backward(), Stop(), FREED)), *log.output_entries("a\rb")], 60, 5).lines
    )
    assert rows == ["✗ backward", "    backward through a freed graph", "  │ b"]


def test_why_says_a_problem_with_its_remedy_even_where_there_is_little_room():
    news = why.News(outcome=Outcome(Backward(), Stop(), FREED))
    rows = plain(why.draw(news, 40, 4).lines)
    assert rows[0] == "  ✗ backward through a freed graph"
    assert "  Press f for a new graph, or use" in rows


@pytest.mark.parametrize(
    ("text", "width", "rows"),
    [
        ("it gives `J v`. So", 13, ["  it gives J", "  v. So"]),
        ("(**bold**), `x`!", 14, ["  (bold), x!"]),
        ("a `model.layers.0.attention`.", 16, ["  a", "  model.layers.", "  0.attention."]),
    ],
)
def test_narration_is_broken_at_blanks_and_nothing_of_it_is_cut(text, width, rows):
    assert plain(markdown_lines(text, width)) == rows


def test_narration_is_markdown():
    [line] = markdown_lines("what **zero_grad** does to `.grad`", 60)
    assert line.plain.strip() == "what zero_grad does to .grad"
    assert [span.text for span in line.spans if span.tone == "code"] == [".grad"]


def test_a_failure_stands_under_its_line():
    page = script.OpenScript("a.steps", ("forward", "backward", "step"), 3, frozenset({1, 2}), {2: FREED})
    rows = plain(script.draw(page, 60, 10).lines)
    assert rows[1].split() == ["✗", "2", "backward"]
    assert "backward through a freed graph" in rows[2]
    assert rows[-1].startswith("▶")


def test_phases_are_a_path():
    stop = Stop(4, phase="backward", torch="loss.backward()", done=("forward", "backward"), natural=("step",))
    line = status.phases(stop, status.Activity(), 120)
    words = "f forward ✓ ─ b backward ● ─ s step ─ z zero_grad loss.backward() space step"
    assert " ".join(line.plain.split()) == words
    assert "".join(s.text for s in line.spans if s.tone == "block") == " b backward ● "
    running = status.phases(stop, status.Activity(running="step"), 120)
    assert "".join(s.text for s in running.spans if s.tone == "block") == " s step ▶ "


# -- whatever comes --------------------------------------------------------------------------------------------------
def draw_all(name: str, width: int, height: int):
    rows = (
        ModelRow("module", name, "", 0, name),
        *(ModelRow("parameter", name, name, d, grad="x6, 1 used") for d in range(1, 60)),
    )
    node = NodeRow(0, name, name, None, name, name, (), "│ " * 50 + "●")
    views = vector((1.0, math.nan), name=name, path=name, dtype=name, row_labels=(name[:20], "1"))
    news = why.News(WhyView(1, name, name, name, (name,)), notice=name)
    yield model.draw(model_of(1, rows, 3), width, height)
    yield graph.draw(GraphView(1, "alive", 1, 0, (node,)), width, height)
    yield tensor.draw(views, width, height)
    yield tensor.draw(matrix(((1.0, -2.0), (math.nan, math.inf))), width, height)
    yield loss.draw(losses(1.0, 2.0), width, height)
    yield log.draw(log.output_entries(name), width, height)
    yield why.draw(news, width, height)
    yield why.draw(why.News(outcome=Outcome(Say(name), Stop())), width, height)
    yield script.draw(script.OpenScript(name, (name,), 1), width, height)
    for empty in (model, graph, tensor, loss, script):
        yield empty.draw(None, width, height)
    yield log.draw([], width, height)


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("size", [(120, 40), (34, 17), (12, 5), (3, 2), (1, 1), (1, 0)])
def test_nothing_breaks_or_overflows_whatever_the_names_and_the_size(name, size):
    width, height = size
    for drawing in draw_all(name, width, height):
        assert len(drawing.lines) <= max(height, 0)
        assert all(cell_len(line.plain) <= width for line in drawing.lines)
    if width == 120 and name.startswith("[red]"):
        assert all("[red]" in text(d) for d in list(draw_all(name, *size))[:3])


def test_a_hundred_thousand_rows_are_drawn_by_the_window():
    rows = tuple(ModelRow("parameter", f"w{i}", f"w{i}", 1) for i in range(100_000))
    drawing = model.draw(model_of(1, rows, 1), 60, 10, first=99_000)
    assert len(drawing.lines) == 10
    assert "w99000" in text(drawing)


def test_the_hint_stays_beside_a_long_line_of_pytorch():
    stop = Stop(
        2, torch="prediction = model(x); loss = loss_fn(prediction, target)", natural=("backward",), phase="forward"
    )
    assert status.phases(stop, status.Activity(), 120).plain.rstrip().endswith("space  backward")
    assert "prediction = model(x); …" in status.phases(stop, status.Activity(), 120).plain
    assert "loss = loss_fn(prediction, target)" in status.phases(stop, status.Activity(), 200).plain


def test_the_states_of_grad_stand_apart_from_the_shapes_on_a_narrow_screen():
    rows = (ModelRow("parameter", "weight", "0.weight", 1, "", (256, 784), norm=9.2, grad="x12, 11 used"),)
    header, line = plain(model.draw(model_of(1, rows, 200704), 34, 4).lines)[:2]
    assert "256×784 x12, 11 used" in line
    assert line.index("x12") == header.index(".grad")


@pytest.mark.parametrize("width", [34, 47, 80])
def test_a_parameter_deep_in_the_tree_keeps_its_name(width):
    rows = [ModelRow("module", f"m{i}", ".".join(["m"] * i), i, "Block") for i in range(7)]
    rows.append(ModelRow("parameter", "weight", "m.weight", 7, "", (30522, 768), norm=96.841, grad="fresh"))
    line = plain(model.draw(model_of(1, tuple(rows), 3), width, 12).lines)[8]
    assert " weight " in line
    assert " 30522×768 " in line


@pytest.mark.parametrize("width", [34, 46, 100])
def test_a_mark_says_whether_the_tensor_or_its_grad_changed(width):
    after_backward = ModelRow("parameter", "weight", "w", 1, shape=(2,), norm=9.2, grad="fresh", grad_changed=True)
    after_step = ModelRow("parameter", "bias", "b", 1, shape=(2,), norm=9.2, grad="stale", changed=True)
    rows = plain(model.draw(model_of(1, (after_backward, after_step), 4), width, 4).lines)
    assert " weight " in rows[1]
    assert rows[1].endswith(" fresh*")
    assert " bias* " in rows[2]
    assert rows[2].endswith(" stale")


@pytest.mark.parametrize("width", [40, 73])
def test_the_graph_says_how_many_of_its_rows_are_out_of_sight(width):
    view = GraphView(1, "alive", 6, 0, node_rows(False))
    assert graph.draw(view, width, 7, at=0).mark() == "↓ 1 more"
    assert graph.draw(view, width, 7, first=1, at=2).mark() == "↑ 1 more"
    drawing = graph.draw(view, width, 8, at=0)
    assert drawing.mark() == ""
    assert plain(drawing.lines)[-1].startswith("  #0 SumBackward0")
    assert all(cell_len(line.plain) <= narrow for narrow in range(1, 60) for line in graph.draw(view, narrow, 7).lines)
