"""Model's cursor in a tree of which the panel has only a window."""

from __future__ import annotations

from msgspec.structs import replace
from textual.geometry import Size

from gradstep.tui.panels.model import ModelPanel
from gradstep.values.outcomes import Stop
from gradstep.values.views import LookModel, ModelRow, ModelView
from gradstep.values.views.inside import Position

ROWS = tuple(ModelRow("parameter", f"p{i}", f"m.p{i}", 1) for i in range(1000))


class Large(ModelPanel):
    """A panel of 22 rows, whose requests are answered from `ROWS`."""

    size = Size(60, 22)
    selected_place = -1

    def __init__(self) -> None:
        super().__init__()
        self.answer()

    def answer(self) -> int:
        """Answer requests until there is no other; return how many were made."""
        for made in range(5):
            request = self.request()
            assert isinstance(request, LookModel)
            if request == self.shown_request:
                return made
            at = next((i for i, row in enumerate(ROWS) if row.path == request.near), -1)
            first = max(0, min(request.first if at < 0 else at - request.count // 2, len(ROWS) - request.count))
            rows, place = ROWS[first : first + request.count], self.selected_place
            path = ROWS[place].path if place >= 0 else ""
            after = len(ROWS) - first - len(rows)
            self.assign(ModelView(1, rows, 9, first, after, 1, (), path, place, request.near, at))
            self.shown_request = request
        raise AssertionError("it asks without end")

    def shown(self) -> str:
        return "\n".join(line.plain for line in self.draw(60, 21).lines)


def test_moving_asks_for_the_rows_in_sight_and_not_at_each_row() -> None:
    panel = Large()
    assert len(panel.view.rows) < 200
    asked = 0
    for _ in range(300):
        panel.move(1)
        asked += panel.answer()
        assert panel.here == ROWS[panel.at]
    assert panel.at == 300
    assert asked < 15
    panel.move(10_000)
    assert panel.here is None
    assert "…" in panel.shown()
    assert panel.chosen == panel.pointed == ""
    assert panel.answer() == 1
    assert panel.here == ROWS[-1]
    assert "…" not in panel.shown()


def test_the_cursor_goes_to_a_row_that_is_far_away_when_it_arrives() -> None:
    panel = Large()
    assert panel.point("m.p700")
    assert (panel.at, panel.pointed, panel.chosen) == (-1, "m.p700", "")
    assert not panel.point("m.p700"), "it is on its way"
    panel.answer()
    assert (panel.here, panel.chosen) == (ROWS[700], "m.p700")
    assert "▶" in panel.shown()
    assert panel.point("m.p710"), "in the window"
    assert panel.here == ROWS[710]
    panel.point("m.nothing")
    panel.answer()
    assert (panel.here, panel.sought) == (ROWS[710], "")


def test_a_key_pressed_on_the_way_stops_it() -> None:
    panel = Large()
    panel.point("m.p700")
    panel.move(3)
    panel.answer()
    assert panel.at == 3


def test_a_selection_and_a_stop_that_are_far_away_are_shown() -> None:
    panel = Large()
    panel.selected_place, panel.shown_request = 900, None
    panel.answer()
    assert (panel.here, panel.selected) == (ROWS[900], "m.p900")
    panel.follow(Stop(2, position=Position("backward", "node", "before", "AccumulateGrad", parameter="m.p100")))
    panel.assign(replace(panel.view, stop=2))
    panel.answer()
    assert panel.here == ROWS[100]
    panel.follow(Stop(3))
    panel.assign(replace(panel.view, stop=3))
    panel.answer()
    assert panel.here == ROWS[900], "back, after the phase"
