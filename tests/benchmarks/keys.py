"""Key to painted screen: the four keys on `mlp`, against a bare Textual app that paints the same screens."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

from terminal import Cell, Terminal
from timing import row

KEYS = {"f": "forward", "b": "backward", "s": "step", "z": "zero_grad"}
PASSIVE = {"OMP_WAIT_POLICY": "passive"}
"""As gradstep starts its engine: without it one busy neighbour makes OpenMP's waiting threads the whole story."""


def runs(cells: list[list[Cell]]) -> list[list[list[object]]]:
    """Return lines as runs of cells that look the same: words, foreground, background, bold."""
    return [
        [["".join(cell[0] for cell in group), *looks] for looks, group in groupby(line, key=lambda cell: cell[1:])]
        for line in cells
    ]


def at_stop(number: int) -> Callable[[str], bool]:
    """Return what tells that a screen shows this stop; stop 1 is the loaded workload."""
    return lambda text: f"stop {number} " in text.split("\n", 1)[0] + " "


def gradstep() -> Terminal:
    """Start gradstep on mlp, seed 0, and wait until it can be stepped."""
    terminal = Terminal([sys.executable, "-m", "gradstep", "mlp", "--seed", "0", "--device", "cpu"])
    terminal.until(lambda text: "2.weight" in text and "203,530" in text, limit=120)
    terminal.settle()
    return terminal


def record(rounds: int) -> list[list[list[list[object]]]]:
    """Return the screen at the start and after each key of so many rounds of the four keys."""
    terminal = gradstep()
    frames = [runs(terminal.cells())]
    for key in [*KEYS] * rounds:
        terminal.press(key, at_stop(len(frames) + 1))
        frames.append(runs(terminal.cells()))
    terminal.close()
    return frames


def measure(rounds: int) -> list[str]:
    """Press each key in turn in gradstep and in both bare apps; return the lines of the report."""
    with TemporaryDirectory() as folder:
        frames = record(rounds)
        file = Path(folder) / "frames.json"
        file.write_text(json.dumps(frames))
        bare = [sys.executable, str(Path(__file__).with_name("bare_app.py")), str(file)]
        programs = {
            "gradstep": gradstep(),
            "colour": Terminal([*bare, "colour"], PASSIVE),
            "text": Terminal([*bare, "text"], PASSIVE),
        }
        for name in ("colour", "text"):
            programs[name].until(lambda text: "203,530" in text, limit=120)
            programs[name].settle()
        seconds: dict[tuple[str, str], list[float]] = {(name, key): [] for name in programs for key in KEYS}
        other_text = 0
        for number, key in enumerate([*KEYS] * rounds, 1):
            for name, program in programs.items():
                painted = program.press(key, at_stop(number + 1))
                if number > len(KEYS):  # the first round warms up
                    seconds[name, key].append(painted.seconds)
            expected = ["".join(str(run[0]) for run in line) for line in frames[number]]
            other_text += sum(program.screen.display != expected for program in programs.values())
        for program in programs.values():
            program.close()
    lines = [f"  {3 * 4 * rounds} screens, {other_text} of them with another text than the recorded one"]
    for name, title in (("colour", "the same text in the same colours"), ("text", "the same text without colours")):
        lines.append(f"  against a bare app: {title}")
        lines += [row(KEYS[key], seconds["gradstep", key], seconds[name, key], 1.25) for key in KEYS]
        ours, theirs = ([s for key in KEYS for s in seconds[who, key]] for who in ("gradstep", name))
        lines.append(row("all four", ours, theirs, 1.25))
    return lines
