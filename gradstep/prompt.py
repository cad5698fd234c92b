"""The session for a Python prompt, a notebook or a test: it also runs lines of the steps language."""

from __future__ import annotations

import os

from msgspec.structs import replace

from gradstep.session import local
from gradstep.steps.language.faults import problem_of_line
from gradstep.steps.language.parse import parse_script
from gradstep.steps.runner import StepsRunner
from gradstep.values.commands import Say
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Outcome


class Session(local.Session):
    """Steps a workload in this process, without a screen."""

    def run(self, text: str) -> Outcome:
        """Run lines of the steps language, such as `set lr = 0.01` or `repeat 5 { forward; backward }`.

        Args:
            text: one or more lines; `gradstep help steps` lists them.

        Returns:
            The outcome of the last line, with the output of all lines; or that of the first line that failed.
        """
        try:
            script = parse_script(text, os.path.join(os.getcwd(), "session.run"))
        except GradstepError as error:  # nothing was carried out
            self.problem = problem_of_line(error)
            return Outcome(Say(text), self.stop, self.problem)
        runner, outcome, printed = StepsRunner(script), Outcome(Say(""), self.stop), list[str]()
        begun = len(self.log)
        while runner.line is not None:
            outcome = self.execute(runner.line.command)
            failure = runner.feed(outcome.problem)
            # an error that `expect error` expects is not a problem
            self.problem = None if failure is None else failure.problem
            outcome = replace(outcome, problem=self.problem)
            if failure is not None:
                break
            printed += filter(None, [outcome.text])
        text = outcome.text if self.problem is not None else "\n".join(printed)
        return replace(outcome, text=text, instead=tuple(self.log[begun:]))

    def __repr__(self) -> str:
        """Return the workload, the iteration and the stop."""
        stop = self.stop
        if not stop.number:
            return "<gradstep.Session, nothing loaded>"
        inside = f" in {stop.position.words}" if stop.position is not None else ""
        return f"<gradstep.Session {stop.workload}, iteration {stop.iteration}, stop {stop.number}{inside}>"
