"""Undo, redo, the past, a branch and a comparison, in a real terminal with an engine of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Terminal

pytestmark = pytest.mark.terminal

READY = "lr 0.1"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    """Return a function that opens an example, in a folder and with a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    started: list[Terminal] = []

    def run(*arguments: str, **environment: str) -> Terminal:
        command = [sys.executable, "-m", "gradstep", "linear", "--seed", "0", *arguments]
        started.append(Terminal(command, (120, 40), **environment))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def first_row(terminal: Terminal, words: str) -> str:
    shown = terminal.wait(lambda text: words in text.splitlines()[0] and "  stop " in text.splitlines()[0])
    return shown.splitlines()[0]


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}])
def test_undo_redo_and_the_past_that_is_looked_at(start: Callable[..., Terminal], environment: dict[str, str]) -> None:
    terminal = start(**environment)
    terminal.wait(READY)
    terminal.press("5N")
    end = first_row(terminal, "iteration 5 ").split("stop")[-1].strip()
    terminal.press("u")
    first_row(terminal, "+1 ahead")
    terminal.press("U")
    first_row(terminal, "iteration 5 ")
    terminal.press("T", "k", "k")
    past = int(end) - 2
    shown = terminal.wait(f"PAST: stop {past} ")
    assert f"stop {end}" in shown.splitlines()[0]
    terminal.wait(lambda text: text.count(f"PAST: stop {past}") > 2)
    terminal.press("\x1b")
    terminal.wait(lambda text: "PAST" not in text)
    terminal.press("k")
    terminal.wait("PAST: stop")
    terminal.press("\r")
    terminal.wait(lambda text: "+1 ahead" in text and "PAST" not in text)
    terminal.press("q")
    assert terminal.end() == 0


def test_the_same_start_with_another_rate_takes_six_keys_and_replays(start: Callable[..., Terminal]) -> None:
    terminal = start("--record", "done.steps")
    terminal.wait(READY)
    terminal.press("5N")
    first_row(terminal, "iteration 5 ")
    terminal.press(*"W0.01", "\r")
    shown = terminal.wait("lr: 0.1 and 0.01")
    assert "lr-0.01" in shown.splitlines()[0]
    terminal.wait("● lr-0.01, stop ")
    assert "× main, stop " in terminal.text
    terminal.press("q")
    assert terminal.end() == 0
    lines = Path("done.steps").read_text().splitlines()
    assert lines[lines.index("goto 1") :][:3] == ["goto 1", "branch lr-0.01", "set lr = 0.01"]
