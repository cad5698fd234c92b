"""Keys that come faster than they are taken, and ctrl+z, in a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Terminal

pytestmark = pytest.mark.terminal

GRADSTEP = [sys.executable, "-m", "gradstep", "linear", "--seed", "0"]
READY = "lr 0.1"


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], Terminal]]:
    """Return a function that runs a command in a terminal, in a folder and with a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    started: list[Terminal] = []

    def run(command: list[str]) -> Terminal:
        started.append(Terminal(command, (120, 40)))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def commands(terminal: Terminal) -> list[str]:
    """Quit, and return what was done, as the record has it."""
    terminal.press("q")
    assert terminal.end() == 0
    lines = Path("done.steps").read_text().splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("show ")) + 1 :]


def test_a_line_typed_in_one_burst_is_taken_whole_and_so_are_the_keys_around_it(
    start: Callable[[list[str]], Terminal],
) -> None:
    terminal = start([*GRADSTEP, "--record", "done.steps"])
    terminal.wait(READY)
    terminal.press("n:repeat 3 { forward; backward; step; zero_grad }\rfb:zero_grad set_to_none=false\r")
    terminal.wait("iteration 3 ")
    terminal.wait(": zero_grad set_to_none=false")
    assert commands(terminal) == [
        "next_batch",
        "repeat 3 { forward; backward; step; zero_grad }",
        "forward",
        "backward",
        "zero_grad set_to_none=false",
    ]


def test_ctrl_z_gives_the_terminal_back_and_fg_goes_on(start: Callable[[list[str]], Terminal]) -> None:
    terminal = start(["/bin/bash", "--norc", "-i"])
    terminal.press("PS1='ready> '; stty echo\r")
    terminal.press(" ".join(GRADSTEP) + " --record done.steps\r")
    terminal.wait(READY)
    assert terminal.switched_on
    terminal.press("f")
    terminal.wait("stop 2")
    terminal.press("\x1a")
    terminal.wait(lambda _: b"ready> " in terminal.bytes.partition(b"\x1b[?1049l")[2])
    assert terminal.switched_on <= {2004}  # the shell's own, while it edits a line
    assert terminal.bytes.rindex(b"\x1b[?25h") > terminal.bytes.rindex(b"\x1b[?25l")
    # the shell edits its own line: a command must be run with the terminal as it was found
    terminal.press("stty -a > modes; echo in the shell\r")
    terminal.wait(lambda text: text.count("in the shell") == 2)
    assert {"icanon", "echo", "isig", "icrnl", "opost"} <= modes_in("modes")
    terminal.press("fg\r")
    terminal.wait(lambda _: terminal.bytes.count(b"\x1b[?1049h") == 2)
    terminal.press("b")
    terminal.wait("stop 3")
    terminal.press("q")
    terminal.wait(
        lambda _: (
            b"ready> " in terminal.bytes[terminal.bytes.rindex(b"\x1b[?1049l") :]
            and terminal.bytes.count(b"\x1b[?1049l") == 2
        )
    )
    terminal.press("stty -a > modes; cat done.steps; exit\r")
    terminal.end()
    assert {"icanon", "echo", "isig", "icrnl", "opost"} <= modes_in("modes")
    assert terminal.switched_on <= {2004}
    assert Path("done.steps").read_text().splitlines()[-2:] == ["forward", "backward"]


def modes_in(path: str) -> set[str]:
    """Read what `stty -a` has written."""
    return {word.rstrip(";") for word in Path(path).read_text().split()}
