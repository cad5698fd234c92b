"""The Markdown subset of `say`: emphasis, code, headings, lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from gradstep.tui.render.drawing import GUTTER
from gradstep.tui.render.lines import Line, Row, cell_len, clean, wrap

_PIECES = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*|\*[^*\s](?:[^*]*[^*\s])?\*|\b_[^_]+_\b)")


def markdown_lines(text: str, width: int, tone: str = "text") -> list[Line]:
    """Return a Markdown text as rows; unsupported markup is left as it is."""
    lines: list[Line] = []
    for paragraph in text.split("\n"):
        body, mark = paragraph.strip(), ""
        if heading := re.match(r"#{1,6}\s+", body):
            body, base = body[heading.end() :], "bright"
        else:
            base = tone
        if item := re.match(r"([-*+]|\d+[.)])\s+", body):
            mark = "• " if item[1] in "-*+" else f"{item[1]} "
            body = body[item.end() :]
        lines += _flow(_words(clean(body), base), width, mark)
    return lines


def _words(text: str, base: str) -> list[tuple[str, str]]:
    """Split a paragraph into words and the blanks between them, each with its tone."""
    words: list[tuple[str, str]] = []
    for piece in _PIECES.split(text):
        tone = base
        if _PIECES.fullmatch(piece):
            marks = 2 if piece.startswith("**") else 1
            tone = "code" if piece.startswith("`") else "bright"
            piece = piece[marks:-marks]
        words += [(word, tone) for word in re.split(r"( +)", piece) if word]
    return words


def _flow(words: list[tuple[str, str]], width: int, mark: str) -> list[Line]:
    indent, end = GUTTER + len(mark), max(GUTTER + len(mark) + 1, width - 1)
    row, lines = Row(width).left(GUTTER, mark), []
    for unit in _units(words, end - indent):
        blank = unit[0][0].isspace()
        if row.at + _cells(unit) > end and row.at > indent:
            lines.append(row.line())
            row = Row(width).to(indent)
        for word, tone in unit if row.at > indent or not blank else ():
            row.add(word, tone)
    return [*lines, row.line()]


def _units(words: list[tuple[str, str]], room: int) -> Iterator[list[tuple[str, str]]]:
    """Yield what must stay on one row: blanks, or words without a blank between them, such as code and a full stop.

    A unit longer than a row is split.
    """
    for blank, pieces in groupby(words, lambda word: word[0].isspace()):
        unit = list(pieces)
        if blank or _cells(unit) <= room:
            yield unit
        else:
            yield from ([(part, tone)] for word, tone in unit for part in wrap(word, room))


def _cells(unit: list[tuple[str, str]]) -> int:
    return sum(cell_len(word) for word, _ in unit)
