"""Key to painted screen with every panel of the largest layout open, on `mlp`."""

from __future__ import annotations

from keys import COLOUR, Case, compare

WIDE = Case("mlp", "notebook", "203,530", "inspect", (200, 60), COLOUR)


def measure(rounds: int) -> list[str]:
    """Press the four keys in turn; return the lines of the report."""
    return compare(WIDE, rounds)
