"""Timeline, Compare, the row of the past and the losses of two branches, drawn without a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gradstep.tui.panels import compare, loss, timeline
from gradstep.tui.panels.bars.past import past_row
from gradstep.tui.panels.bars.status import Activity, status
from gradstep.tui.panels.loss import PlotStyle
from gradstep.tui.render.lines import Line, plain
from gradstep.values.outcomes import Stop
from gradstep.values.views import LossPoint, LossView
from gradstep.values.views.timeline import (
    CompareLoss,
    CompareRow,
    CompareView,
    TimelineBranch,
    TimelineRow,
    TimelineView,
)

ROWS = (
    TimelineRow(1, "", "", "main", 0, memory=4096, way=True),
    TimelineRow(2, "forward", "forward", "main", 1, 0, 127.7652, memory=1024, kept=False, way=True),
    TimelineRow(3, "backward", "backward", "main", 2, 0, 127.7652, "4 .grad", 800, way=True, here=True, ends=("hot",)),
    TimelineRow(4, "step", "step", "main", 2, 1, 127.7652, "4 weights", 800, reachable=False, ends=("main",)),
    TimelineRow(5, "forward", "forward", "hot", 3, 1, math.nan, undone=True, way=True),
)
BRANCHES = (TimelineBranch("main", 4, 1, 127.7652), TimelineBranch("hot", 3, 0, 127.7652, True))
VIEW = TimelineView(3, ROWS, 5, 0, BRANCHES, 6144, 1 << 30)


def rows(lines: list[Line]) -> list[str]:
    return [" ".join(line.split()) for line in plain(lines)]


def spans(lines: list[Line]) -> Iterator[tuple[str, str]]:
    return ((span.text, span.tone) for line in lines for span in line.spans)


def test_a_timeline_says_where_it_is_what_is_kept_and_what_was_undone() -> None:
    about, lines, total, *_ = timeline.draw(VIEW, 80, 10, at=2)
    assert about == "5 stops, 2 branches, 6 KiB of 1 GiB"
    over = replace(VIEW, spent=0.194, share=0.2)
    assert timeline.draw(over, 80, 10, at=2).about == "5 stops, 2 branches, 6 KiB of 1 GiB, time 19% of 20%"
    assert total == 5
    assert rows(lines)[:6] == [
        "command loss changed",
        "1 ○ initial state",
        "2 ◇─╮ forward 127.7652",
        "▶ 3 ● │ backward [hot] ◂ now 127.7652 4 .grad",
        "4 │ ✗ step [main] 127.7652 4 weights",
        "5 ○ forward NaN undone",
    ]
    assert rows(lines)[-1] == "stop 3, iteration 0, 4 .grad, 800 B kept"
    assert ("NaN", "odd") in spans(lines)
    assert lines[3].here


@pytest.mark.parametrize(
    ("at", "words"), [(1, "not kept: reached by running commands again"), (3, "can no longer be reached")]
)
def test_its_foot_says_how_a_stop_is_reached(at: int, words: str) -> None:
    assert words in rows(timeline.draw(VIEW, 80, 10, at=at).lines)[-1]


def test_a_marked_stop_has_a_sign() -> None:
    assert rows(timeline.draw(VIEW, 80, 10, marked=1).lines)[1].startswith("*1 ○")


@pytest.mark.parametrize("width", [20, 34, 43, 44, 60, 120])
@pytest.mark.parametrize("height", [1, 3, 6, 20])
def test_every_row_is_as_wide_as_the_panel_and_the_cursor_is_among_them(width: int, height: int) -> None:
    lines = timeline.draw(VIEW, width, height, at=4).lines
    assert len(lines) <= height
    assert {len(line.plain) for line in lines} <= {0, width}
    assert height < 2 or any(line.here for line in lines)


def test_the_name_of_a_branch_stays_where_there_is_little_room() -> None:
    [here] = [row for row in rows(timeline.draw(VIEW, 36, 10, at=2).lines) if row.startswith("▶")]
    assert "[hot]" in here
    assert "now" not in here


def test_without_a_history_it_says_why() -> None:
    none = TimelineView(3, (), 0, 0, (), 0, 0, "no history is kept: start with --history 1GiB")
    assert "--history 1GiB" in rows(timeline.draw(none, 60, 5).lines)[0]


def test_the_status_line_keeps_the_optimizer_beside_the_place_in_the_timeline() -> None:
    stop = Stop(
        16, "mlp", "cpu", "float32", 0, loss=15.2778, loss_change=-12.957, optimizer="SGD", lr=(0.001,), ahead=8
    )
    [text] = plain([status(stop, Activity(), 120)])
    assert "SGD  lr 0.001" in text
    assert text.endswith("+8 ahead  stop 16")
    [text] = plain([status(replace(stop, branch="lr-0.01"), Activity(), 120, branched=True)])
    assert text.endswith("+8 ahead  lr-0.01  stop 16")


def test_the_row_of_the_past_says_which_moment_and_how_to_leave() -> None:
    assert rows([past_row(ROWS[2], 9, 120, "enter", "esc")]) == [
        "PAST: stop 3 after backward, on main; the session stays where it is enter goes there, esc back to stop 9"
    ]
    assert rows([past_row(ROWS[2], 9, 60, "enter", "esc")]) == ["PAST: stop 3 after backward enter goes, esc back"]


ONE, OTHER = (
    tuple(CompareLoss(i, 4.0 - i, i + 1) for i in range(3)),
    tuple(CompareLoss(i, 4.0, i + 1) for i in range(3)),
)
PAIR = CompareView(
    9,
    4,
    9,
    2,
    (
        CompareRow("0.weight", "parameter", "norm 9.250", "norm 9.397", 1.208, -0.0202, (131, 565), 100, 200704),
        CompareRow("0.weight.grad", "grad", "none", "norm 144.9391"),
    ),
    ("lr: 0.1 and 0.01",),
    6,
    2.0,
    4.0,
    ONE,
    OTHER,
    ("main", "hot"),
)


def test_a_comparison_has_both_losses_on_one_plot_and_what_differs() -> None:
    about, lines, *_ = compare.draw(PAIR, 100, 20, at=0)
    assert about == "2 of 8 tensors differ, fork at stop 2"
    text = rows(lines)
    assert text[0] == "× main, stop 4 loss 2.0000"
    assert text[1] == "● hot, stop 9 loss 4.0000 (+2.0000)"
    assert sum(row.count("×") for row in text[2:]) == 2  # the first loss is the same in both
    assert "lr: 0.1 and 0.01" in text
    assert "▶ 0.weight norm 9.250 norm 9.397 1.208 −0.0202" in text
    assert "0.weight.grad none norm 144.9391 was none" in text
    assert text[-1] == "0.weight, largest difference −0.0202 at [131, 565], 100 of 200,704 elements differ"


def test_on_a_narrow_screen_the_sides_make_way_for_the_difference() -> None:
    text = rows(compare.draw(PAIR, 40, 10, at=1).lines)
    assert "0.weight 1.208" in text
    assert "▶ 0.weight.grad was none" in text
    assert text[-1].startswith("0.weight.grad, none and norm 144.93")


def test_two_points_that_are_the_same_are_said_to_be() -> None:
    same = CompareView(9, 4, 4, 4, (), (), 8, 2.0, 2.0, names=("4", "main"))
    assert "Identical, bit for bit" in " ".join(rows(compare.draw(same, 80, 8).lines))


def test_the_losses_of_another_branch_stand_behind_those_of_this_one() -> None:
    own = tuple(LossPoint(i + 1, i, 4.0 - i) for i in range(3))
    longer = tuple(LossPoint(i + 1, i, 4.0 - i / 2) for i in range(6))
    _, lines, *_ = loss.draw(LossView(9, own, 3, beside=longer), 60, 12, PlotStyle(names=("hot", "main")))
    text = plain(lines)
    assert text[-1].strip() == "● hot 2.0000   × main 1.5000"
    assert sum(row.count("×") for row in text[:-1]) == 5
    last = max(row.rfind("×") for row in text[:-1])
    assert last > max(row.rfind("●") for row in text[:-1])
    assert text[-2].split() == ["1", "2", "3"]
    assert ("×", "dim") in spans(lines)


def test_many_losses_of_another_branch_keep_their_glyph() -> None:
    own = tuple(LossPoint(i + 1, i, 4.0 + i % 7) for i in range(200))
    other = tuple(LossPoint(i + 1, i, 12.0 if i < 199 else math.nan) for i in range(200))
    _, lines, *_ = loss.draw(LossView(9, own, 200, beside=other), 60, 12, PlotStyle(names=("hot", "main")))
    text = plain(lines)
    assert text[1].count("×") > 30
    assert "N" in text[1]
    assert any("⠀" < glyph <= "⣿" for row in text for glyph in row)
