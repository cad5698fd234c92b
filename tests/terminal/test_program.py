"""The real program in a real terminal: its first frame, its keys, every way out of it, and what it leaves behind."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Terminal

pytestmark = pytest.mark.terminal

READY = "203,530 parameters"

WORKLOADS = """
import os, subprocess, sys, time
import torch
from gradstep import Workload

def hangs():
    print("hanging in the factory", flush=True)
    while True:
        time.sleep(3600)
    return prints()

def exits():
    os._exit(3)
    return prints()

def prints():
    print("hello from the factory")
    subprocess.run(["echo", "hello from a child"])
    return Workload(model=torch.nn.Linear(2, 1), loss=torch.nn.functional.mse_loss,
                    optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batches=[(torch.ones(4, 2), torch.zeros(4, 1))])
"""


def descendants(pid: int) -> list[int]:
    """Return a process's children, theirs, and so on."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, with a home of its own, and with workloads in a file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "mine.py").write_text(WORKLOADS)
    return tmp_path


@pytest.fixture
def start(home: Path) -> Iterator[Callable[..., Terminal]]:
    """Return a function that starts gradstep; at the end nothing of it may be left: processes, files, attributes."""
    started: list[Terminal] = []

    def run(*arguments: str) -> Terminal:
        started.append(Terminal([sys.executable, "-m", "gradstep", *arguments], (120, 40)))
        return started[-1]

    yield run
    for terminal in started:
        terminal.close()
    # torch makes this cache wherever the first optimizer is imported
    assert [path.name for path in (home / "tmp").iterdir() if not path.name.startswith("torchinductor")] == []


def engine_of(terminal: Terminal) -> int:
    """Return the process id of the program's engine."""
    [engine] = [
        pid for pid in descendants(terminal.child.pid) if "gradstep.session.transport.engine_main" in command_line(pid)
    ]
    return engine


def left_as_found(terminal: Terminal, before: list[object], *engines: int) -> None:
    """Assert that the program has ended, its engines too, and that the terminal is as it was found."""
    assert terminal.attributes == before
    assert terminal.switched_on == set()
    assert terminal.bytes.rindex(b"\x1b[?25h") > terminal.bytes.rindex(b"\x1b[?25l")
    assert [pid for pid in engines if "gradstep" in command_line(pid)] == []


def test_the_keys_step_the_network_and_quitting_leaves_nothing(start: Callable[..., Terminal], home: Path) -> None:
    terminal = start()
    before = terminal.attributes
    terminal.wait(READY)
    engine = engine_of(terminal)
    terminal.press("f")
    terminal.wait("127.7652")
    terminal.press("b")
    terminal.wait("fresh")
    terminal.press("s")
    terminal.wait("iteration 1 ")
    terminal.press("q")
    assert terminal.end() == 0
    left_as_found(terminal, before, engine)


def test_keys_pressed_while_torch_is_imported_are_kept(start: Callable[..., Terminal]) -> None:
    terminal = start("mlp", "--seed", "0")
    terminal.wait("importing torch")
    assert READY not in terminal.text
    terminal.press("f", "b")
    terminal.wait("127.7652")
    terminal.wait("fresh")
    terminal.press("q")
    assert terminal.end() == 0


def test_keys_pressed_before_the_first_frame_have_their_turn_after_the_load(start: Callable[..., Terminal]) -> None:
    terminal = start("mlp", "--seed", "0")
    terminal.press("f", "b")
    terminal.wait("127.7652")
    terminal.wait("fresh")
    terminal.press("q")
    assert terminal.end() == 0


def test_the_last_session_is_kept_and_opened_again(start: Callable[..., Terminal]) -> None:
    terminal = start("linear", "--seed", "3", "--record", "mine.steps")
    terminal.wait("lr 0.1")
    terminal.press("f")
    terminal.wait("forward computed the loss")
    terminal.press("q")
    assert terminal.end() == 0
    recorded = Path("mine.steps").read_text().splitlines()
    assert recorded.index("load linear seed=3") < recorded.index("forward")
    again = start("--last")
    again.wait("The session is resumed")
    again.wait("forward computed the loss")
    again.press("b")
    again.wait("fresh")
    again.press("q")
    assert again.end() == 0
    look = start("mlp")  # a quick look takes nothing's place
    look.wait(READY)
    look.press("q")
    assert look.end() == 0
    once_more = start("--last")
    once_more.wait("The session is resumed")
    once_more.wait("fresh")
    once_more.press("q")
    assert once_more.end() == 0


def test_q_quits_at_once_while_a_factory_hangs(start: Callable[..., Terminal]) -> None:
    terminal = start("mine.py:hangs")
    before = terminal.attributes
    terminal.wait("hanging in the factory")
    engine = engine_of(terminal)
    terminal.press("q")
    assert terminal.end() == 0
    left_as_found(terminal, before, engine)


def test_a_factory_that_exits_is_shown_and_the_screen_lives(start: Callable[..., Terminal]) -> None:
    terminal = start("mine.py:exits")
    before = terminal.attributes
    terminal.wait("exited with status 3")
    terminal.press("q")
    assert terminal.end() == 0
    left_as_found(terminal, before)


def test_what_a_factory_prints_is_in_the_log_and_not_on_the_screen(start: Callable[..., Terminal]) -> None:
    terminal = start("mine.py:prints")
    terminal.wait("hello from the factory")
    terminal.wait("hello from a child")
    assert terminal.text.splitlines()[0].split()[0] == "gradstep"
    terminal.press("q")
    assert terminal.end() == 0


