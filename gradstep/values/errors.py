"""The exception of gradstep, which carries a problem."""

from __future__ import annotations

from gradstep.values.outcomes import Problem


class GradstepError(Exception):
    """Raised with a problem; the session catches it and returns the problem in the outcome."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title}: {problem.what}" + (f"\n{problem.remedy}" if problem.remedy else ""))
        self.problem = problem


def wrong(title: str, what: str, remedy: str = "", subject: str = "") -> GradstepError:
    """Return the error for an invalid command or script; nothing of the debuggee has run."""
    return GradstepError(Problem(kind="wrong", title=title, what=what, remedy=remedy, subject=subject))
