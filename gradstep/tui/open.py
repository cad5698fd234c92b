"""The screen process of `gradstep.open`, attached to the session of the process that started it."""

from __future__ import annotations

import signal
import socket
import sys

from gradstep.session.transport.process import EngineLink, die_with
from gradstep.session.transport.remote import RemoteSession


def main() -> None:
    """Run the screen until it is quit. Arguments: socket, pipe of the debuggee's output, the caller's process id."""
    descriptor, output, caller = map(int, sys.argv[1:])
    try:
        # a signal on which the screen restores the terminal
        die_with(caller, signal.SIGTERM)
        session = RemoteSession(EngineLink(socket.socket(fileno=descriptor), output, caller, None))
        from gradstep.tui.run import run_app

        status = run_app(session)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    sys.exit(status)
