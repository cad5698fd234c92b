"""Measurements that yield to a command: one that waits is carried out before they are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

Waits: TypeAlias = Callable[[], bool]
"""Returns whether a command waits for the present request to end."""
_Piece = TypeVar("_Piece")


class YieldedError(Exception):
    """A measurement was given up because a command waits; it is made again when it is requested again."""


def yielding(pieces: Iterable[_Piece], waits: Waits) -> Iterator[_Piece]:
    """Yield pieces of work, each of a few milliseconds, until a command waits.

    Raises:
        YieldedError: a command waits.
    """
    for piece in pieces:
        if waits():
            raise YieldedError
        yield piece


def never() -> bool:
    """Return False: no command waits."""
    return False
