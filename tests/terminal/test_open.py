"""`gradstep.open` in a real terminal: the caller holds the model, a screen of the test's own sits on its terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Terminal, screen_of

pytestmark = pytest.mark.terminal

PROGRAM = """
import os, sys, threading
import torch
import gradstep, gradstep.session.transport.open
from gradstep.values.errors import GradstepError
gradstep.session.transport.open.SCREEN = os.environ.get("SCREEN", "stub_screen")
model = torch.nn.Linear(2, 1)
def loss(output, target):
    print("loss in Python")
    {extra}
    return (output - target).pow(2).sum()
workload = gradstep.Workload(model=model, loss=loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
                             batches=[(torch.ones(4, 2), torch.zeros(4, 1))])
before = model.weight.detach().clone()
fds = sorted(os.listdir("/proc/self/fd"))
try:
    gradstep.open(workload)
    print("returned", flush=True)
except (GradstepError, KeyboardInterrupt) as error:
    print("raised", repr(error), flush=True)
print("moved", not torch.equal(before, model.weight), "grad", model.weight.grad is not None)
print("same fds", sorted(os.listdir("/proc/self/fd")) == fds, "threads", threading.active_count())
print("end", flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs the program above in a terminal, or through a shell line around it."""
    started = []

    def run(extra: str = "pass", shell: str = "{python} {program}") -> Terminal:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(extra=extra))
        line = shell.format(python=sys.executable, program=program)
        started.append(Terminal(["/bin/sh", "-c", line]))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def test_the_caller_gets_the_model_back_as_it_was_left(start: Callable[..., Terminal]) -> None:
    terminal = start()
    before = terminal.attributes
    screen_of(terminal)
    terminal.press("f")
    terminal.wait("output: loss in Python")
    terminal.wait("f: ok, stop 2")
    terminal.press("b", "s", "q")
    shown = terminal.wait("end")
    assert "returned" in shown
    assert "moved True grad True" in shown
    assert "same fds True threads 1" in shown
    assert terminal.attributes == before
    assert terminal.switched_on == set()
    assert terminal.end() == 0


def test_a_killed_screen_leaves_the_terminal_as_it_was_and_is_told(start: Callable[..., Terminal]) -> None:
    terminal = start()
    before = terminal.attributes
    screen = screen_of(terminal)
    assert terminal.attributes != before
    assert terminal.switched_on == {1049, 1000}
    terminal.press("f", "b")
    terminal.wait("b: ok")
    os.kill(screen, signal.SIGKILL)
    shown = terminal.wait("end")
    assert "the screen killed by SIGKILL" in shown
    assert "moved False grad True" in shown
    assert "same fds True threads 1" in shown
    assert terminal.attributes == before
    assert terminal.switched_on == set()


def test_a_screen_that_fails_is_told_with_its_status(start: Callable[..., Terminal]) -> None:
    terminal = start()
    before = terminal.attributes
    screen_of(terminal)
    terminal.press("x")
    assert "the screen exited with status 7" in terminal.wait("end")
    assert terminal.attributes == before


def test_a_screen_killed_during_a_phase_interrupts_it_and_rolls_it_back(start: Callable[..., Terminal]) -> None:
    terminal = start(extra="import time; time.sleep(3600)")
    screen = screen_of(terminal)
    terminal.press("f")
    terminal.wait("output: loss in Python")
    os.kill(screen, signal.SIGKILL)
    shown = terminal.wait("end")
    assert "moved False grad False" in shown
    assert "same fds True threads 1" in shown


def test_the_screen_goes_when_the_caller_is_killed(start: Callable[..., Terminal]) -> None:
    terminal = start(shell="{python} {program}; echo status $?")
    screen = screen_of(terminal)
    caller = int(Path(f"/proc/{screen}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(caller, signal.SIGKILL)
    terminal.wait("status 137")
    assert terminal.end() == 0  # nobody holds the terminal any more


def test_ctrl_z_of_the_screen_suspends_the_caller_too(start: Callable[..., Terminal]) -> None:
    """The shell waits for the caller, so that is what has to stop; continuing the job continues both."""
    terminal = start(shell="set -m; {python} {program}; echo suspended; fg >/dev/null; echo finished")
    screen = screen_of(terminal)
    os.kill(screen, signal.SIGSTOP)
    terminal.wait("suspended")
    terminal.press("f")
    terminal.wait("f: ok, stop 2")
    terminal.press("q")
    assert "returned" in terminal.wait("finished")


def test_the_terminal_is_found_when_standard_streams_are_elsewhere(start: Callable[..., Terminal]) -> None:
    terminal = start(shell="{python} {program} </dev/null >/dev/null 2>/dev/null; echo status $?")
    screen_of(terminal)
    terminal.press("f", "q")
    terminal.wait("status 0")


@pytest.mark.parametrize(
    ("before", "remedy"),
    [("", "Run this in a terminal"), ("import sys; sys.modules['ipykernel'] = sys", "In a notebook use")],
)
def test_without_a_terminal_it_says_so_and_what_to_do(tmp_path: Path, before: str, remedy: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(before + PROGRAM.format(extra="pass"))
    done = subprocess.run(
        [sys.executable, str(program)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
        check=False,
    )
    assert "there is no terminal to open the screen in" in done.stdout
    assert "gradstep.Session(workload)" in done.stdout
    assert remedy in done.stdout


def test_an_incomplete_workload_is_refused_before_a_screen_opens(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(extra="pass").replace("model=model, loss=loss,", "model=model,"))
    terminal = Terminal([sys.executable, str(program)])
    assert "no loss" in terminal.wait("end") or "one loss" in terminal.text
    assert terminal.switched_on == set()
    terminal.close()


def test_on_another_thread_it_is_refused() -> None:
    code = """
import os, threading, gradstep
from gradstep.values.errors import GradstepError
def work():
    try:
        gradstep.open(None)
    except GradstepError as error:
        print(error.problem.title)
thread = threading.Thread(target=work); thread.start(); thread.join()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "gradstep.open needs the main thread\n"
