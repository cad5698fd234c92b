"""The page of a replay: its steps, what each says and shows, and that it needs nothing but itself."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from gradstep.steps.headless import Headless
from gradstep.steps.language.parse import parse_script
from gradstep.steps.page import Frame, Page, StyledRun
from gradstep.steps.replay import replay
from gradstep.steps.runner import Failure, StepsRunner
from gradstep.values.outcomes import Outcome, Problem, Stop

RAISED = Problem("raised", "backward raised", "RuntimeError: a second time")
NOT_HELD = Problem("expectation", "the expectation does not hold", "", expected="< 1", actual="1.5")


class Run:
    """A replay that runs nothing: the n-th command (from 1) meets its problem."""

    def __init__(self, text: str) -> None:
        self.script = parse_script(text, "lessons/a.steps")
        self.runner = StepsRunner(self.script)
        self.failure: Failure | None = None

    def run(self, page: Page, problems: Mapping[int, Problem]) -> None:
        number = 0
        while (line := self.runner.line) is not None and self.failure is None:
            number += 1
            problem = problems.get(number)
            self.failure = self.runner.feed(problem)
            page.carried(line, Outcome(line.command, Stop(number), problem, text="0.5" if "print" in line.text else ""))


class Still:
    """A screen of two rows: one that never changes, and the number of the command."""

    colours: Mapping[str, str] = {"screen": "#123456"}

    def __init__(self) -> None:
        self.number = 0
        self.painted: list[int] = []

    def show(self, outcome: Outcome, *, painted: bool = True) -> None:
        self.number = outcome.stop.number
        self.painted += [self.number] if painted else []

    def frame(self) -> Frame:
        return [
            [StyledRun("Model ", "color:#fff"), StyledRun("│ ▶ ", "color:#fff"), StyledRun("<b>", "font-weight:bold")],
            [StyledRun(f"stop {self.number}", "")],
        ]

    def close(self) -> None:
        return


def page_of(text: str, tmp_path: Path, problems: Mapping[int, Problem] = {}) -> tuple[str, dict[str, Any], Still]:
    """Return a page as text, what it holds, and who drew it."""
    run, camera = Run(text), Still()
    page = Page(cast(Headless, run), camera, (120, 40))
    run.run(page, problems)
    page.write(str(tmp_path / "a.html"))
    written = (tmp_path / "a.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', written, re.DOTALL)
    assert data is not None
    return written, json.loads(data[1]), camera


def steps(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return command, result and kind of each step."""
    return [tuple(step[2:5]) for step in data["steps"]]  # type: ignore[misc]


def test_each_line_is_a_step_and_narration_in_a_row_is_one(tmp_path: Path) -> None:
    _, data, _ = page_of("load mlp\nsay # Begin\nsay Look **here**.\nprint loss\nexpect loss < 1\nsay End\n", tmp_path)
    assert steps(data) == [
        ("load mlp", "", "ok"),
        ("", "", "say"),
        ("print loss", "0.5", "ok"),
        ("expect loss < 1", "holds", "held"),
        ("", "", "say"),
    ]
    assert [step[0] for step in data["steps"]] == [-1, 0, 0, 0, 1]
    assert data["narrations"][0] == "<h2>Begin</h2>\n<p>Look <strong>here</strong>.</p>\n"


def test_a_row_that_is_seen_twice_is_there_once_and_is_text(tmp_path: Path) -> None:
    written, data, _ = page_of("load mlp\nforward\nsay And?\n", tmp_path)
    assert [step[5] for step in data["steps"]] == [[0, 1], [0, 2], [0, 2]]
    assert len(data["rows"]) == 3
    # pieces in one style are one, what not every font has keeps to its cells, and markup is text
    assert data["rows"][0] == '<span class="s0">Model │ <i>▶</i> </span><span class="s1">&lt;b&gt;</span>'
    assert ".s1{font-weight:bold}" in written


def test_of_a_long_repeat_the_first_and_the_last_turn_are_steps(tmp_path: Path) -> None:
    _, data, camera = page_of("repeat 20 { forward; backward }\nrepeat 2 { step }\n", tmp_path)
    assert steps(data) == [
        ("forward  (turn 1 of 20)", "", "ok"),
        ("backward  (turn 1 of 20)", "", "ok"),
        ("forward  (turn 20 of 20)", "(36 commands before it are not shown)", "ok"),
        ("backward  (turn 20 of 20)", "", "ok"),
        ("step  (turn 1 of 2)", "", "ok"),
        ("step  (turn 2 of 2)", "", "ok"),
    ]
    assert camera.painted == [1, 2, 39, 40, 41, 42]


def test_an_error_is_a_step_that_says_whether_the_script_expects_it(tmp_path: Path) -> None:
    text = 'forward\nexpect error "second" { backward }\nexpect loss < 1\nstep\n'
    _, data, _ = page_of(text, tmp_path, {2: RAISED, 3: NOT_HELD})
    assert steps(data)[1:] == [
        ("backward", "backward raised, as the script expects", "ok"),
        ("expect loss < 1", "the expectation does not hold\nexpected < 1\nactual 1.5", "failed"),
    ]


def test_a_page_needs_nothing_but_itself_and_no_text_breaks_out_of_it(tmp_path: Path) -> None:
    text = 'say # Two </script><script>alert(1)</script>\nsay <img src=x onerror=alert(1)>\nprint "<!-- <script>"\n'
    written, data, _ = page_of(text, tmp_path)
    assert steps(data)[-1][0] == 'print "<!-- <script>"'
    assert "<!--" not in written
    assert "http:" not in written
    assert "https:" not in written
    assert "default-src 'none'" in written
    assert written.count("<script") == 2  # the data and the code
    assert "alert(1)</script>" not in written
    assert "<img" not in data["narrations"][0]
    assert "<title>Two &lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>" in written
    assert "--screen:#123456;" in written
    assert not re.search(r"\{\{\w+\}\}", written)


def test_the_list_of_steps_is_readable_without_the_code(tmp_path: Path) -> None:
    written, _, _ = page_of("say Look at the **weights** first.\nexpect loss < 1\n", tmp_path)
    entries = re.findall(r"<li><button[^>]*>(.*?)</button></li>", written)
    assert entries == [
        '<span class="n">1</span>Look at the weights first.',
        '<span class="n">2</span>✓ expect loss &lt; 1',
    ]


@pytest.mark.parametrize("path", ["a.html", "no/where.html"])
def test_a_replay_writes_its_page_and_says_where_it_cannot(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "a.steps"
    script.write_text("load linear seed=0\nforward\n")
    closed: list[Still] = []

    class Closing(Still):
        def close(self) -> None:
            closed.append(self)

    code = replay([str(script)], html=str(tmp_path / path), film=lambda session, size: Closing())
    assert code == (0 if path == "a.html" else 2)
    assert (tmp_path / path).exists() == (code == 0)
    assert ("the page cannot be written: " in capsys.readouterr().err) == (code == 2)
    assert len(closed) == 1
