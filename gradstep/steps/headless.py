"""Run a `.steps` file without a screen, for replay and the pytest plugin."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from msgspec.structs import replace

from gradstep.steps.language.script import Script, StepsLine
from gradstep.steps.runner import Failure, StepsRunner
from gradstep.values.commands import HISTORY, Command, Expect, Load, Screenshot
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookSource
from gradstep.values.views.ledger import LookLedger

if TYPE_CHECKING:
    from gradstep.session.local import Session

Draw = Callable[["Session", str, tuple[int, int]], None]
"""Draws the session's screen to an SVG file; takes session, path, and columns and rows."""


def session_for(
    script: Script, history: int = HISTORY, offload: bool = False, on_progress: Callable[[str], None] = lambda _: None
) -> Session:
    """Return the session that a script needs: in this process, or with a process of its own for a training script."""
    if script.runs():
        from gradstep.session.transport.blocking import ScriptProcess

        made: Any = ScriptProcess()
        return cast("Session", made)
    from gradstep.session.local import Session

    # no limit in time: what a replay prints does not depend on how fast it was
    return Session(history=history, history_offload=offload, history_time=math.inf, on_progress=on_progress)


class Headless:
    """A run of a script, up to its first failure.

    Args:
        script: the script to run.
        session: the session to run it on.
        draw: draws a screenshot; None skips screenshots.
        size: columns and rows of a screenshot.
        seed: overrides the seed of the script's `load`.
        device: overrides its device.
        observed: whether views of stops are needed. If not, and the script expects no error, the session keeps nothing
            to roll a phase back with: the run ends at its first failure anyway.
        lines: whether to record the source line of each node; always done if the script may stop inside a phase.
    """

    def __init__(
        self,
        script: Script,
        session: Session,
        *,
        draw: Draw | None = None,
        size: tuple[int, int] = (120, 40),
        seed: int | None = None,
        device: str | None = None,
        observed: bool = False,
        lines: bool = False,
    ) -> None:
        self.script, self.session = script, session
        self.runner = StepsRunner(script)
        self.commands = 0
        self.held = 0
        self.failure: Failure | None = None
        self._draw, self._size = draw, size
        self.observed = observed or script.observes()
        self._lines = lines or script.inside()
        self._travels = observed or script.travels()
        self._given = {k: v for k, v in (("seed", seed), ("device", device)) if v is not None}

    def run(self, carried: Callable[[StepsLine, Outcome], None]) -> Failure | None:
        """Run the script; `carried` is called after each command with its line and outcome."""
        runner, execute = self.runner, self.session.execute
        line = runner.line
        while line is not None:
            command = line.command
            kind = type(command)
            outcome = self._special(command) if kind is Load or kind is Screenshot else execute(command)
            problem = outcome.problem
            if problem is None and outcome.instead is not None:  # ctrl+c paused it inside a phase
                raise KeyboardInterrupt
            if problem is None:
                self.commands += 1
                if kind is Expect:
                    self.held += 1
            self.failure = runner.feed(problem)
            carried(line, outcome)
            if self.failure is not None:
                return self.failure
            line = runner.line
        return None

    def _special(self, command: Command) -> Outcome:
        if isinstance(command, Load):
            outcome = self.session.execute(replace(command, **self._given) if self._given else command)
            self.session.observe(self.observed)
            if not self._travels:
                self.session.forget()
            if self._lines:
                self.session.look(LookSource())  # records lines from here on
            if self.observed and self._draw is not None:
                # a screenshot shows the ledger and the source lines of the graph
                self.session.look(LookLedger(), LookGraph(count=1))
            return outcome
        assert isinstance(command, Screenshot)
        path = os.path.join(os.path.dirname(self.script.path), command.path)
        columns, _, rows = command.size.partition("x")
        return Outcome(command, self.stop, self.draw(path, (int(columns), int(rows)) if rows else self._size))

    @property
    def stop(self) -> Stop:
        """The current stop."""
        return self.session.stop

    def draw(self, path: str, size: tuple[int, int] | None = None) -> Problem | None:
        """Draw the current screen to a file; return a problem when it cannot be written."""
        if self._draw is None:
            return None
        try:
            self._draw(self.session, path, size or self._size)
        except OSError as error:
            what = f"{path}: {error.strerror or error}"
            return Problem(kind="wrong", title="the screenshot cannot be written", what=what, subject=path)
        return None
