"""Repetition in a row of things: what a script writes as `repeat`, and a program as a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")

_LONGEST = 8
"""The longest block that is looked for."""


def repeats(
    items: Sequence[_T], may_repeat: Callable[[_T], bool] = lambda _: True, least: int = 2
) -> Iterator[tuple[Sequence[_T], int]]:
    """Yield blocks that make up the items, each with its count in a row: `a b a b c` is `(a b, 2), (c, 1)`.

    Args:
        items: what is folded.
        may_repeat: whether an item may stand in a block that repeats.
        least: how many items a block and its repetitions must make up; fewer are yielded one by one.
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
