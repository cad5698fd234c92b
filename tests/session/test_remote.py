"""Screen and engine as two processes: answers, output, interrupts, and every way an engine can end."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from hearing import Heard

from gradstep.session.transport.process import EngineLink, exit_words, spawn_engine
from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Forward, Print, Say
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Name, Unary
from gradstep.values.outcomes import Died, Event, Output, Progress
from gradstep.values.views import LookLoss, LookModel, NoView

T = TypeVar("T")
Start = Callable[[], tuple[RemoteSession, Heard]]


def run(work: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(bounded())


def alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


async def gone(pid: int) -> None:
    """Wait for the end of a process, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    assert not alive(pid)


def output(events: list[Event]) -> str:
    return "".join(e.text for e in events if isinstance(e, Output))


def test_commands_and_looks_are_answered_in_order_with_their_stops(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        first, seen, second = await asyncio.gather(
            session.execute(Forward()), session.look([LookModel(), LookLoss()]), session.execute(Say("text = 'hi'"))
        )
        assert (first.command, first.stop.number) == (Forward(), 1)
        assert seen == (NoView(1, "LookModel"), NoView(1, "LookLoss"))
        assert (second.stop.number, second.text) == (2, "hi")
        assert session.stop == second.stop
        assert events == [Progress("importing torch")]
        await session.close()

    run(work())


def test_the_engine_is_given_the_budgets_of_the_history(stub: Start) -> None:
    spawn = partial(spawn_engine, "stub_engine", history=4096, history_offload=True, history_time=math.inf)

    async def work() -> None:
        session = RemoteSession(spawn(), spawn)
        outcome = await session.execute(Say("text = repr(kept)"))
        assert outcome.text == "(4096, True, inf)"
        await session.close()

    run(work())


def test_a_command_and_its_looks_are_one_message_and_of_one_stop(stub: Start) -> None:
    async def work() -> None:
        session, _ = stub()
        both = await asyncio.gather(
            session.execute_and_look(Forward(), [LookModel(), LookLoss()]), session.execute_and_look(Forward(), [])
        )
        (first, views), (second, none) = both
        assert first.stop.number == 1
        assert views == (NoView(1, "LookModel"), NoView(1, "LookLoss"))
        assert (second.stop.number, none) == (2, ())
        refused, none = await session.execute_and_look(Say("\ud800"), [LookModel()])
        assert (refused.problem.kind, none) == ("wrong", ())
        await session.close()

    run(work())


def test_events_of_a_command_come_before_its_outcome(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        await session.execute(Say("progress('building the model: mlp'); print('made'); progress('done')"))
        assert Progress("building the model: mlp") in events
        assert output(events) == "made\n"
        await session.close()

    run(work())


def test_output_of_c_code_and_of_more_than_a_pipe_holds_is_there_at_the_outcome(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        await session.execute(Say("import ctypes; ctypes.CDLL(None).printf(b'from C\\n')"))
        assert output(events) == "from C\n"
        await session.execute(Say("print('·' * 200_000); print('error', file=sys.stderr)"))
        assert output(events) == "from C\n" + "·" * 200_000 + "\nerror\n"
        await session.close()

    run(work())


def test_bytes_that_are_no_text_are_shown_all_the_same(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        await session.execute(Say("os.write(1, b'a\\xff\\xe2\\x80')"))
        await session.execute(Say("os.write(1, b'\\xa6')"))
        assert output(events) == "a\ufffd\u2026"
        await session.close()

    run(work())


def test_reading_from_the_terminal_finds_the_end_of_the_file(stub: Start) -> None:
    async def work() -> None:
        session, _ = stub()
        outcome = await session.execute(Say("input()"))
        assert "EOFError" in outcome.problem.what
        assert outcome.problem.title == "gradstep itself failed"  # the stub lets it through; the real session does not
        assert (await session.execute(Forward())).ok
        await session.close()

    run(work())


def test_a_command_that_cannot_be_sent_is_an_error_outcome_and_the_session_goes_on(stub: Start) -> None:
    async def work() -> None:
        session, _ = stub()
        await session.execute(Forward())
        deep = Name("x")
        for _ in range(5000):
            deep = Unary("-", deep)
        for command in (Say("\ud800"), Print(deep)):
            outcome = await session.execute(command)
            assert outcome.problem.kind == "wrong"
            assert outcome.stop.number == 1
        assert (await session.execute(Forward())).stop.number == 2
        await session.close()

    run(work())


def test_an_outcome_that_cannot_be_sent_is_an_error_outcome(stub: Start) -> None:
    async def work() -> None:
        session, _ = stub()
        outcome = await session.execute(Say("text = '\\ud800'"))
        assert outcome.stop.number == 1
        assert "surrogates" in outcome.problem.what
        await session.close()

    run(work())


def test_an_interrupt_ends_the_command_that_runs_and_no_later_one(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        running = asyncio.create_task(session.execute(Say("progress('in it')\nwhile True: pass")))
        queued = asyncio.create_task(session.execute(Say("text = 'ran'")))
        await events.until(lambda e: e == Progress("in it"))
        session.interrupt()
        assert (await running).problem.kind == "interrupted"
        assert (await queued).problem.kind == "interrupted"
        session.interrupt()  # at the gate: nothing to interrupt
        after = await session.execute(Say("text = 'ran'"))
        assert (after.ok, after.text) == (True, "ran")
        await session.close()

    run(work())


def test_an_interrupt_wakes_a_command_that_waits_in_the_kernel(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        running = asyncio.create_task(session.execute(Say("import time; progress('in it'); time.sleep(3600)")))
        await events.until(lambda e: e == Progress("in it"))
        session.interrupt()
        assert (await running).problem.kind == "interrupted"
        await session.close()

    run(work())


def test_sigint_from_elsewhere_leaves_the_engine_alone(stub: Start) -> None:
    async def work() -> None:
        session, _ = stub()
        outcome = await session.execute(Say("import signal; os.kill(os.getpid(), signal.SIGINT); text = 'went on'"))
        assert outcome.text == "went on"
        await session.close()

    run(work())


ENDS = {
    "os._exit(3)": "exited with status 3",
    "sys.exit(3)": "exited with status 3",
    "sys.exit()": "exited with status 0",
    "os.kill(os.getpid(), 9)": "killed by SIGKILL",
    "import ctypes; ctypes.string_at(0)": "segmentation fault (SIGSEGV)",
    "os.abort()": "aborted (SIGABRT)",
}


@pytest.mark.parametrize("how", ENDS)
def test_an_engine_that_ends_by_itself_is_reported_with_its_last_output(stub: Start, how: str) -> None:
    async def work() -> None:
        session, events = stub()
        with pytest.raises(ConnectionError, match=ENDS[how].replace("(", r"\(").replace(")", r"\)")):
            await session.execute(Say(f"print('last words'); {how}"))
        assert events[-1] == Died(ENDS[how])
        assert "last words" in output(events)
        with pytest.raises(ConnectionError):
            await session.execute(Forward())
        await session.close()

    run(work())


def test_a_crash_in_c_code_names_the_python_line(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        with pytest.raises(ConnectionError):
            await session.execute(Say("import ctypes; ctypes.string_at(0)"))
        assert "Fatal Python error: Segmentation fault" in output(events)
        await session.close()

    run(work())


def test_the_end_is_seen_although_a_child_of_the_engine_holds_its_socket_and_pipe(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        fork = "pid = os.fork()\nif not pid:\n    import time; time.sleep(3600)\ntext = str(pid)"
        child = int((await session.execute(Say(fork))).text)
        assert alive(child)
        os.kill(session._link.pid, signal.SIGKILL)
        await events.until(lambda e: e == Died("killed by SIGKILL"))
        await gone(child)
        await session.close()

    run(work())


def test_without_pidfd_a_thread_waits_for_the_end(stub: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")

    async def work() -> None:
        session, events = stub()
        with pytest.raises(ConnectionError, match="exited with status 3"):
            await session.execute(Say("os._exit(3)"))
        assert events[-1] == Died("exited with status 3")
        await session.restart()
        assert (await session.execute(Forward())).ok
        await session.close()

    run(work())


def test_restart_gives_a_fresh_engine_dead_or_alive(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        await session.execute(Forward())
        old = session._link.pid
        await session.restart()
        assert not alive(old)
        assert (await session.execute(Forward())).stop.number == 1
        with pytest.raises(ConnectionError):
            await session.execute(Say("os._exit(3)"))
        await session.restart()
        assert (await session.execute(Forward())).stop.number == 1
        assert [e for e in events if isinstance(e, Died)] == [Died("exited with status 3")]
        await session.close()

    run(work())


def test_close_lets_an_idle_engine_end_by_itself_and_says_nothing(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        await session.execute(Say("print('x')"))
        await session.close()
        await session.close()
        assert session._link.process.returncode == 0
        assert not any(isinstance(e, Died) for e in events)
        with pytest.raises(ConnectionError, match="closed"):
            await session.execute(Forward())

    run(work())


def test_close_ends_an_engine_that_hangs_with_its_children(stub: Start) -> None:
    async def work() -> None:
        session, events = stub()
        code = "import subprocess, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        code += "progress(str(subprocess.Popen(['sleep', '3600']).pid))\nwhile True: pass"
        hanging = asyncio.create_task(session.execute(Say(code)))
        stage = await events.until(lambda e: isinstance(e, Progress) and e.stage.isdigit())
        await session.close()
        with pytest.raises(ConnectionError):
            await hanging
        assert not alive(session._link.pid)
        await gone(int(stage.stage))

    run(work())


def test_a_session_never_awaited_is_killed_without_a_loop(stub: Start) -> None:
    session, _ = stub()
    session.kill()
    session.kill()
    assert not alive(session._link.pid)


def test_files_in_the_working_directory_hide_nothing_from_the_engine(
    stub: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("types", "socket", "msgspec", "gradstep"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    (tmp_path / "mine_alone.py").write_text("here = 'found'")

    async def work() -> None:
        session, _ = stub()
        outcome = await session.execute(Say("import mine_alone; text = mine_alone.here"))
        assert outcome.text == "found"
        await session.close()

    run(work())


SCREEN = """
import asyncio, os, sys
from gradstep.session.transport.process import spawn_engine
from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Say
async def work():
    session = RemoteSession(spawn_engine("stub_engine"))
    session.on_event = lambda event: print(getattr(event, "stage", ""), flush=True)
    await session.execute(Say({code!r}))
asyncio.run(work())
"""


@pytest.mark.parametrize("then", ["while True: pass", "import ctypes; ctypes.PyDLL(None).sleep(3600)"])
def test_the_engine_and_its_forked_children_go_when_the_screen_is_killed(stub: Start, then: str) -> None:
    """Also while C code holds the GIL, when no thread of the engine can act."""
    code = (
        f"pid = os.fork()\nif not pid:\n    import time; time.sleep(3600)\nprogress(f'{{os.getpid()}} {{pid}}')\n{then}"
    )

    with subprocess.Popen(
        [sys.executable, "-c", SCREEN.format(code=code)], stdout=subprocess.PIPE, text=True
    ) as screen:
        line = next(line for line in screen.stdout if line.strip().replace(" ", "").isdigit())
        engine, child = map(int, line.split())
        assert alive(engine)
        assert alive(child)
        screen.kill()
    run(gone(engine))
    run(gone(child))


def test_the_engine_of_another_process_cannot_be_restarted_and_its_exit_is_reported(nothing_left: None) -> None:
    async def work() -> None:
        ours, theirs = socket.socketpair()
        reading, writing = os.pipe()
        session = RemoteSession(EngineLink(ours, reading, os.getpid(), None))
        events = Heard()
        session.on_event = events.append
        with pytest.raises(GradstepError, match=r"gradstep\.open"):
            await session.restart()
        await session.attach()
        theirs.close()
        await events.until(lambda e: e == Died("ended its session"))
        await session.close()
        os.close(writing)

    run(work())


def test_a_status_is_put_in_words() -> None:
    assert exit_words(0) == "exited with status 0"
    assert exit_words(-15) == "killed by SIGTERM"
    assert exit_words(-signal.SIGRTMIN - 1) == f"killed by signal {signal.SIGRTMIN + 1}"
