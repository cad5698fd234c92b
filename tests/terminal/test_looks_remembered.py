"""Layout, theme and sizes in a real terminal: by keys and mouse, and in the next run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Terminal

from gradstep.tui.render.tones import THEMES, channels

pytestmark = pytest.mark.terminal

READY = "lr 0.1"
F2, F8 = "\x1bOQ", "\x1b[19~"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs gradstep in a terminal, with a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    started: list[Terminal] = []

    def run(*arguments: str, **environment: str) -> Terminal:
        command = [sys.executable, "-m", "gradstep", "linear", *arguments]
        # a terminal of 24 bits, so that colours come as they are
        started.append(Terminal(command, (120, 40), COLORTERM="truecolor", **environment))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def ground(theme: str) -> bytes:
    """Return how a terminal is told to draw on the ground of panels."""
    return "48;2;{};{};{}".format(*channels(THEMES[theme].grounds["panel"])).encode()


def edge(terminal: Terminal) -> int:
    """Return the column at which Loss ends, once it is there at the left."""
    found = re.compile(r"^▌Loss.*?( 1 ?T?)", re.MULTILINE)  # the names of the other panels are cut where there are many
    terminal.wait(lambda text: found.search(text) is not None)
    title = next(row for row in terminal.text.splitlines() if row.startswith("▌Loss"))
    first = found.match(title)
    assert first is not None
    return first.start(1) - 1


def test_an_example_opens_to_learn_and_what_is_chosen_then_is_there_in_the_next_run(
    start: Callable[..., Terminal], tmp_path: Path
) -> None:
    terminal = start()
    terminal.wait(READY)
    assert "2 Graph" in terminal.wait("Ledger")
    assert "Log " not in terminal.text.replace("4 Log ", "")
    terminal.press(F8)
    terminal.wait("layout train")
    before = edge(terminal)
    # the mouse takes the gap (a terminal counts columns from 1), moves it ten to the left and lets go
    for code, by, end in ((0, 0, "M"), (32, 4, "M"), (32, 10, "M"), (0, 10, "m")):
        terminal.press(f"\x1b[<{code};{before + 1 - by};20{end}")
    terminal.wait(lambda text: edge(terminal) == before - 10)
    terminal.press(F2)
    terminal.wait("theme light")
    terminal.press("q")
    assert terminal.end() == 0
    assert ground("light") in terminal.bytes

    again = start()
    again.wait(READY)
    again.wait("Optimizer")
    assert edge(again) == before - 10
    again.press("q")
    assert again.end() == 0
    assert ground("light") in again.bytes
    assert ground("dark") not in again.bytes

    (tmp_path / "state" / "gradstep" / "screen.json").write_text('{"layout": [')
    damaged = start("--layout", "train", "--theme", "high-contrast")
    damaged.wait(READY)
    assert edge(damaged) == before
    damaged.wait("screen.json is damaged")
    damaged.press("q")
    assert damaged.end() == 0
    assert ground("high-contrast") in damaged.bytes


@pytest.mark.parametrize(("arguments", "environment"), [(["--no-unicode"], {}), ([], {"TERM": "linux"})])
def test_a_terminal_without_glyphs_gets_ascii(
    start: Callable[..., Terminal], arguments: list[str], environment: dict[str, str]
) -> None:
    terminal = start(*arguments, **environment)
    terminal.wait(READY)
    terminal.press("f", "b", "s")
    terminal.wait("iteration 1 ")
    terminal.wait("#1 Tensor")
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.bytes.isascii()
