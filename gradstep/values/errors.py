"""The one exception of gradstep: a problem on its way to becoming a value."""

from __future__ import annotations

from pathlib import Path

from gradstep.values.outcomes import Problem


class GradstepError(Exception):
    """Raised inside gradstep where a problem is found; caught at the session's door and put in the outcome."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title}: {problem.what}" + (f"\n{problem.remedy}" if problem.remedy else ""))
        self.problem = problem


def wrong(title: str, what: str, remedy: str = "", subject: str = "") -> GradstepError:
    """Return the error for a command or script that is wrong by itself; nothing of the debuggee has run."""
    return GradstepError(Problem(kind="wrong", title=title, what=what, remedy=remedy, subject=subject))


def refuse_to_overwrite(path: Path, line: str, over: bool) -> None:
    """Refuse to write a file that is there already, unless `over` is set.

    Args:
        path: the file.
        line: the command that writes it, as a line; with a `!` behind its word it overwrites.
        over: whether that `!` was given.

    Raises:
        GradstepError: the file is there.
    """
    if path.exists() and not over:
        word, _, rest = line.partition(" ")
        raise wrong("the file is there already", str(path), f"`{word}! {rest}` overwrites it", path.name)
