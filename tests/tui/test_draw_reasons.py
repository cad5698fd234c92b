"""The ledger and the formulas of Why, drawn as plain strings."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from gradstep.tui.panels import ledger, why
from gradstep.tui.panels.formulas import formula_rows
from gradstep.tui.render.lines import plain
from gradstep.values.commands import Undo
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import WhyView
from gradstep.values.views.ledger import FormulaLine, LedgerRow, LedgerView

ONE = LedgerView(
    1,
    "2.weight.grad[0, 3]",
    (0, 3),
    "float32",
    "fresh",
    (
        LedgerRow("cleared", "zero_grad"),
        LedgerRow("backward", "backward 1", None, 0.3151, 0.3151, 29.74, 6, 4.4743),
    ),
    0.3151,
    29.74,
)
FIVE = LedgerView(
    1,
    "2.weight.grad[0, 3]",
    (0, 3),
    "float32",
    "x3, 1 used",
    (
        LedgerRow("cleared", "zero_grad", after=0.0, norm=0.0),
        LedgerRow("backward", "backward 1", 0.0, 4.314, 4.314, 200.601, 1, 127.7652, 1),
        LedgerRow("step", "step", 4.314, None, 4.314),
        LedgerRow("backward", "backward 2", 4.314, -1.1825, 3.1315, 87.439, 2, 52.365),
        LedgerRow("backward", "backward 3", 3.1315, None, None, None, 3, 51.0, 0, "this element was not recorded"),
    ),
    2.0,
    90.0,
)


def lines(view: LedgerView | None, width: int, height: int, back: int = 0) -> list[str]:
    return plain(ledger.draw(view, width, height, back).lines)


def test_one_backward_is_read_at_a_glance():
    assert lines(ONE, 46, 6) == [
        "  event          element     norm     loss",
        "  zero_grad         none     none",
        "▶ + backward 1   +0.3151   29.740   4.4743",
        "  = .grad        +0.3151   29.740",
    ]


def test_a_wide_ledger_adds_up_line_by_line():
    assert lines(FIVE, 100, 12) == [
        "  event                   adds       sum      norm       loss",
        "  zero_grad                            0         0",
        "  + backward 1, used   +4.3140   +4.3140   200.601   127.7652",
        "  · step                         +4.3140",
        "  + backward 2         −1.1825   +3.1315    87.439    52.3650",
        "▶ + backward 3               ·         ·              51.0000",
        "  = .grad                        +2.0000    90.000",
        "  this element was not recorded",
    ]


def test_a_low_ledger_shows_the_newest_rows_and_the_sum():
    seen = lines(FIVE, 60, 4)
    assert [line.split()[1] for line in seen[1:]] == ["backward", "+", ".grad"]
    assert "backward 3" in seen[2]
    back = lines(FIVE, 60, 4, back=2)
    assert "backward 1" in back[1]
    assert back[-1].split()[:2] == ["=", ".grad"]


def test_nothing_yet_says_what_to_press():
    view = LedgerView(1, "2.weight.grad[0, 3]", (0, 3), "float32", "none", (LedgerRow("start", "no backward yet"),))
    assert "press f, then b" in lines(view, 46, 6)[0]
    assert lines(LedgerView(1, note="choose a parameter"), 46, 6) == ["  choose a parameter"]
    assert lines(None, 46, 6) == ["  Nothing is loaded yet."]


@pytest.mark.parametrize("width", [1, 5, 12, 24, 34, 46, 80, 120])
@pytest.mark.parametrize("height", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("view", [ONE, FIVE], ids=["one", "five"])
def test_the_ledger_fits_in_any_size(view, width, height):
    drawn = ledger.draw(view, width, height).lines
    assert len(drawn) <= height
    assert all(cell_len(line.plain) == width for line in drawn)


TWO = (
    FormulaLine(".grad", "before + this backward", "none + +0.3151", "+0.3151"),
    FormulaLine("step would give", "w − lr · .grad", "−0.0073 − 0.001 × +0.3151", "−0.0076"),
)


def test_formulas_stand_below_each_other_with_their_numbers():
    assert plain(formula_rows(TWO, 100)) == [
        "  .grad = before + this backward    = none + +0.3151 = +0.3151",
        "  step would give  w − lr · .grad   = −0.0073 − 0.001 × +0.3151 = −0.0076",
    ]


def test_what_is_too_long_takes_a_row_more():
    assert plain(formula_rows(TWO[1:], 46)) == [
        "  step would give  w − lr · .grad",
        "    = −0.0073 − 0.001 × +0.3151 = −0.0076",
    ]


def test_notes_stand_where_the_numbers_would():
    note = FormulaLine("w", "w − lr · .grad", note="not shown: torch computed +0.9000, the formula gives +0.9500")
    assert plain(formula_rows([note], 100)) == [
        "  w = w − lr · .grad   not shown: torch computed +0.9000, the formula gives +0.9500"
    ]
    assert len(formula_rows([note], 40)) == 3
    lost = FormulaLine("w", "w − lr", "+1.0 − 0.1", "+1.0", "w stays")
    assert plain(formula_rows([lost], 60)) == ["  w = w − lr   = +1.0 − 0.1 = +1.0   w stays"]


def test_a_combining_hat_takes_no_cell_of_its_own():
    (line,) = formula_rows([FormulaLine("m̂", "m / (1 − β₁^t)", "+0.1 / (1 − 0.9^2)", "+0.5")], 80)
    assert cell_len(line.plain) == 80


@pytest.mark.parametrize("width", [1, 3, 8, 20, 46, 80, 120])
def test_formulas_fit_in_any_width(width):
    note = FormulaLine("w", "w − lr · .grad", note="not shown: " + "x" * 100)
    for line in formula_rows([*TWO, note, FormulaLine("e\u202e", "[red]", "\x1b[31m", "a\nb", "n" * 50)], width):
        assert cell_len(line.plain) == width
        assert not set(line.plain) & set("\x1b\n\u202e")


def test_why_says_the_sentence_then_the_arithmetic_then_the_facts():
    view = WhyView(1, "backward", "backward() wrote .grad.", "loss.backward()", ("a fact",), "2.weight.grad[0, 3]", TWO)
    drawn = why.draw(why.News(view), 100, 6)
    assert drawn.about == "2.weight.grad[0, 3]"
    assert [line.split()[0] for line in plain(drawn.lines)] == ["backward()", ".grad", "step", "a"]
    assert drawn.lines[0].spans[1].tone == "bright"


WAYS = (
    FormulaLine("Jᵀv for b", "v", note="→ 2.bias.grad (#4)"),
    FormulaLine("Jᵀv for x", "v W", note="→ relu of 1 ReLU (#7)"),
    FormulaLine("Jᵀv for Wᵀ", "xᵀ v", note="→ Wᵀ of 2 Linear (#5)"),
)


def test_what_a_command_printed_is_not_said_once_more() -> None:
    view = WhyView(2, "edited", "lr is 0.5, it was 0.1.", "", ("a fact",))
    outcome = Outcome(Undo(), Stop(), text="lr is 0.5, it was 0.1")
    assert plain(why.draw(why.News(view, outcome), 60, 6).lines) == ["  lr is 0.5, it was 0.1", "  a fact"]
    hit = WhyView(2, "log", "log ran.", "", ("stopped by breakpoint 1: log",))
    drawn = why.draw(why.News(hit, notice="stopped in turn 2 of 9 by breakpoint 1: log; c resumes"), 60, 6).lines
    assert sum("breakpoint 1" in line for line in plain(drawn)) == 1
    assert "stopped by breakpoint 1" in "".join(plain(why.draw(why.News(hit), 60, 6).lines))
    other = Outcome(Undo(), Stop(), text="back at stop 2")
    assert len(why.draw(why.News(view, other), 60, 6).lines) == 3


def test_where_gradients_go_stands_beside_each_other_where_there_is_room():
    assert plain(formula_rows(WAYS, 100)) == [
        "  Jᵀv for b = v → 2.bias.grad (#4)   Jᵀv for x = v W → relu of 1 ReLU (#7)",
        "  Jᵀv for Wᵀ = xᵀ v → Wᵀ of 2 Linear (#5)",
    ]
    assert plain(formula_rows(WAYS[2:], 34)) == ["  Jᵀv for Wᵀ = xᵀ v", "    → Wᵀ of 2 Linear (#5)"]
    assert all(cell_len(line.plain) <= width for width in range(1, 130) for line in formula_rows(WAYS, width))


def test_a_long_sentence_makes_way_for_where_the_gradients_go():
    view = WhyView(1, "#3 AddmmBackward0", "It is about to run. " * 12, "", ("stopped by breakpoint 1",), lines=WAYS)
    shown = plain(why.draw(why.News(view), 100, 4).lines)
    assert shown[1].endswith("…")
    assert "2.bias.grad (#4)" in shown[2]
    assert "Wᵀ of 2 Linear (#5)" in shown[3]
    assert plain(why.draw(why.News(view), 100, 6).lines)[2].count("run.") > 0
