"""What the panel Contributions draws, on plain strings."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from gradstep.tui.panels import contributions
from gradstep.tui.render.lines import plain
from gradstep.values.views.contributions import Contribution, ContributionsView, Total
from gradstep.values.views.inside import SourceLine

LINE = SourceLine("/home/me/rnn.py", 31, "forward", "state = self.cell(now, state)")
SHARES = (0.625, 0.5, -0.125)
ROWS = tuple(
    Contribution(9 + 8 * i, 0, "TBackward0", "Wᵀ", "cell RNNCell", 3 - i, 3, i, 0, (16, 16), 0.5 * (i + 1), share, LINE)
    for i, share in enumerate(SHARES)
)
VIEW = ContributionsView(
    4,
    30,
    "AccumulateGrad",
    "cell.weight_hh.grad",
    "cell RNNCell",
    "cell.weight_hh",
    "fresh",
    count=3,
    rows=ROWS,
    greatest=0.625,
    opposed=True,
    totals=(Total(0, (16, 16), 3, 2.25),),
)


def text(view: ContributionsView | None, width: int = 100, height: int = 14, at: int = 0) -> list[str]:
    return plain(contributions.draw(view, width, height, 0, at).lines)


def test_each_gradient_has_where_it_came_from_its_norm_and_its_share() -> None:
    lines = text(VIEW)
    assert lines[0].split() == ["#", "from", "made", "in", "line", "norm", "share"]
    assert lines[1].split()[:9] == ["▶", "#9", "Wᵀ", "cell", "RNNCell", "3/3", "rnn.py:31", "0.500", "+62.50%"]
    assert lines[3].split()[-3:] == ["1.500", "−12.50%", "━━│"]
    assert contributions.draw(VIEW, 100, 14).about == "cell.weight_hh.grad, fresh: 3 gradients meet"


def test_without_a_share_below_0_the_bars_begin_at_the_left() -> None:
    assert text(VIEW)[1].index("│") > text(replace(VIEW, opposed=False))[1].index("│")


def test_their_sum_is_what_the_engine_used() -> None:
    assert " ".join(text(VIEW)[4].split()) == "= sum of 3 16×16 2.250 what autograd used, bit for bit"
    hooked = replace(VIEW, totals=(replace(VIEW.totals[0], exact=False),))
    assert "NOT what autograd used" in text(hooked)[4]
    assert "a hook changed the sum" in "\n".join(text(hooked))


def test_the_shape_of_a_sum_does_not_run_into_its_norm() -> None:
    row = Contribution(5, 0, "TBackward0", "Wᵀ", "2 Linear", norm=200.6, share=1.0)
    one = replace(VIEW, count=1, rows=(row,), totals=(Total(0, (10, 256), 1, 200.6),))
    for width in range(40, 110):
        total = next(line for line in text(one, width) if "sum of 1" in line)
        assert " 200.600" in total


def test_the_row_under_the_cursor_is_described() -> None:
    assert text(VIEW, at=1)[-1] == "  #17 TBackward0, edge 0  16×16  rnn.py:31  state = self.cell(now, state)"


def test_of_several_outputs_each_has_its_sum() -> None:
    rows = (*ROWS, replace(ROWS[0], output=1, share=1.0, place=3))
    several = replace(VIEW, count=4, rows=rows, greatest=1.0, totals=(VIEW.totals[0], Total(1, (16,), 1, 0.5)))
    lines = text(several)
    assert "output" in lines[0]
    assert lines[6].split()[:6] == ["=", "sum", "of", "1", "16", "1"]
    many = replace(several, totals=tuple(Total(i) for i in range(9)))
    assert "… and 5 more sums, of other outputs" in "\n".join(text(many, height=20))


def test_thousands_of_time_steps_are_a_window_with_their_sum_in_sight() -> None:
    view = replace(VIEW, count=10_000, first=5_000, totals=(Total(0, (16, 16), 10_000, 2.25),))
    drawing = contributions.draw(view, 80, 12, 5_001, 5_001)
    lines = plain(drawing.lines)
    assert lines[1].startswith("▶ #17"), "the window begins at row 5,000"
    assert lines[3].strip() == "…", "what has not come yet"
    assert "sum of 10,000" in "\n".join(lines)
    assert drawing.mark().startswith("↑ 5,001 ↓ 4,991 more")


def test_an_accumulated_grad_and_an_empty_panel_say_what_they_are() -> None:
    assert ".grad is x3: this is what the last backward added to it" in "\n".join(text(replace(VIEW, grad="x3")))
    none = ContributionsView(4, note="nothing has arrived yet: b runs the backward")
    assert text(none) == ["  nothing has arrived yet: b runs the backward"]
    assert text(None) == ["  Nothing is loaded yet."]


@pytest.mark.parametrize("width", [20, 31, 45, 63, 80, 113])
@pytest.mark.parametrize("height", [0, 1, 3, 7, 20])
def test_it_fits_whatever_room_there_is(width: int, height: int) -> None:
    odd = replace(
        ROWS[0], norm=float("inf"), share=float("nan"), operation="日本語" * 9, module="a.b.c." * 9 + " Linear"
    )
    view = replace(VIEW, rows=(odd, replace(ROWS[1], share=None, norm=None), ROWS[2]))
    lines = contributions.draw(view, width, height, 0, 2).lines
    assert len(lines) <= height
    assert all(cell_len(line.plain) == width for line in lines)
