"""The one exception of gradstep: a problem on its way to becoming a value."""

from __future__ import annotations

from gradstep.values.outcomes import Problem


class GradstepError(Exception):
    """Raised inside gradstep where a problem is found; caught at the session's door and put in the outcome."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title}: {problem.what}" + (f"\n{problem.remedy}" if problem.remedy else ""))
        self.problem = problem


def wrong(title: str, what: str, remedy: str = "", subject: str = "") -> GradstepError:
    """Return the error for a command or script that is wrong by itself; nothing of the debuggee has run."""
    return GradstepError(Problem(kind="wrong", title=title, what=what, remedy=remedy, subject=subject))
