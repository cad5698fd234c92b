"""Step a loop that the test wrote, as a script is stepped: on a thread of its own, with a session beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gradstep.engine.problems import problem_of_script
from gradstep.engine.script.program import Ended
from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd
from gradstep.values.commands import HISTORY
from gradstep.values.outcomes import Outcome, Running


@dataclass
class Function:
    """A function that trains, run where a script would be."""

    trains: Callable[[], object]
    name: str = "train.py"

    def run(self) -> Ended:
        """Call it."""
        try:
            self.trains()
        except Exception as error:
            return Ended(1, problem_of_script(error), error)
        return Ended(0)


@contextmanager
def stepped(
    trains: Callable[[], object], history: int = HISTORY, on_running: Callable[[Running], None] = lambda _: None
) -> Iterator[ScriptSession]:
    """Yield a session that stands before the first forward of `trains`."""
    session = ScriptSession(lambda _: Function(trains), history=history, on_running=on_running)
    thread = threading.Thread(target=session.run_script, daemon=True)
    thread.start()
    session.execute(cmd.Run("train.py"))
    try:
        yield session
    finally:
        session.close()
        thread.join(30)
        assert not thread.is_alive()


def phases(session: ScriptSession, most: int = 100) -> list[Outcome]:
    """Step through every phase that is left; return the outcomes, the last of which says that it ended."""
    outcomes = []
    while session.ended is None and len(outcomes) < most:
        outcomes.append(session.execute(cmd.Over()))
    return outcomes
