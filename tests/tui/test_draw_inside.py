"""What a stop inside a phase looks like, drawn without a terminal: the stack, Source, Inside, Breakpoints, marks."""

from __future__ import annotations

import pytest
from fake_session import model_of
from msgspec import structs
from msgspec.structs import replace

from gradstep.tui.panels import breakpoints, inside, model, source
from gradstep.tui.panels.bars.position import place_words, stack_row
from gradstep.tui.panels.bars.status import Activity, phases
from gradstep.tui.render.lines import Line
from gradstep.values.outcomes import Stop
from gradstep.values.views import ModelRow
from gradstep.values.views.graph import NodeRow
from gradstep.values.views.inside import Breakpoint, BreakpointsView, InsideView, Passed, Position, SourceView

RELU = Position("backward", "node", "before", "ReluBackward0", "1", ("Sequential", "1 ReLU"), 7, 12, 15, "breakpoint 2")
LEAF = Position(
    "backward", "node", "after", "torch::autograd::AccumulateGrad", "2", ("2 Linear",), 4, 12, parameter="2.bias"
)
ENTER = Position("forward", "module", "enter", "Linear", "block.0", ("Net", "block Sequential", "block.0 Linear"))
OP = Position("forward", "op", "exit", "torch.relu", "1", ("Net", "1 ReLU"))


def text(line: Line) -> str:
    return line.plain.rstrip()


@pytest.mark.parametrize(
    ("position", "words"),
    [
        (RELU, "before #7 ReluBackward0"),
        (LEAF, "after #4 2.bias.grad"),
        (ENTER, "enter block.0 Linear"),
        (OP, "after relu"),
    ],
)
def test_a_place_in_words(position: Position, words: str) -> None:
    assert place_words(position) == words


def test_the_stack_names_phase_modules_place_and_reason() -> None:
    row = text(stack_row(RELU, 80))
    assert row.startswith("▶ backward ▸ Sequential ▸ 1 ReLU ▸ before #7 ReluBackward0 ")
    assert row.endswith("breakpoint 2")
    assert "#7 of 12" in text(stack_row(RELU, 80, alone=True))


def test_a_module_that_is_entered_is_not_named_twice() -> None:
    assert text(stack_row(ENTER, 100)) == "▶ forward ▸ Net ▸ block Sequential ▸ enter block.0 Linear"


def test_the_outer_modules_make_way_and_the_place_stays() -> None:
    row = text(stack_row(RELU, 52))
    assert row == "▶ backward ▸ … ▸ before #7 ReluBackward0  breakpoi…"
    assert all(len(text(stack_row(RELU, width))) <= width for width in range(20, 120))


def test_a_backward_inside_a_forward_is_named_between_the_two() -> None:
    inner = structs.replace(RELU, phase="forward", call="torch.autograd.grad")
    assert text(stack_row(inner, 100)).startswith("▶ forward ▸ autograd.grad ▸ ")
    assert all(len(text(stack_row(inner, width))) <= width for width in range(24, 120))
    row = text(phases(Stop(3, phase="forward", torch="prediction = model(x)", position=inner), Activity(), 120))
    assert "f forward ▶ #7 of 12 " in row
    assert "torch.autograd.grad" in row
    call = Position("forward", "op", "enter", "torch.autograd.grad")
    assert place_words(call) == "before autograd.grad"


def test_the_phase_that_is_stopped_inside_is_lit_with_its_line_of_torch() -> None:
    row = text(phases(Stop(3, phase="forward", torch="prediction = model(x)", position=RELU), Activity(), 120))
    assert "b backward ▶ #7 of 12 " in row
    assert "loss.backward()" in row
    assert "forward ●" not in row


def test_source_marks_the_line_and_cuts_long_ones() -> None:
    lines = ("def forward(self, x):", "    return self.head(torch.relu(self.body(x)))", "")
    view = SourceView(1, "/home/me/net.py", 10, lines, 11, "forward")
    drawing = source.draw(view, 30, 3, 9)
    assert drawing.about == "net.py:11 forward"
    assert [text(line) for line in drawing.lines] == [
        "  10  def forward(self, x):",
        "▶ 11      return self.head(to…",
        "  12",
    ]
    assert [line.here for line in drawing.lines] == [False, True, False]
    assert text(source.draw(view, 30, 3, 9, left=4).lines[1]) == "▶ 11  return self.head(torch.…"
    assert text(source.draw(view, 30, 3, 9, left=4).lines[0]) == "  10  …orward(self, x):"


def test_a_long_line_takes_its_room_from_the_indent_that_all_lines_share() -> None:
    lines = ("    def forward(self, x):", "", "        return self.head(self.body(x))")
    assert source.spare_indent(lines, lines[2], 30) == 4
    assert source.spare_indent(lines, lines[2], 36) == 2
    assert source.spare_indent(lines, lines[2], 80) == 0
    assert source.spare_indent(("loss = f(x)", lines[2]), lines[2], 10) == 0


def test_source_says_why_there_is_no_line() -> None:
    assert text(source.draw(SourceView(1, note="no line made it"), 40, 3).lines[0]) == "  no line made it"


ROWS = (
    Breakpoint(1, "node", "Relu*", hits=2),
    Breakpoint(2, "module", "block.*", "exit", enabled=False),
    Breakpoint(12, "grad", "0.weight", ignore=3),
)


