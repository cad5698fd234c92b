"""What is wrong with a script, each fault with its place and a caret under the word."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from msgspec import Struct

from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem

_SHOWN = 140
"""Characters of a source line that a report shows around the caret."""


class Fault(Struct, frozen=True):
    """One thing wrong with a script: `line` and `column` count from 1, `width` is how far the caret reaches.

    Of a file that cannot be read both are 0.
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
        """Write the fault as a report: place and title, the line, the caret, what to do."""
        if self.line:
            parts = [f"{self.path}:{self.line}:{self.column}: {self.title}"]
            parts += [f"    {text}" for text in caret_lines(self.source, self.column, self.width)]
        else:
            parts = [f"{self.path}: {self.title}"]
        parts += [f"  {text}" for text in (self.what, self.remedy) if text]
        return "\n".join(parts)


class ScriptError(GradstepError):
    """A script that is wrong: every fault that could be found in it, in the order of the lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        title = faults[0].title if count == 1 else f"{count} lines of the script are wrong"
        first = faults[0]
        subject = first.source[first.column - 1 : first.column - 1 + first.width]
        what = "\n".join(str(fault) for fault in faults)
        super().__init__(Problem(kind="wrong", title=title, what=what, remedy=first.remedy, subject=subject))
        self.faults = tuple(faults)

    def __str__(self) -> str:
        return self.problem.what


def problem_of_line(error: GradstepError) -> Problem:
    """Return what is wrong with a line that was typed: the first fault, with a caret under its place."""
    if not isinstance(error, ScriptError):
        return error.problem
    fault = error.faults[0]
    what = "\n".join(filter(None, [*caret_lines(fault.source, fault.column, fault.width), fault.what]))
    return Problem("wrong", fault.title, what, fault.remedy)


def caret_lines(source: str, column: int, width: int = 1) -> tuple[str, str]:
    """Return the source line, cut to a readable length, and the line with the caret that belongs under it.

    Tabs stay tabs and wide characters take two places, so that the caret stands right in a terminal.
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
