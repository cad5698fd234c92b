"""A screen without textual: carries out what is typed, a letter a command, and draws a line for each outcome."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import termios
import tty

from gradstep.session.transport.process import EngineLink
from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Backward, Continue, Forward, Over, Step
from gradstep.values.outcomes import Output

COMMANDS = {b"f": Forward(), b"b": Backward(), b"s": Step(), b"c": Continue(), b"o": Over()}


async def run() -> int:
    link = EngineLink(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3]), None)
    session = RemoteSession(link)

    def note(event: object) -> None:
        print(
            f"output: {event.text.strip()}" if isinstance(event, Output) else f"event: {event}", end="\r\n", flush=True
        )

    session.on_event = note
    await session.look([])
    print(f"\x1b[?1049h\x1b[?1000hpid {os.getpid()} stop {session.stop.number}", end="\r\n", flush=True)
    loop = asyncio.get_running_loop()
    keys: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(0, lambda: keys.put_nowait(os.read(0, 1)))
    while (key := await keys.get()) not in b"qx":
        outcome = await session.execute(COMMANDS[key])
        said = outcome.problem.title if outcome.problem else "ok"
        at = f", {outcome.stop.phase}" + (f" at {outcome.stop.hit}" if outcome.stop.hit else "")
        print(f"{key.decode()}: {said}, stop {outcome.stop.number}{at}", end="\r\n", flush=True)
    if key == b"x":
        os._exit(7)
    await session.close()
    print("\x1b[?1049l\x1b[?1000l", end="", flush=True)
    return 0


def main() -> None:
    before = termios.tcgetattr(0)
    tty.setraw(0)
    status = asyncio.run(run())
    termios.tcsetattr(0, termios.TCSADRAIN, before)
    sys.exit(status)
