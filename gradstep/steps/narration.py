"""Narration as it is read: Markdown as text for a terminal, and as HTML for a page."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement

_WIDTH = 100
"""Columns of a line at most; wider ones are hard to read."""


class _Heading(Heading):
    """A heading that stands at the left."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.text


class _Narration(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _Heading}


def rendered(markdown: str) -> str:
    """Return narration as text for standard output: wrapped to a terminal's width, and styled where it is one."""
    console = Console(file=sys.stdout)
    return _rendered(markdown, min(console.width, _WIDTH), console.is_terminal)


@lru_cache(maxsize=256)
def _rendered(markdown: str, width: int, _terminal: bool) -> str:
    """Render with a console made anew; what is narrated in a repeat comes many times."""
    console = Console(file=sys.stdout, width=width)
    with console.capture() as captured:
        console.print(_Narration(markdown, hyperlinks=False))
    return "\n".join(line.rstrip() for line in captured.get().strip("\n").splitlines())


def html(markdown: str) -> str:
    """Return narration as HTML, its headings below the one of the page; HTML in it is shown as it is written."""
    reader = MarkdownIt("commonmark", {"html": False})
    tokens = reader.parse(markdown)
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
    text: str = reader.renderer.render(tokens, reader.options, {})
    return text
