"""Faults in the words of a line, and parsing of numbers and booleans."""

from __future__ import annotations

_LARGEST = 2**63 - 1


class StatementError(Exception):
    """A fault in a statement; `at` is its offset in the statement's text."""

    def __init__(self, title: str, what: str = "", remedy: str = "", at: int = 0, width: int = 1) -> None:
        super().__init__(title)
        self.title, self.what, self.remedy, self.at, self.width = title, what, remedy, at, width


def place(word: str) -> tuple[int, int]:
    """Return the offset and length of a parsed word in its line."""
    return getattr(word, "start_pos", 0) or 0, max(1, len(word))


def integer(text: str) -> int:
    """Return an integer that fits in 64 bits, the limit of the wire format.

    Raises:
        StatementError: it is not one.
    """
    if not (text.isascii() and text.isdigit()):
        raise StatementError(f"`{text}` is not a whole number", "", "Write digits only.", *place(text))
    if len(text) > 100 or int(text) > _LARGEST:
        raise StatementError("this number is too large", f"The limit is {_LARGEST:,}.", "", *place(text))
    return int(text)


def positive(text: str) -> int:
    """Return a number of commands, from 1.

    Raises:
        StatementError: it is not one.
    """
    value = integer(text)
    if value < 1:
        raise StatementError("this is not a number of commands", "", "Write 1 or more.", *place(text))
    return value


def truth(text: str) -> bool:
    """Return the value of `true` or `false`.

    Raises:
        StatementError: it is neither.
    """
    if text not in ("true", "false"):
        raise StatementError(f"`{text}` is neither true nor false", "", "Write `true` or `false`.", *place(text))
    return str(text) == "true"
