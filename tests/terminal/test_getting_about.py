"""Numbers before keys, playing, finding and copying, in a real terminal."""

from __future__ import annotations

import base64
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

    def run(*arguments: str) -> Terminal:
        command = [sys.executable, "-m", "gradstep", "linear", "--seed", "0", *arguments]
        started.append(Terminal(command, (120, 40)))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def test_ten_spaces_are_typed_as_a_number_and_recorded_as_what_was_done(start: Callable[..., Terminal]) -> None:
    terminal = start("--record", "done.steps")
    terminal.wait(READY)
    terminal.press("10 ")
    terminal.wait("iteration 2 ")
    terminal.wait(": backward")
    terminal.press("12N")
    terminal.wait("iteration 14 ")
    terminal.press("q")
    assert terminal.end() == 0
    lines = Path("done.steps").read_text().splitlines()
    assert any(line.startswith("repeat 13 {") for line in lines)


def test_what_is_played_goes_on_by_itself_until_it_is_stopped(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.wait(READY)
    terminal.press(">>>>P")
    terminal.wait("▶ 50 iterations/s")
    terminal.wait(lambda text: any(f"iteration {n} " in text.splitlines()[0] for n in range(5, 1000)))
    terminal.press("P")
    terminal.wait(lambda text: "▶" not in text.splitlines()[0] and "stop " in text.splitlines()[0])
    terminal.press("q")
    assert terminal.end() == 0


def test_a_parameter_is_found_and_its_number_copied_to_the_clipboard(start: Callable[..., Terminal]) -> None:
    terminal = start()
    terminal.wait(READY)
    terminal.press("f", "/bi")
    terminal.wait("parameter bias")
    terminal.press("\r")
    terminal.wait(": show bias")
    terminal.press("1", "y")
    shown = terminal.wait("copied bias[0]: ")
    number = shown.partition("copied bias[0]: ")[2].split()[0]
    sent = terminal.bytes.rpartition(b"\x1b]52;c;")[2].partition(b"\x07")[0]
    assert base64.b64decode(sent).decode() == number
    terminal.press("q")
    assert terminal.end() == 0


def test_a_file_of_keys_is_read_and_what_is_wrong_in_it_is_said(start: Callable[..., Terminal], tmp_path: Path) -> None:
    keys = tmp_path / ".config" / "gradstep" / "keys.toml"
    keys.parent.mkdir(parents=True)
    keys.write_text('forward = "E"\nbakward = "v"\n')
    terminal = start()
    terminal.wait(READY)
    terminal.wait("keys.toml:2: there is no id bakward. Did you mean `backward`?")
    assert "E forward" in terminal.text
    terminal.press("E")
    terminal.wait("stop 2")
    terminal.press("q")
    assert terminal.end() == 0
