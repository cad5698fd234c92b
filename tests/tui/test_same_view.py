"""A panel whose view shows nothing new is not drawn again."""

from __future__ import annotations

from msgspec.structs import replace

from gradstep.tui.panels.optimizer import OptimizerPanel
from gradstep.values.views import NoView
from gradstep.values.views.training import GroupRow, OptimizerView

VIEW = OptimizerView(1, "SGD", (GroupRow(0, 4, 203_530, 0.001, (), (("momentum", "0"),)),))


def words(panel: OptimizerPanel) -> str:
    return "\n".join(line.plain for line in panel._drawing(60, 10).lines)


def test_the_same_view_of_a_later_stop_is_drawn_once() -> None:
    panel = OptimizerPanel()
    panel.assign(VIEW)
    drawn = panel._drawing(60, 10)
    panel.assign(replace(VIEW, stop=2))
    assert panel._drawing(60, 10) is drawn


def test_another_view_size_focus_or_place_is_drawn_anew() -> None:
    panel = OptimizerPanel()
    panel.assign(VIEW)
    assert "lr 0.001" in words(panel)
    panel.assign(replace(VIEW, stop=2, groups=(replace(VIEW.groups[0], rate=0.5),)))
    assert "lr 0.5" in words(panel)
    drawn = panel._drawing(60, 10)
    for change in ({"width": 50}, {"focused": True}, {"first": 1}):
        panel.assign(replace(panel.view, stop=3))
        panel.focused, panel.first = change.get("focused", False), change.get("first", 0)
        assert panel._drawing(change.get("width", 60), 10) is not drawn
        panel.focused, panel.first = False, 0


def test_what_was_not_assigned_just_now_is_drawn_anew() -> None:
    panel = OptimizerPanel()
    panel.assign(VIEW)
    panel.assign(replace(VIEW, stop=2))
    drawn = panel._drawing(60, 10)
    assert panel._drawing(60, 10) is not drawn  # a key has moved something
    panel.assign(NoView(3, "the optimizer is gone"))
    assert "the optimizer is gone" in words(panel)
    panel.assign(VIEW)
    assert "SGD" not in words(panel)
    assert "lr 0.001" in words(panel)
