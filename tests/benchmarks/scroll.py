"""Scrolling a weight of 50,257 x 768 against one of 10 x 10: the frame after each key, and the engine's part of it."""

from __future__ import annotations

import re
import sys
from functools import partial
from itertools import cycle
from pathlib import Path

from terminal import Terminal
from timing import row, timed

from gradstep.session.local import Session
from gradstep.values.commands import Backward, Forward, Load, Show
from gradstep.values.expressions import Name
from gradstep.values.views import LookWhy
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.tensor import LookTensor

FILE = Path(__file__).with_name("scroll_workload.py")
KEYS = {"a row": ("j", "k"), "a column": ("l", "h")}
"""There and back: a window that ends where the tensor does cannot be scrolled on."""
SHAPES = {"large": (50_257, 768), "small": (10, 10)}
ROWS, COLUMNS = 20, 6
"""A window such as the panel asks for."""


def opened(name: str) -> Terminal:
    """Start gradstep, run forward and backward, and put the cursor where the large window scrolls with every key."""
    terminal = Terminal([sys.executable, "-m", "gradstep", f"{FILE}:{name}", "--seed", "0", "--device", "cpu"])
    terminal.until(lambda text: "stop 1 " in text.split("\n", 1)[0] + " ", limit=120)
    terminal.settle(2)
    for key, stop in (("f", 2), ("b", 3)):
        terminal.press(key, lambda text, stop=stop: f"stop {stop} " in text.split("\n", 1)[0] + " ", limit=60)
    terminal.settle(2)
    if name == "large":
        terminal.press("g", lambda text: ": element" in text)
        terminal.press("5000, 300\r", lambda text: at(text) == (5000, 300))
    terminal.settle(1)
    return terminal


def at(text: str) -> tuple[int, int] | None:
    """Return the element that Why is about, which is the one under the cursor."""
    found = re.search(r"0\.weight(?:\.grad)?\[(\d+), (\d+)\]", text)
    return (int(found[1]), int(found[2])) if found else None


def moved_to(element: tuple[int, int], text: str) -> bool:
    """Tell whether a screen shows the cursor on an element, and the row that it is in."""
    return at(text) == element and f"▶ [{element[0]}]" in text


def frames(turns: int) -> list[str]:
    """Press each key in turn in both; return a line for each way."""
    programs = {name: opened(name) for name in SHAPES}
    where = {name: at(program.text()) or (0, 0) for name, program in programs.items()}
    seconds: dict[tuple[str, str], list[float]] = {(name, word): [] for name in programs for word in KEYS}
    for turn in range(turns + 1):
        for word, ways in KEYS.items():
            for name, program in programs.items():
                # the large one goes on and on, the small one there and back
                key = ways[0] if name == "large" else ways[turn % 2]
                step = 1 if key == ways[0] else -1
                i, j = where[name]
                where[name] = (i + step, j) if word == "a row" else (i, j + step)
                painted = program.press(key, partial(moved_to, where[name]))
                if turn:
                    seconds[name, word].append(painted.seconds)
    for program in programs.values():
        program.close()
    return [row(f"key to paint: {word}", seconds["large", word], seconds["small", word], 1.0) for word in KEYS]


def engine(turns: int) -> list[str]:
    """Time the engine alone, in this process: windows, and what goes with the cursor."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for name, (rows, columns) in SHAPES.items():
        session = Session()
        session.can_pause(lambda _: None)  # as a screen says: nothing is written between two looks
        for command in (Load(f"{FILE}:{name}", seed=0, device="cpu"), Forward(), Backward(), Show(Name("0.weight"))):
            session.execute(command)
        session.look(LookTensor(), LookWhy(), LookLedger())
        places = cycle((37 * i % rows, 11 * i % columns) for i in range(1, 400))
        for word, looks in {
            "window": lambda i, j: (LookTensor(ROWS, COLUMNS, i, j, hurry=True),),
            "window, why, ledger": lambda i, j: (LookTensor(ROWS, COLUMNS, i, j), LookWhy((i, j)), LookLedger((i, j))),
        }.items():
            taken = [timed(partial(session.look, *looks(*next(places)))) for _ in range(20 * turns)]
            seconds[name, word] = taken[5:]
    words = ("window", "window, why, ledger")
    return [row(f"engine: {word}", seconds["large", word], seconds["small", word], 1.0) for word in words]


def measure(turns: int) -> list[str]:
    """Return the lines of the report."""
    return [*engine(turns), *frames(turns)]
