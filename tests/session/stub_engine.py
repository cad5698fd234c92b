"""An engine process without torch: `say CODE` runs the code in it. For tests of what is between screen and engine."""

from __future__ import annotations

import os
import sys
import types

from gradstep.session.transport import engine_main as serve
from gradstep.values.commands import Say
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.views import NoView


class Session:
    """Counts its commands as stops; interrupts become outcomes, as in the real one."""

    def __init__(self, history, history_offload, history_time, on_progress) -> None:
        kept = history, history_offload, history_time
        self.names = {"progress": on_progress, "os": os, "sys": sys, "kept": kept}
        self.number = 0
        self.running = False

    def can_pause(self, *_) -> None:
        """Nothing of it is watched from inside."""

    def idle(self):
        return ()

    @property
    def stop(self):
        return Stop(number=self.number, workload="stub" if self.number else "")

    def execute(self, command):
        problem = None
        try:
            self.running = True
            if isinstance(command, Say):
                exec(command.text, self.names)
            self.running = False
        except KeyboardInterrupt:
            problem = Problem("interrupted", "interrupted", "rolled back")
        self.number += 1
        return Outcome(command, self.stop, problem, text=self.names.pop("text", ""))

    def look(self, *requests, at=0):
        return tuple(NoView(self.number, type(r).__name__) for r in requests)


def main() -> None:
    local = types.ModuleType("gradstep.session.local")
    local.Session = Session
    sys.modules["gradstep.session.local"] = local
    serve.main()
