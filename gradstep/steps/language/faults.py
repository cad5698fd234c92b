"""Faults of a script, each with its position and a caret."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from msgspec import Struct

from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem

_SHOWN = 140
"""Most characters of a source line shown around the caret."""


class Fault(Struct, frozen=True):
    """One fault of a script: `line` and `column` count from 1, `width` is the length of the caret.

    For a file that cannot be read both are 0.
    """

    path: str
    line: int
    column: int
    source: str
    title: str
    what: str = ""
    remedy: str = ""
    width: int = 1

    def __str__(self) -> str:
        """Format the fault: position and title, the line, the caret, the remedy."""
        if self.line:
            parts = [f"{self.path}:{self.line}:{self.column}: {self.title}"]
            parts += [f"    {text}" for text in caret_lines(self.source, self.column, self.width)]
        else:
            parts = [f"{self.path}: {self.title}"]
        parts += [f"  {text}" for text in (self.what, self.remedy) if text]
        return "\n".join(parts)


class ScriptError(GradstepError):
    """An invalid script, with all faults found, in line order."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        title = faults[0].title if count == 1 else f"{count} lines of the script are invalid"
        first = faults[0]
        subject = first.source[first.column - 1 : first.column - 1 + first.width]
        what = "\n".join(str(fault) for fault in faults)
        super().__init__(Problem(kind="wrong", title=title, what=what, remedy=first.remedy, subject=subject))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return self.problem.what


def problem_of_line(error: GradstepError) -> Problem:
    """Return the problem of a typed line: its first fault, with a caret."""
    if not isinstance(error, ScriptError):
        return error.problem
    fault = error.faults[0]
    what = "\n".join(filter(None, [*caret_lines(fault.source, fault.column, fault.width), fault.what]))
    return Problem("wrong", fault.title, what, fault.remedy)


def caret_lines(source: str, column: int, width: int = 1) -> tuple[str, str]:
    """Return the source line, cut to a readable length, and the caret line for it.

    Tabs stay tabs and wide characters take two columns, so that the caret is aligned in a terminal.
    """
    start = max(0, column - 1 - _SHOWN // 2) if len(source) > _SHOWN else 0
    shown = source[start : start + _SHOWN]
    at = column - 1 - start
    pad = "".join(_blank(c) for c in shown[:at]).ljust(at if at > len(shown) else 0)
    carets = "^" * max(1, sum(len(_blank(c)) for c in shown[at : at + width].rstrip()))
    return shown.rstrip(), pad + carets


def _blank(character: str) -> str:
    if character == "\t":
        return "\t"
    if unicodedata.combining(character):
        return ""
    return "  " if unicodedata.east_asian_width(character) in "WF" else " "
