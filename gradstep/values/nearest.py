"""The nearest valid words to an invalid one, for "did you mean" hints."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` known words similar to `word`, nearest first, without those much less similar."""
    from difflib import SequenceMatcher, get_close_matches

    by_lower = {k.lower(): k for k in known}
    close = get_close_matches(word.lower(), by_lower, count, 0.6)
    ratios = [SequenceMatcher(None, m, word.lower()).ratio() for m in close]
    return [by_lower[m] for m, ratio in zip(close, ratios, strict=True) if ratio >= ratios[0] - 0.1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "Did you mean `forward`?"; empty when no known word is similar."""
    found = [f"`{w}`" for w in nearest(word, known)]
    return f"Did you mean {' or '.join(found)}?" if found else ""
