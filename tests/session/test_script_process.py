"""Scripts in an engine process behave as they do alone: what they print, how they end, and what they leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from textwrap import dedent

import pytest
from running_scripts import Watched, alone, as_ended, to_the_end

from gradstep.session.transport import connection

TRAINS = """
import torch
torch.manual_seed(0)
net = torch.nn.Linear(3, 1)
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(2):
    opt.zero_grad()
    net(torch.ones(4, 3)).sum().backward()
    opt.step()
"""

SCRIPTS = {
    "ordinary": """
        import atexit, ctypes, json, os, signal, subprocess, sys, threading, time
        print(sys.argv, __name__, __file__, sys.path[0], sys.orig_argv[1:])
        print(__spec__, __package__, __doc__, sorted(vars()))
        print(os.isatty(0), os.isatty(1), os.get_terminal_size(), open("/dev/tty").isatty())
        print(signal.getsignal(signal.SIGINT), threading.current_thread() is threading.main_thread())
        print(os.open("/dev/null", os.O_RDONLY), os.getpgrp() == os.getpid(), os.tcgetpgrp(0) == os.getpid())
        print("to stderr", file=sys.stderr)
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["echo", "from a child"])
        os.chdir("/")
        sys.modules["json"] = sys.modules["__main__"] = None
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.2), print("a thread ends"))).start()
        sys.exit(3)
    """,
    "forks": f"""
        import multiprocessing, os, sys
        {TRAINS.replace(chr(10), chr(10) + "        ")}
        def work(n):
            net(torch.ones(1, 3)).sum().backward()
            return n * n
        class Data(torch.utils.data.Dataset):
            def __len__(self): return 4
            def __getitem__(self, i): return net(torch.ones(3)).detach() * 0 + i
        if __name__ == "__main__":
            torch.set_num_threads(1)
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(pool.map(work, range(4)))
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(pool.map(abs, [-3]))
            print(torch.cat(list(torch.utils.data.DataLoader(Data(), num_workers=2))).flatten())
            opt.step()
            pid = os.fork()
            if pid:
                print("the child ended with", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            else:
                net(torch.ones(1, 3)).sum().backward()
                print("the child falls off the end")
                sys.exit(7)
    """,
    "exec": """
        import os, sys
        if "again" not in sys.argv:
            print("first", flush=True)
            os.execv(sys.executable, [*sys.orig_argv, "again"])
        print("second", sys.argv)
        sys.exit(5)
    """,
    "thread": f"""
        import threading
        {TRAINS.replace(chr(10), chr(10) + "        ")}
        def train():
            for _ in range(3):
                opt.zero_grad()
                net(torch.ones(4, 3)).sum().backward()
                opt.step()
            print(net.weight)
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    """,
    "patches": f"""
        import torch
        calls = []
        own, step = torch.nn.Module.__call__, torch.optim.SGD.step
        def call(self, *args, **kwargs):
            calls.append(type(self).__name__)
            return own(self, *args, **kwargs)
        torch.nn.Module.__call__ = call
        torch.optim.SGD.step = lambda self, closure=None: (calls.append("step"), step(self, closure))[1]
        {TRAINS.replace(chr(10), chr(10) + "        ")}
        torch.nn.Module.__call__ = own
        print(calls, net.weight)
    """,
    "os._exit": "import os; print('gone'); import sys; sys.stdout.flush(); os._exit(3)",
    "text": "import sys; sys.exit('no data')",
    "interrupted": "print('x')\ntry:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyboardInterrupt from e\n",
    "hook": "import sys\nsys.excepthook = lambda *_: print('own hook')\nraise ValueError(1)\n",
    "raises": "def f(x):\n    return 1 / x\n\nprint('a')\nf(0)\n",
    "segfault": "import ctypes; print('on the brink', flush=True); ctypes.string_at(0)",
    "abort": "import os; os.abort()",
    "kill": "import os, signal; print('last words'); os.kill(os.getpid(), signal.SIGKILL)",
    "closed": "import os, sys; print('x'); sys.stdout.close(); os.closerange(3, 1000)",
}


REPLACED = "closed gradstep's socket, as os.execv does, and "
"""How a script whose process runs another program ends."""


def written(folder: Path, text: str) -> Path:
    """Write a script; return its path."""
    path = folder / "train.py"
    path.write_text(dedent(text))
    return path


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_and_ends_as_alone(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, SCRIPTS[name])
    by_itself = alone(path, "--lr", "0.1")
    printed, ended = asyncio.run(to_the_end(path, "--lr", "0.1"))
    assert printed == by_itself.printed
    assert ended.removeprefix(REPLACED) == as_ended(by_itself.status)


def test_a_traceback_through_a_forward_has_no_frame_of_gradsteps(tmp_path: Path) -> None:
    path = written(tmp_path, "import torch\nnet = torch.nn.Linear(2, 1)\nnet(torch.ones(1, 3))\n")
    printed, ended = asyncio.run(to_the_end(path))
    assert "mat1 and mat2" in printed
    assert "net(torch.ones(1, 3))" in printed
    assert "gradstep/" not in printed
    assert ended == "ended with exit code 1"


def test_a_module_runs_as_python_m_runs_it(tmp_path: Path) -> None:
    package = tmp_path / "tool"
    package.mkdir()
    (package / "__init__.py").write_text("value = 3\n")
    (package / "train.py").write_text(
        "import sys\nfrom . import value\n"
        "print(value, sys.argv, sys.orig_argv[1:], __name__, __package__, __spec__.name, sys.path[0])\n"
        "sys.exit(-1)\n"
    )
    by_itself = alone(package, "--x", module="tool.train")
    assert "tool.train" in by_itself.printed
    printed, ended = asyncio.run(to_the_end(package, "--x", module="tool.train"))
    assert (printed, ended) == (by_itself.printed, "ended with exit code 255")


def test_a_script_that_the_kernel_killed_for_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "oom_kills", iter(range(9)).__next__)
    _, ended = asyncio.run(to_the_end(written(tmp_path, SCRIPTS["kill"])))
    assert ended == "killed by SIGKILL: the kernel was out of memory"


ASKS = """
    import getpass, pdb, signal, os, sys, termios, tty
    cooked = termios.tcgetattr(0)
    tty.setcbreak(0)
    print("keys are polled", flush=True)
    while not os.path.exists("looked"):
        pass
    termios.tcsetattr(0, termios.TCSANOW, cooked)
    name = input("name? ")
    word = getpass.getpass()
    signal.signal(signal.SIGWINCH, lambda *_: print("now", os.get_terminal_size().columns, "columns"))
    print("ready")
    pdb.set_trace()
    print("bye", name, len(word))
"""


def test_a_script_that_asks_is_seen_to_wait_and_is_answered(tmp_path: Path) -> None:
    async def test() -> None:
        run = Watched()
        terminal = run.session.terminal
        assert terminal is not None
        ends = asyncio.ensure_future(run.run(written(tmp_path, ASKS)))
        await run.until("keys are polled")
        assert not terminal.awaits_input()
        (tmp_path / "looked").touch()
        for question, answer in (("name? ", "Ada\r"), ("Password: ", "secret\r"), ("(Pdb) ", "p name\r")):
            await run.until(question)
            while not terminal.awaits_input():
                await asyncio.sleep(0)
            assert terminal.write(answer)
        await run.until("'Ada'")
        while not terminal.awaits_input():  # a signal that comes just before Python waits is handled after it
            await asyncio.sleep(0)
        terminal.resize(33, 5)
        await run.until("now 33 columns")
        assert "secret" not in run.printed
        terminal.write("c\r")
        outcome = await ends
        assert run.printed.endswith("bye Ada 6\r\n")
        assert outcome is not None
        assert outcome.text == "train.py ended with exit code 0. No backward was seen: it ran as `python` runs it."
        assert not terminal.awaits_input()
        await run.session.close()

    asyncio.run(asyncio.wait_for(test(), 60))


LEAVES = """
    import os, signal
    sleeps, wakes = os.pipe()
    for daemon in (False, True):
        if not os.fork():
            if daemon:
                os.setsid()
            os.write(1, b"child %d\\n" % os.getpid())
            os.close(wakes)
            os.read(sleeps, 1)
            os.write(1, b"awake %d\\n" % daemon)
            while True:
                signal.pause()
    input()
    os._exit(0)
"""


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait for its new parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_children_outlive_the_script_and_only_those_of_its_group_end_at_quit(tmp_path: Path) -> None:
    async def test() -> None:
        run = Watched()
        ends = asyncio.ensure_future(run.run(written(tmp_path, LEAVES)))
        while run.printed.count("child") < 2:
            await run.change()
        assert run.session.terminal is not None
        run.session.terminal.write("\r")
        assert await ends is None
        assert run.died == "ended with exit code 0"
        await run.until("awake 0")
        await run.until("awake 1")
        child, daemon = (int(line.split()[1]) for line in run.printed.splitlines() if line.startswith("child"))
        await run.session.close()
        assert lives(daemon)
        while lives(child):
            await asyncio.sleep(0)
        os.kill(daemon, signal.SIGKILL)

    asyncio.run(asyncio.wait_for(test(), 60))
