"""Render narration, which is Markdown, for a terminal and as HTML."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement

_WIDTH = 100
"""Most columns of a line, for readability."""


class _Heading(Heading):
    """A left-aligned heading."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Narration(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _Heading}


def rendered(markdown: str) -> str:
    """Return narration for standard output: wrapped to the terminal's width, and styled on a terminal."""
    console = Console(file=sys.stdout)
    return _rendered(markdown, min(console.width, _WIDTH), console.is_terminal)


@lru_cache(maxsize=256)
def _rendered(markdown: str, width: int, _terminal: bool) -> str:
    """Render on a new console; cached, for narration in a repeat."""
    console = Console(file=sys.stdout, width=width)
    with console.capture() as captured:
        console.print(_Narration(markdown, hyperlinks=False))
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def html(markdown: str) -> str:
    """Return narration as HTML, its headings one level down; HTML in it is escaped."""
    reader = MarkdownIt("commonmark", {"html": False})
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    text: str = reader.renderer.render(tokens, reader.options, {})
    return text
