"""Run a script alone in a terminal, and on an engine as the screen does; return what each printed and how it ended."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from pathlib import Path
from typing import NamedTuple

from gradstep.session.transport.process import exit_words
from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Command, Continue, Run
from gradstep.values.outcomes import Died, Event, Outcome, Output


class Alone(NamedTuple):
    """What a script printed, and its exit status as subprocess has it."""

    printed: str
    status: int


def alone(path: Path, *arguments: str, module: str = "") -> Alone:
    """Run a script, or a module beside it, with `python` in a terminal."""
    pid, main = pty.fork()
    if not pid:
        os.chdir(path.parent)
        os.execv(sys.executable, [sys.executable, *(["-m", module] if module else [path.name]), *arguments])
    printed, ended = b"", False
    while True:
        try:
            printed += os.read(main, 1 << 16)
        except OSError:  # nothing has the terminal open: what was written before that may still come
            if ended:
                break
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT) is not None
    os.close(main)
    return Alone(printed.decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


class Watched:
    """A script on an engine, with what it printed and how the engine ended by itself."""

    def __init__(self, python: str = "") -> None:
        self.session = RemoteSession.spawn(script=True, python=python)
        self.session.on_event = self._take
        self.printed = ""
        self.died = ""
        self.changed = asyncio.Event()

    def _take(self, event: Event) -> None:
        if isinstance(event, Output):
            self.printed += event.text
        elif isinstance(event, Died):
            self.died = event.how
        self.changed.set()

    async def run(self, path: Path, *arguments: str, module: str = "") -> Outcome | None:
        """Run a script, or a module beside it, to its first stop."""
        return await self.do(Run(module or path.name, arguments, bool(module), str(path.parent)))

    async def do(self, command: Command) -> Outcome | None:
        """Carry out a command; None when the engine ended meanwhile."""
        try:
            return await self.session.execute(command)
        except ConnectionError:
            return None

    async def until(self, text: str) -> None:
        """Wait until the script has printed a text."""
        while text not in self.printed:
            await self.change()

    async def change(self) -> None:
        """Wait until something is printed, or the script ends."""
        self.changed.clear()
        await asyncio.wait_for(self.changed.wait(), 60)


async def to_the_end(path: Path, *arguments: str, module: str = "") -> tuple[str, str]:
    """Run a script through; return what it printed, and how it ended in the words of the screen."""
    watched = Watched()
    try:
        outcome = await watched.run(path, *arguments, module=module)
        while outcome is not None and not outcome.stop.ended:
            assert outcome.ok
            outcome = await watched.do(Continue())
        while outcome is None and "runs on" in watched.died:
            await watched.change()
        return watched.printed, outcome.stop.ended if outcome is not None else watched.died
    finally:
        await watched.session.close()


def as_ended(status: int) -> str:
    """Return an exit status of a run alone in the words of the screen: of an interrupt, what a shell makes of it."""
    status = 128 - status if status == -signal.SIGINT else status
    return f"ended with exit code {status}" if status >= 0 else exit_words(status)
