"""Key to painted screen: the four keys, against a bare Textual app that makes the torch call and paints the same.

gradstep is measured as it opens, with history on; beside it stands what it takes without any.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from terminal import Cell, Terminal
from timing import row

PHASES = {"f": "forward", "b": "backward", "s": "step", "z": "zero_grad"}
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


class Case(NamedTuple):
    """What the keys are pressed in."""

    target: str
    model: str
    """The same for the bare app."""
    ready: str
    """What the screen says once it can be stepped: how many parameters there are."""
    layout: str
    size: tuple[int, int]
    yardsticks: dict[str, str]
    """The bare apps to compare with, and what they are."""
    turn: str = "".join(PHASES)
    """The keys of one round."""
    measured: dict[str, str] = PHASES
    """Those that are measured, and what they do."""
    without_history: bool = False
    """Whether gradstep with no history is measured beside it."""
    quiet: float = 0.12
    """Seconds without a byte after which everything has been painted."""


COLOUR = {"colour": "the same text in the same colours"}
TEXT = {"text": "the same text without colours"}
USUAL = Case("mlp", "notebook", "203,530", "learn", (120, 40), COLOUR | TEXT, without_history=True)


def gradstep(case: Case, *options: str) -> Terminal:
    """Start gradstep, seed 0, and wait until it can be stepped; what was chosen or kept before has no part in it."""
    given = ["--seed", "0", "--device", "cpu", "--layout", case.layout, *options]
    home = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), os.devnull)
    terminal = Terminal([sys.executable, "-m", "gradstep", case.target, *given], home, case.size)
    terminal.until(lambda text: case.ready in text and "stop 1 " in text.split("\n", 1)[0] + " ", limit=300)
    terminal.settle()
    return terminal


def record(case: Case, rounds: int) -> list[list[list[list[object]]]]:
    """Return the screen at the start and after each key of so many rounds."""
    terminal = gradstep(case)
    frames = [runs(terminal.cells())]
    for key in case.turn * rounds:
        terminal.press(key, at_stop(len(frames) + 1), case.quiet)
        frames.append(runs(terminal.cells()))
    terminal.close()
    return frames


def bare(case: Case, frames: Path, name: str) -> Terminal:
    """Start a bare app on recorded frames and wait for the first."""
    app = str(Path(__file__).with_name("bare_app.py"))
    terminal = Terminal([sys.executable, app, str(frames), name, case.model], PASSIVE, case.size)
    terminal.until(lambda text: case.ready in text, limit=300)
    terminal.settle()
    return terminal


def measure(rounds: int) -> list[str]:
    """Press each key in turn in gradstep as it opens, and in both bare apps; return the lines of the report."""
    return compare(USUAL, rounds)


def compare(case: Case, rounds: int) -> list[str]:
    """Press each key in turn in gradstep and in the bare apps, turn about; return the lines of the report."""
    with TemporaryDirectory() as folder:
        frames = record(case, rounds)
        file = Path(folder) / "frames.json"
        file.write_text(json.dumps(frames))
        programs = {"gradstep": gradstep(case), **{name: bare(case, file, name) for name in case.yardsticks}}
        if case.without_history:
            programs["no history"] = gradstep(case, "--history", "0")
        seconds: dict[tuple[str, str], list[float]] = {(name, key): [] for name in programs for key in case.measured}
        firsts: dict[tuple[str, str], list[float]] = {each: [] for each in seconds}
        other_text = 0
        for number, key in enumerate(case.turn * rounds, 1):
            expected = ["".join(str(run[0]) for run in line) for line in frames[number]]
            for name, program in programs.items():
                painted = program.press(key, at_stop(number + 1), case.quiet)
                if number > len(case.turn) and key in case.measured:  # the first round warms up
                    seconds[name, key].append(painted.seconds)
                    firsts[name, key].append(painted.first)
                other_text += program.screen.display != expected
        for program in programs.values():
            program.close()
    screens = len(programs) * len(case.turn) * rounds
    lines = [f"  {screens} screens, {other_text} of them with another text than the recorded one"]
    for name, title in case.yardsticks.items():
        lines += [f"  first picture, against a bare app: {title}", *rows(case, firsts, "gradstep", name, 1.25)]
        lines += ["  last change of the screen", *rows(case, seconds, "gradstep", name, 1.25)]
    if case.without_history:
        lines += ["  with history, as it opens, against without", *rows(case, seconds, "gradstep", "no history")]
    return lines


def rows(
    case: Case, seconds: dict[tuple[str, str], list[float]], ours: str, theirs: str, aim: float | None = None
) -> list[str]:
    """Return a line for each key, and one for all of them."""
    lines = [row(word, seconds[ours, key], seconds[theirs, key], aim) for key, word in case.measured.items()]
    if len(lines) > 1:
        whole = [[taken for key in case.measured for taken in seconds[who, key]] for who in (ours, theirs)]
        lines.append(row("all of them", *whole, aim))
    return lines
