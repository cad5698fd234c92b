"""The Findings panel: the list, the finding under the cursor in full, and Enter that goes to its place."""

from __future__ import annotations

from typing import Any

import pytest

from gradstep.tui.panels.findings import FindingsPanel, draw
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.render.lines import plain
from gradstep.values.findings import Finding, Where
from gradstep.values.views.findings import FindingsView
from gradstep.values.views.inside import SourceView

ROWS = (
    Finding(
        "zero-grad-missing",
        "error",
        "What one.",
        "Why one.",
        "Remedy one.",
        Where(file="/a/train.py", line=11),
        {},
        1,
        9,
        9,
    ),
    Finding(
        "update-ratio-high",
        "warning",
        "What two.",
        "Why two.",
        "Remedy two.",
        Where(parameter="0.weight", panel="layers"),
    ),
    Finding("weight-decay", "hint", "What three.", "Why three.", "Remedy three.", Where(node=4, panel="graph")),
)
VIEW = FindingsView(3, ROWS, rules=40)


class Pressed:
    """Notes what a panel asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.asked.append((name, *given))


@pytest.mark.parametrize(("width", "height"), [(40, 8), (70, 20), (110, 30)])
def test_each_finding_has_a_row_and_the_one_under_the_cursor_is_told_in_full(width: int, height: int) -> None:
    drawn = draw(VIEW, width, height, 0, 1)
    text = "\n".join(plain(drawn.lines))
    assert len(drawn.lines) <= height
    assert drawn.about == "1 error, 1 warning, 1 hint"
    assert "What two." in text
    assert "What one." not in text
    if width >= 70:
        assert "train.py:11" in text
        assert "iterations 1–9, 9×" in text
        assert "Remedy two." in text


def test_without_findings_it_says_what_watches() -> None:
    text = "\n".join(plain(draw(FindingsView(1, rules=40, off=("a",)), 80, 10).lines))
    assert "No findings." in text
    assert "39 checks" in text


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (0, [("go_to_line", "/a/train.py", 11)]),
        (1, [("select", "0.weight"), ("focus", "layers")]),
        (2, [("go_to_node", 4), ("focus", "graph")]),
    ],
)
def test_enter_goes_to_the_place_of_a_finding(at: int, asked: list[tuple[str, Any]]) -> None:
    panel, pressed = FindingsPanel(), Pressed()
    panel.view, panel.at = VIEW, at
    assert panel.press("choose", pressed)  # type: ignore[arg-type]
    assert pressed.asked == asked


def test_the_cursor_of_source_goes_to_a_line_of_the_file_it_shows() -> None:
    source, text = SourcePanel(), tuple(f"line {number}" for number in range(1, 31))
    source.view = SourceView(1, "/a/train.py", 1, text, 25, total=30)
    source.update(source.view, None)
    assert not source.seek("/a/model.py", 11)
    assert source.at == 25
    assert source.seek("/a/train.py", 11)
    assert source.at == 11
    source.resized()
    assert source.first == 10