def test_a_killed_engine_is_told_and_R_replays_the_session(start: Callable[..., Terminal]) -> None:
    terminal = start("mlp")
    terminal.wait(READY)
    terminal.press("f", "b")
    terminal.wait("fresh")
    engine = engine_of(terminal)
    os.kill(engine, signal.SIGKILL)
    shown = terminal.wait("killed by SIGKILL")
    assert "fresh" in shown  # the last stop stays readable
    terminal.press("R")
    terminal.wait("Restarted, replayed 4 of 4 commands")
    assert engine_of(terminal) != engine
    terminal.press("s")
    terminal.wait("iteration 1 ")
    terminal.press("q")
    assert terminal.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["importing torch", READY])
def test_a_signal_ends_the_program_in_order(start: Callable[..., Terminal], number: signal.Signals, when: str) -> None:
    terminal = start("mlp")
    before = terminal.attributes
    terminal.wait(when)
    engine = engine_of(terminal)
    os.kill(terminal.child.pid, number)
    assert terminal.end() == 128 + number
    left_as_found(terminal, before, engine)


def test_a_killed_screen_takes_the_engine_along(start: Callable[..., Terminal]) -> None:
    terminal = start("mlp")
    terminal.wait(READY)
    engine = os.pidfd_open(engine_of(terminal))
    os.kill(terminal.child.pid, signal.SIGKILL)
    assert terminal.end() == -signal.SIGKILL
    ended, _, _ = select.select([engine], [], [], 30)
    os.close(engine)
    assert ended


def test_ctrl_c_before_the_screen_is_there_ends_with_130(
    start: Callable[..., Terminal], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a module of the user's path that textual imports: it tells when the import is under way, and never ends
    (home / "rich").mkdir()
    (home / "rich" / "__init__.py").write_text("import time; print('on the way', flush=True); time.sleep(3600)")
    monkeypatch.setenv("PYTHONPATH", str(home), prepend=os.pathsep)
    terminal = start("mlp")
    before = terminal.attributes
    terminal.wait("on the way")
    engine = engine_of(terminal)
    terminal.child.sendintr()
    assert terminal.end() == 130
    assert terminal.attributes == before
    assert "gradstep" not in command_line(engine)
    assert "Traceback" not in terminal.text


def test_ctrl_c_pauses_and_never_quits(start: Callable[..., Terminal]) -> None:
    terminal = start("mlp")
    terminal.wait(READY)
    terminal.press("\x03")
    terminal.wait("nothing runs; q quits")
    terminal.press("f")
    terminal.wait("127.7652")
    terminal.press("q")
    assert terminal.end() == 0


def test_a_screen_of_one_process_has_no_torch_and_the_other_no_textual(start: Callable[..., Terminal]) -> None:
    """By what the two have mapped and opened, not by what they say of themselves."""
    terminal = start("mlp")
    terminal.wait(READY)
    screen, engine = terminal.child.pid, engine_of(terminal)
    assert "libtorch" in Path(f"/proc/{engine}/maps").read_text()
    assert "libtorch" not in Path(f"/proc/{screen}/maps").read_text()
    terminal.press("q")
    assert terminal.end() == 0


def test_a_script_that_is_wrong_is_shown_with_its_place_and_no_screen_opens(
    start: Callable[..., Terminal], home: Path
) -> None:
    (home / "bad.steps").write_text("load mlp\nforwad\n")
    terminal = start("bad.steps")
    assert terminal.end() == 2
    assert "bad.steps:2:1" in terminal.text
    assert "forward" in terminal.text
    assert b"\x1b[?1049h" not in terminal.bytes


PROGRAM = """
import torch, gradstep
model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
workload = gradstep.Workload(model=model, loss=torch.nn.functional.mse_loss, name="mine",
    optimizer=lambda p: torch.optim.SGD(p, lr=0.25), batches=[(torch.ones(4, 3), torch.ones(4, 1))])
before = model[2].bias.detach().clone()
gradstep.open(workload)
print("moved", not torch.equal(before, model[2].bias), flush=True)
"""


def test_open_shows_the_callers_workload_and_gives_it_back(home: Path) -> None:
    (home / "program.py").write_text(PROGRAM)
    terminal = Terminal([sys.executable, "program.py"], (120, 40))
    before = terminal.attributes
    terminal.wait(lambda text: "mine" in text and "lr 0.25" in text)
    terminal.press("f", "b", "s")
    terminal.wait("iteration 1 ")
    terminal.press("q")
    terminal.wait("moved True")
    assert terminal.end() == 0
    left_as_found(terminal, before)
    terminal.close()


def test_what_was_opened_by_a_program_is_no_session_to_open_again(home: Path) -> None:
    (home / "program.py").write_text(PROGRAM)
    terminal = Terminal([sys.executable, "program.py"], (120, 40))
    terminal.wait(lambda text: "mine" in text.splitlines()[0] and "lr 0.25" in text)
    terminal.press("4")  # the log, where the ledger stands once there is a model
    terminal.wait("Opened by a program: no load command")
    terminal.press(":forward\r")  # f right behind a digit would be a count
    terminal.wait("stop 2")
    terminal.press(":save kept.steps\r")
    terminal.wait("Add one at the top")
    terminal.press("R")
    terminal.wait("R restarts a dead one")
    terminal.press("q")
    assert terminal.end() == 0
    assert "forward" in Path("kept.steps").read_text().splitlines()
    assert [path.name for path in home.rglob("last*.steps")] == []
    terminal.close()
