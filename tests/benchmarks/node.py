"""One node of a backward, key to painted screen, on `mlp` and on a GPT-2 of 124 million parameters.

The yardstick is a bare Textual app that has the same node compute, and paints the same.
"""

from __future__ import annotations

from importlib.util import find_spec

from gpt2 import LARGE
from keys import COLOUR, USUAL, Case, compare

OVER = {"o": "over a node"}


def inside(case: Case, nodes: int) -> Case:
    """Return a case that goes over so many nodes of a backward in each round, and then to its end."""
    return case._replace(turn=f"fi{'o' * nodes}cz", measured=OVER, yardsticks=COLOUR, without_history=False)


SMALL = inside(USUAL, 9)
"""All nodes of the graph of `mlp` but the last two."""
GPT2 = inside(LARGE._replace(layout=USUAL.layout, size=USUAL.size), 30)
"""The loss, the head, and the first of the last block."""


def measure(rounds: int) -> list[str]:
    """Press the keys in turn; return the lines of the report."""
    lines = ["  mlp", *compare(SMALL, rounds)]
    if find_spec("transformers") is None:
        return [*lines, "  GPT-2 not run: it needs transformers (pip install transformers)"]
    return [*lines, "  GPT-2 124M", *compare(GPT2, max(2, rounds // 2))]
