"""Folding repetitions loses nothing, and finds them."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from gradstep.values.repeats import repeats


def folded(text: str, may: str = "abc", least: int = 2) -> list[tuple[Sequence[str], int]]:
    return list(repeats(text, may.__contains__, least))


@given(st.text("abcd", max_size=40), st.integers(2, 6))
def test_the_blocks_are_the_items_again(text: str, least: int) -> None:
    found = folded(text, least=least)
    assert "".join(str(block) * count for block, count in found) == text
    assert all(count == 1 or (count * len(block) >= least and "d" not in block) for block, count in found)
    assert all(len(block) == 1 for block, count in found if count == 1)


def test_the_longest_repetition_from_a_place_on_is_found() -> None:
    assert folded("abababc") == [("ab", 3), ("c", 1)]
    assert folded("aabaab") == [("aab", 2)]
    assert folded("aab", least=4) == [("a", 1), ("a", 1), ("b", 1)]
    assert folded("adad") == [("a", 1), ("d", 1), ("a", 1), ("d", 1)]
