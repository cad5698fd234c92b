"""Find repetitions in a sequence, to write them as `repeat` in a script or as a loop in a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")

_LONGEST = 8
"""The longest block searched for."""


def repeats(
    items: Sequence[_T], may_repeat: Callable[[_T], bool] = lambda _: True, least: int = 2
) -> Iterator[tuple[Sequence[_T], int]]:
    """Yield the items as blocks, each with its number of repetitions: `a b a b c` is `(a b, 2), (c, 1)`.

    Args:
        items: the sequence to fold.
        may_repeat: whether an item may be in a repeated block.
        least: the fewest items that a repeated block must cover; others are yielded one by one.
    """
    place = 0
    while place < len(items):
        length, count = _longest(items, place, may_repeat)
        if length * count < least:
            length, count = 1, 1
        yield items[place : place + length], count
        place += length * count


def _longest(items: Sequence[_T], place: int, may_repeat: Callable[[_T], bool]) -> tuple[int, int]:
    """Return the length of the block and its count in the longest repetition that begins at `place`."""
    best = (1, 1)
    for length in range(1, _LONGEST + 1):
        end = place + length
        if end > len(items) or not may_repeat(items[end - 1]):
            break
        while end < len(items) and items[end] == items[end - length]:
            end += 1
        count = (end - place) // length
        if count > 1 and count * length > best[0] * best[1]:
            best = (length, count)
    return best
