"""`gradstep replay --html`: a replay as one self-contained page to step through."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, Protocol

from gradstep.steps.headless import Headless
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Expect, Let, Load, Say, Set
from gradstep.values.files import write_text
from gradstep.values.outcomes import Outcome
from gradstep.values.plain import columns

FEW_TURNS = 5
"""Repeats of up to this many turns are shown whole; of longer ones, the first and last turn."""
_GLYPHS = re.compile("[^\x00-\u017f\u0370-\u03ff\u2010-\u2026\u2212\u2500-\u259f][\u0300-\u036f]*")
"""Characters that monospaced fonts may lack: a fallback font may draw them wider."""
_MARKUP = re.compile(r"<(?=/?script|!--)", re.IGNORECASE)
"""Markup that would end the script element of the data, or keep it from ending."""
_BRIEF = 60
"""Characters of narration in the list of steps."""


class StyledRun(NamedTuple):
    """A run of text in one CSS style."""

    text: str
    css: str


Frame = Sequence[Sequence[StyledRun]]
"""A screen, row by row."""


class Camera(Protocol):
    """Shows outcomes on a screen, and captures it."""

    @property
    def colours(self) -> Mapping[str, str]:
        """The theme's colours for the page around the screen, as CSS."""
        ...

    def show(self, outcome: Outcome, *, painted: bool = True) -> None:
        """Take an outcome; with `painted`, also wait until every panel shows it."""
        ...

    def frame(self) -> Frame:
        """Return the screen."""
        ...

    def close(self) -> None:
        """Close the screen."""
        ...


class _Step(NamedTuple):
    """One step of the page; `narration` and `rows` are indices into the page's lists."""

    narration: int
    line: int
    command: str
    result: str
    kind: str
    """`say`, `ok`, `held` or `failed`."""
    rows: list[int]


class Page:
    """Collects the steps of one replay."""

    def __init__(self, run: Headless, camera: Camera, size: tuple[int, int]) -> None:
        """Prepare a page without steps.

        Args:
            run: the replay.
            camera: draws the screen.
            size: columns and rows of the screen.
        """
        self._run, self._camera, self._size = run, camera, size
        self._turns = run.runner.turns
        """The repeats around the next line."""
        self._steps: list[_Step] = []
        self._rows: dict[str, int] = {}
        self._styles: dict[str, int] = {}
        self._narrations: list[list[str]] = []
        self._skipped = 0
        """Commands since the last step that are not shown."""

    def carried(self, line: StepsLine, outcome: Outcome) -> None:
        """Add a step for the outcome of one line."""
        turns, self._turns = self._turns, self._run.runner.turns
        if isinstance(outcome.command, Say):
            self._say(line, outcome.command)
            return
        seen = outcome.problem is not None or all(count <= FEW_TURNS or turn in (1, count) for turn, count in turns)
        self._camera.show(outcome, painted=seen)
        if not seen:
            self._skipped += 1
            return
        result, kind = _result(outcome)
        if kind == "failed" and self._run.failure is None:
            result, kind = f"{result}, as the script expects", "ok"
        if self._skipped:
            result = "\n".join(filter(None, [f"({self._skipped:,} commands before it are not shown)", result]))
            self._skipped = 0
        turn = "".join(f"  (turn {turn:,} of {count:,})" for turn, count in turns)
        self._add(line, line.text + turn, result, kind)

    def write(self, path: str) -> None:
        """Write the page.

        Raises:
            OSError: it cannot be written.
        """
        from gradstep.steps.narration import html

        name = Path(self._run.script.path).name
        all_texts = (text for texts in self._narrations for text in texts)
        title = next((_plain(text) for text in all_texts if text.startswith("#")), name)
        data = {
            "narrations": [html("\n\n".join(texts)) for texts in self._narrations],
            "rows": list(self._rows),
            "steps": self._steps,
        }
        style = [f".s{number}{{{css}}}" for css, number in self._styles.items()]
        colours = "".join(f"--{name}:{css};" for name, css in self._camera.colours.items())
        values = {
            "TITLE": escape(title),
            "SCRIPT": escape(name),
            "COLOURS": f"{colours}--columns:{self._size[0]};--rows:{self._size[1]};",
            "STYLES": "".join(style),
            "STEPS": "".join(map(self._entry, range(len(self._steps)))),
            "DATA": _MARKUP.sub(r"\\u003c", json.dumps(data, ensure_ascii=False, separators=(",", ":"))),
        }
        page = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
        write_text(Path(path), re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], page))

    def _say(self, line: StepsLine, command: Say) -> None:
        if self._steps and self._steps[-1].kind == "say":
            self._narrations[-1].append(command.text)
            return
        self._narrations.append([command.text])
        self._add(line, "", "", "say")

    def _add(self, line: StepsLine, command: str, result: str, kind: str) -> None:
        rows = [self._rows.setdefault(self._row(row), len(self._rows)) for row in self._camera.frame()]
        self._steps.append(_Step(len(self._narrations) - 1, line.number, command, result, kind, rows))

    def _row(self, row: Sequence[StyledRun]) -> str:
        alike = [("".join(piece.text for piece in pieces), css) for css, pieces in groupby(row, lambda each: each.css)]
        return "".join(self._span(StyledRun(text, css)) for text, css in alike)

    def _span(self, piece: StyledRun) -> str:
        style = self._styles.setdefault(piece.css, len(self._styles))
        return f'<span class="s{style}">{_fixed(piece.text)}</span>'

    def _entry(self, place: int) -> str:
        step = self._steps[place]
        text = step.command or _brief(self._narrations[step.narration])
        mark = {"held": "✓ ", "failed": "✗ "}.get(step.kind, "")
        return (
            f'<li><button type="button" class="{step.kind}" data-step="{place}">'
            f'<span class="n">{step.line}</span>{mark}{escape(text)}</button></li>'
        )


def _fixed(text: str) -> str:
    """Return text as HTML, with characters of uncertain width fixed to their cells."""
    return _GLYPHS.sub(lambda found: f"<i{' class=w' * (columns(found[0]) == 2)}>{found[0]}</i>", escape(text))


def _result(outcome: Outcome) -> tuple[str, str]:
    """Return the result text of a step, and its kind."""
    problem = outcome.problem
    if problem is not None:
        compared = (("expected", problem.expected), ("actual", problem.actual))
        parts = [problem.title, *(f"{name} {text}" for name, text in compared if text)]
        return "\n".join(parts), "failed"
    if isinstance(outcome.command, Expect):
        return "holds", "held"
    return "" if isinstance(outcome.command, (Let, Load, Set)) else outcome.text, "ok"


def _brief(texts: Sequence[str]) -> str:
    """Return the start of narration as plain text: its heading, if it has one."""
    text = next((text for text in texts if text.startswith("#")), texts[0])
    plain = _plain(text)
    return plain if len(plain) <= _BRIEF else f"{plain[:_BRIEF].rsplit(' ', 1)[0]} …"


def _plain(text: str) -> str:
    return re.sub(r"^#+\s*|[*`]", "", text)
