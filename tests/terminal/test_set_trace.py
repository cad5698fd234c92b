"""`gradstep.set_trace` and `gradstep.watch` in a real terminal, with a screen of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from emulator import Terminal, screen_of

pytestmark = pytest.mark.terminal

HEAD = """
import multiprocessing, os, sys, threading
import torch
import gradstep, gradstep.session.transport.open
from gradstep.values.errors import GradstepError
gradstep.session.transport.open.SCREEN = os.environ.get("SCREEN", "stub_screen")
net = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
def batch():
    opt.zero_grad()
    return net(torch.ones(4, 2)).pow(2).mean()
"""

LOOP = """
for i in range(3):
    loss = batch()
    gradstep.set_trace({arguments})
    loss.backward()
    opt.step()
    print("stepped", i, flush=True)
for thread in threading.enumerate()[1:]:
    thread.join(20)  # they end while the program runs on
print("end", threading.active_count(), flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Return a function that runs a program in a terminal, or through a shell line around it."""
    started = []

    def run(body: str, shell: str = "{python} {program}", **environment: str) -> Terminal:
        program = tmp_path / "program.py"
        program.write_text(HEAD + dedent(body))
        line = shell.format(python=sys.executable, program=program)
        started.append(Terminal(["/bin/sh", "-c", line], **environment))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()


def test_it_steps_from_the_line_stops_there_again_and_on_quit_the_program_runs_on(
    start: Callable[..., Terminal],
) -> None:
    terminal = start(LOOP.format(arguments="loss=loss, header='the loss'"))
    before = terminal.attributes
    screen_of(terminal)
    terminal.press("b")
    terminal.wait("b: ok, stop 2, backward")
    terminal.press("c")
    assert "output: stepped 0" in terminal.wait("c: ok, stop 3, forward at the loss")
    terminal.press("q")
    shown = terminal.wait("end 1")
    assert "stepped 1" in shown
    assert "stepped 2" in shown
    assert "output: stepped 1" not in shown
    assert terminal.attributes == before
    assert terminal.switched_on == set()
    assert terminal.end() == 0


def test_the_end_of_the_program_is_shown_until_the_screen_is_quit(start: Callable[..., Terminal]) -> None:
    terminal = start("gradstep.set_trace()\nprint('last', flush=True)\n")
    screen_of(terminal)
    terminal.press("c")
    terminal.wait("output: last")
    terminal.wait("c: ok, stop 2")
    terminal.press("b")
    terminal.wait("b: the script has ended")
    terminal.press("q")
    assert terminal.end() == 0


def test_an_exception_is_shown_and_then_raised_as_without_the_debugger(start: Callable[..., Terminal]) -> None:
    terminal = start(
        "gradstep.set_trace()\nraise ValueError('no such thing')\n", shell="{python} {program}; echo status $?"
    )
    screen_of(terminal)
    terminal.press("c")
    terminal.wait("c: the script raised")
    terminal.press("q")
    terminal.wait("status 1")


def test_breakpoint_opens_it_and_model_optimizer_and_loss_are_found_in_the_callers_frames(
    start: Callable[..., Terminal],
) -> None:
    body = """
    def looks():
        breakpoint()

    def train():
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(model.parameters())
        loss = model(torch.ones(2, 3)).sum()
        looks()
        loss.backward()
        optimizer.step()

    del net, opt
    train()
    """
    terminal = start(body, PYTHONBREAKPOINT="gradstep.set_trace")
    screen_of(terminal)
    terminal.press("s")
    terminal.wait("s: ok, stop 2, step")
    terminal.press("q")
    assert terminal.end() == 0


def test_watch_stops_at_the_first_line_at_phases_and_at_the_end_of_the_block(start: Callable[..., Terminal]) -> None:
    body = """
    with gradstep.watch(net, opt):
        batch().backward()
        opt.step()
    print("after", flush=True)
    """
    terminal = start(body)
    screen_of(terminal)
    terminal.press("o", "o", "o", "o")
    shown = terminal.wait("o: ok, stop 5, step")
    assert "stop 2, zero_grad" in shown
    assert "stop 3, forward" in shown
    assert "stop 4, backward" in shown
    assert "after" not in shown
    terminal.press("o")
    terminal.wait("o: ok, stop 6")
    terminal.press("q")
    terminal.wait("after")
    assert terminal.end() == 0


def test_a_killed_screen_leaves_the_terminal_as_it_was_and_the_program_runs_on(start: Callable[..., Terminal]) -> None:
    terminal = start(LOOP.format(arguments=""))
    before = terminal.attributes
    screen = screen_of(terminal)
    assert terminal.attributes != before
    terminal.press("b")
    terminal.wait("b: ok")
    os.kill(screen, signal.SIGKILL)
    terminal.wait("end")
    assert terminal.attributes == before
    assert terminal.switched_on == set()
    assert terminal.end() == 0


def test_ctrl_z_suspends_the_program_too(start: Callable[..., Terminal]) -> None:
    shell = "set -m; {python} {program}; echo suspended; fg >/dev/null; echo finished"
    terminal = start(LOOP.format(arguments=""), shell=shell)
    screen = screen_of(terminal)
    os.kill(screen, signal.SIGSTOP)
    terminal.wait("suspended")
    terminal.press("b")
    terminal.wait("b: ok, stop 2")
    terminal.press("q")
    assert "stepped 2" in terminal.wait("finished")


def test_a_forked_child_is_refused_and_the_parent_goes_on(start: Callable[..., Terminal]) -> None:
    body = """
    gradstep.set_trace()
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            gradstep.set_trace()
        except GradstepError as error:
            os.write(writing, error.problem.title.encode())
        os._exit(0)
    os.wait()
    print(os.read(reading, 100).decode(), flush=True)
    batch().backward()
    """
    terminal = start(body)
    screen_of(terminal)
    terminal.press("b")
    shown = terminal.wait("b: ok, stop 2")
    assert "output: the debugger can't open in a child process" in shown
    terminal.press("q")
    assert terminal.end() == 0


def test_without_a_terminal_it_raises_and_the_program_can_go_on(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    body = """
    for opens in (gradstep.set_trace, gradstep.watch().__enter__):
        try:
            opens()
        except GradstepError as error:
            print(error.problem.title)
    batch().backward()
    print("end")
    """
    program.write_text(HEAD + dedent(body))
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert done.stdout == "there is no terminal to open the screen in\n" * 2 + "end\n"
    assert done.returncode == 0


def test_a_child_of_multiprocessing_is_refused(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    body = """
    def work(queue):
        try:
            gradstep.set_trace()
        except GradstepError as error:
            queue.put(f"{error.problem.title}: {error.problem.remedy}")

    if __name__ == "__main__":
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        child = context.Process(target=work, args=(queue,))
        child.start()
        print(queue.get())
        child.join()
    """
    program.write_text(HEAD + dedent(body))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert "can't open in a child process" in done.stdout
    assert "num_workers=0" in done.stdout
