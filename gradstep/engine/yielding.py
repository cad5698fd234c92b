"""Work for a view that yields to a command: one that waits is carried out before the work is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Waits: TypeAlias = Callable[[], bool]
"""Returns whether a command waits for the present request to end."""
_Piece = TypeVar("_Piece")


class YieldedError(BaseException):
    """Work was given up because a command waits; it is done again when its view is requested again.

    It is not an `Exception`: the code of the debuggee that is rerun must not catch it.
    """

    def __init__(self) -> None:
        super().__init__("it takes long, and a command goes first")


def yielding(pieces: Iterable[_Piece], waits: Waits) -> Iterator[_Piece]:
    """Yield pieces of work, each of a few milliseconds, until a command waits.

    Raises:
        YieldedError: a command waits.
    """
    for piece in pieces:
        give_way(waits)
        yield piece


def give_way(waits: Waits) -> None:
    """Raise if a command waits.

    Raises:
        YieldedError: a command waits.
    """
    if waits():
        raise YieldedError


def never() -> bool:
    """Return False: no command waits."""
    return False


def always() -> bool:
    """Return True: whatever takes long is left for a later request."""
    return True
