"""A graph of 100,000 nodes against one of 100: the frame after each key, a window of rows, and what layout takes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from terminal import Terminal
from timing import milliseconds, percentile, row

from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.views.graph import GraphView, LookGraph

FILE = Path(__file__).with_name("graph_workload.py")
KEYS = {
    "j": "a row down",
    "\x1b[6~": "a page down",
    "\x1b[F": "to the end",
    "\x1b[5~": "a page up",
    "\x1b[H": "to the start",
}
ROWS = 90
"""Rows of a window."""


def shown(text: str) -> int:
    """Return the number of the node that the line below the graph describes, -1 while its row has not come."""
    found = re.search(r"^▌?\s*#(\d+) [A-Z]\w+", text, re.MULTILINE)
    return int(found[1]) if found else -1


def other_than(node: int) -> Callable[[str], bool]:
    """Return what tells that another node is described now."""
    return lambda text: shown(text) not in (-1, node)


def opened(name: str) -> Terminal:
    """Start gradstep on a workload, run a forward, and give the graph the screen."""
    terminal = Terminal([sys.executable, "-m", "gradstep", f"{FILE}:{name}", "--seed", "0", "--device", "cpu"])
    terminal.until(lambda text: "stop 1 " in text.split("\n", 1)[0] + " ", limit=120)
    terminal.settle(2)
    terminal.press("f", lambda text: "stop 2 " in text.split("\n", 1)[0] + " ", limit=60)
    terminal.press("2", lambda text: "▌2 Graph" in text or "▌Graph" in text)
    terminal.press("m", lambda text: "▌Graph" in text)
    terminal.press("j", lambda text: shown(text) >= 0, limit=60)
    terminal.settle()
    return terminal


def frames(turns: int) -> list[str]:
    """Press each key in turn in both; return a line for each."""
    programs = {name: opened(name) for name in ("small", "large")}
    seconds: dict[tuple[str, str], list[float]] = {(name, key): [] for name in programs for key in KEYS}
    for turn in range(turns + 1):
        for key in KEYS:
            for name, program in programs.items():
                painted = program.press(key, other_than(shown(program.text())))
                program.settle(0.3)  # where the cursor rests on a parameter, it is shown
                if turn:
                    seconds[name, key].append(painted.seconds)
    for program in programs.values():
        program.close()
    return [row(f"frame: {word}", seconds["large", key], seconds["small", key], 1.0) for key, word in KEYS.items()]


def inside(turns: int) -> list[str]:
    """Time the engine alone, in this process: what is done once a graph, and a window none of whose rows was seen."""
    lines, windows = [], {}
    for name in ("small", "large"):
        session = Session()
        session.execute(Load(f"{FILE}:{name}", seed=0, device="cpu"))
        once, windows[name] = for_one(session, turns)
        lines.append(once)
    return [*lines, row(f"window of {ROWS} new rows", windows["large"], windows["small"], 1.0)]


def for_one(session: Session, turns: int) -> tuple[str, list[float]]:
    """Return a line on what is done once a graph, and the seconds of windows onto it."""
    plain, lined, laid, windows = [], [], [], []
    nodes = 0
    for turn in range(turns):
        session.look()  # nobody looks at the graph
        session.execute(Forward())
        session.look()
        plain.append(timed(lambda: session.execute(Forward())))
        session.look(LookGraph(count=0))
        lined.append(timed(lambda: session.execute(Forward())))
        laid.append(timed(lambda: session.look(LookGraph(count=0))))
        (view,) = session.look(LookGraph(count=0))
        assert isinstance(view, GraphView)
        nodes = view.nodes
        place = turn * 9973 % (nodes - ROWS)
        windows.append(timed(partial(session.look, LookGraph(first=place, count=ROWS))))
    forward, noted, layout = (milliseconds(percentile(seconds, 0.5)) for seconds in (plain, lined, laid))
    line = f"  {nodes:>7,} nodes: forward {forward}, noting source lines {noted}; walked and laid out in {layout}"
    return line, windows


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(turns: int) -> list[str]:
    """Return the lines of the report."""
    return [*inside(turns), *frames(turns)]
