"""Key to painted screen with every panel of the largest layout open, on a GPT-2 of 124 million parameters."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from keys import COLOUR, Case, compare

TARGET = f"{Path(__file__).with_name('gpt2_workload.py')}:workload"
LARGE = Case(TARGET, "gpt2", "124,439,808", "inspect", (200, 60), COLOUR, quiet=0.5)


def measure(rounds: int) -> list[str]:
    """Press the four keys in turn; return the lines of the report."""
    if find_spec("transformers") is None:
        return ["  not run: it needs transformers (pip install transformers)"]
    return compare(LARGE, rounds)