def test_breakpoints_are_listed_with_hits_and_the_one_that_was_hit_is_lit() -> None:
    drawing = breakpoints.draw(BreakpointsView(1, ROWS), 60, 6, at=1, hit=1)
    assert drawing.about == "3 breakpoints, 1 off"
    rows = [text(line) for line in drawing.lines]
    assert rows[1].startswith("   1 ◉ node Relu*")
    assert "stopped here  2" in rows[1]
    assert rows[2].startswith("▶  2 ◌ module block.* exit (off)")
    assert rows[3].endswith("0      3")
    assert any(span.tone == "now" for span in drawing.lines[1].spans)
    assert "No breakpoints yet. B sets one" in text(breakpoints.draw(None, 80, 4, key="B").lines[0])


def test_a_row_has_the_mark_of_the_breakpoint_that_stands_on_it() -> None:
    relu = NodeRow(7, "ReluBackward0", "relu", (), "1 ReLU", "", (), "●")
    leaf = NodeRow(9, "AccumulateGrad", "0.weight.grad", (), "0", "0.weight", (), "◆")
    fold = NodeRow(9, "Conv", "Conv", (), "block.1", "", (), "■", path="block.1", group="block.1/0")
    assert breakpoints.of_node(ROWS, relu) is ROWS[0]
    assert breakpoints.of_node(ROWS, leaf) is ROWS[2]
    assert breakpoints.of_node(ROWS, fold) is ROWS[1]
    assert breakpoints.of_node((Breakpoint(1, "node", "#7"),), relu) is not None
    assert breakpoints.of_node((Breakpoint(1, "node", "#8"),), relu) is None


def test_model_lights_what_runs_and_marks_breakpoints() -> None:
    rows = (
        ModelRow("module", "Net", "", 0, "Net"),
        ModelRow("module", "block", "block", 1, "Sequential"),
        ModelRow("module", "0", "block.0", 2, "Linear"),
    )
    drawn = model.draw(model_of(1, rows, 10), 50, 6, at=1, running="block.0", breakpoints=ROWS)
    assert text(drawn.lines[3]).endswith("▶ here")
    assert "◌" in drawn.lines[3].plain[:2]
    assert not text(drawn.lines[2]).endswith("here")


PASSED = InsideView(
    1,
    OP,
    (
        Passed("op.in[0]", (2, 3), "float32", 2.0, -1.0, 1.0, 0.0, 0.5, 1, requires_grad=True),
        Passed("op.in[1]", text="2"),
    ),
    (Passed("op.out", (2, 3), "float32", float("nan"), nans=6, why_not="grad mode is off"),),
    ("0.weight",),
    grad_mode=False,
    autocast="bfloat16",
)


def test_inside_shows_what_is_passed_and_why_no_gradient_is_needed() -> None:
    drawing = inside.draw(PASSED, 100, 10, at=0)
    rows = [text(line) for line in drawing.lines]
    assert drawing.about == "after relu"
    assert rows[0].split() == [
        "passed",
        "shape",
        "norm",
        "needs",
        "grad",
        "min",
        "max",
        "mean",
        "std",
        "zeros",
        "dtype",
    ]
    assert rows[1].split() == [
        "▶",
        "op.in[0]",
        "2×3",
        "2.000",
        "yes",
        "−1.0000",
        "+1.0000",
        "0",
        "0.5000",
        "1",
        "float32",
    ]
    assert rows[2].split() == ["op.in[1]", "2"]
    assert rows[3].split()[:4] == ["op.out", "2×3", "NaN", "no"]
    assert "  uses: 0.weight" in rows
    assert "  op.out does not require grad: grad mode is off" in rows
    outputs = tuple(replace(PASSED.outputs[0], name=f"op.out[{i}]") for i in range(16))
    told = " ".join(" ".join(map(text, inside.draw(replace(PASSED, outputs=outputs), 120, 40).lines)).split())
    assert told.count("not require grad") == 1
    assert "op.out[0] and 15 others do not require grad: grad mode is off" in told
    assert "  grad mode off: no graph is recorded; autocast bfloat16" in rows


@pytest.mark.parametrize("width", [20, 38, 45, 60, 100, 200])
@pytest.mark.parametrize("height", [1, 3, 7, 20])
def test_everything_keeps_to_its_place(width: int, height: int) -> None:
    view = SourceView(1, "net.py", 1, tuple("x" * n for n in range(40)), 20)
    for drawing in (
        inside.draw(PASSED, width, height),
        source.draw(view, width, height, 3, 2),
        breakpoints.draw(BreakpointsView(1, ROWS), width, height, hit=2),
        breakpoints.draw(None, width, height),
    ):
        assert len(drawing.lines) <= height
        assert all(len(line.plain) <= width for line in drawing.lines)


@pytest.mark.parametrize("width", [30, 46, 72])
def test_source_says_all_of_why_there_is_no_line_on_as_many_rows_as_it_takes(width: int) -> None:
    note = "Sequential: torch and gradstep run it, not a line of your code"
    rows = [text(line) for line in source.draw(SourceView(1, note=note), width, 8).lines]
    assert " ".join(row.strip() for row in rows) == note
    assert all(len(row) < width for row in rows)


def test_a_tiny_mean_keeps_its_digits() -> None:
    rows = (Passed("node.in", (2, 3), "float32", 2.0, -1.0, 1.5, -2.3e-9, 0.5), Passed("node.in[1]", (2,), mean=0.25))
    shown = [text(line) for line in inside.draw(InsideView(1, RELU, rows), 120, 10).lines]
    assert "−2.300e−09" in shown[1]
    assert "+0.2500" in shown[2]
    assert "mean −2.300e−09" in inside.describe(rows[0], 120)
