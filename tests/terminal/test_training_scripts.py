"""A training script in the real program and a real terminal: prompts, ends, running again, and what is left behind."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest
from emulator import Terminal

pytestmark = pytest.mark.terminal

TRAINS = """
    import os, signal, sys
    name = input("name? ") if "ask" in sys.argv else ""
    print("hello", name, "from", os.getpid())
    import torch
    net = torch.nn.Linear(3, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(3):
        opt.zero_grad()
        loss = net(torch.ones(4, 3)).pow(2).mean()
        loss.backward()
        opt.step()
        print("\\x1b[32mepoch", epoch, "\\x1b[0m", flush=True)
    if "kill" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a script, and a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    (tmp_path / "train.py").write_text(dedent(TRAINS))
    return tmp_path


def start(*arguments: str) -> Terminal:
    return Terminal([sys.executable, "-m", "gradstep", "train.py", *arguments], (120, 40))


def pid_in(text: str) -> int:
    """Return the process id that the script has printed."""
    return int(next(line for line in text.splitlines() if "hello" in line).split("from")[1].split()[0])


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended: one that was killed runs for a moment still."""
    with suppress(FileNotFoundError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
            os.sched_yield()


def test_a_prompt_is_answered_and_the_script_is_stepped_to_its_end(folder: Path) -> None:
    terminal = start("ask")
    before = terminal.attributes
    terminal.wait("waits for input")
    terminal.press("!")
    terminal.wait("typing into")
    terminal.press("Ada\r")
    terminal.wait("stop 1")
    assert "hello Ada from" in terminal.text
    terminal.press("f")
    terminal.wait("loss = net(torch.ones(4, 3)).pow(2).mean()")
    terminal.press("c")
    terminal.wait(lambda text: "ended with exit code 0" in text and "epoch 2" in text)
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.attributes == before
    assert terminal.switched_on == set()


def test_a_past_stop_is_looked_at_and_a_copy_is_held_and_released(folder: Path) -> None:
    terminal = start()
    terminal.wait("stop 1")
    terminal.press("f", "b", "s")
    terminal.wait("stop 4")
    terminal.press("T")
    terminal.wait("stopped after")
    terminal.press("\x1b[A", "\x1b[A")
    terminal.wait(lambda text: "PAST: stop 2" in text and "back to stop 4" in text)
    terminal.press("\r")
    terminal.wait("a script can't go back")
    terminal.press("\x1b")
    terminal.wait(lambda text: "PAST" not in text)
    terminal.press(":", "undo\r")
    terminal.wait("a script can't be run backwards")
    terminal.press("&")
    terminal.wait(lambda text: "train.py (held)" in text and "& back to the script" in text)
    terminal.press("f", "u")
    terminal.wait("1 ahead")
    terminal.press("&")
    terminal.wait(lambda text: "stop 4" in text and "(held)" not in text)
    terminal.press("q")
    assert terminal.end() == 0


def test_a_killed_script_is_said_looked_at_and_run_again(folder: Path) -> None:
    terminal = start("kill")
    first = pid_in(terminal.wait("stop 1"))
    terminal.press("f")
    terminal.wait("stop 2")
    terminal.press("c")
    terminal.wait(lambda text: "train.py was killed by SIGKILL." in text and "epoch 2" in text and "weight" in text)
    terminal.press("R")
    second = pid_in(terminal.wait(lambda text: "stop 1" in text and "run again" in text and "hello" in text))
    assert second != first
    terminal.press("q")
    assert terminal.end() == 0
    wait_for_end(second)


def test_a_screen_that_is_killed_takes_the_script_with_it(folder: Path) -> None:
    terminal = start()
    script = pid_in(terminal.wait("stop 1"))
    os.kill(terminal.child.pid, signal.SIGKILL)
    terminal.end()
    wait_for_end(script)
