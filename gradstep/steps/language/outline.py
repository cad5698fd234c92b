"""The outline of a script: its statements and blocks, each statement still unparsed text."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

from itertools import pairwise
from typing import Any

from lark import Token, Transformer
from msgspec import Struct


class RawBlock(Struct):
    """A statement of the outline: text, position, block if any; a title and remedy if it is faulty."""

    text: str
    line: int
    column: int
    narration: bool = False
    body: list[RawBlock] | None = None
    fault: tuple[str, str] | None = None


class ToOutline(Transformer[Token, object]):
    """Builds the statements of the outline."""

    def narration(self, items: list[Token]) -> RawBlock:
        return RawBlock(str(items[0]), items[0].line or 0, items[0].column or 0, narration=True)

    def plain(self, items: list[Any]) -> RawBlock:
        return RawBlock(items[0].rstrip(), items[0].line, items[0].column)

    def block(self, items: list[Any]) -> RawBlock:
        block = self.plain(items)
        block.body = _members(items)
        return block

    def headless(self, items: list[Any]) -> RawBlock:
        block = self.block(items)
        block.fault = "a block has no command", 'Write `repeat 5 {` or `expect error "..." {` on one line.'
        return block

    def stray(self, items: list[Any]) -> RawBlock:
        brace = self.plain(items)
        brace.fault = "this `}` closes nothing", "Remove it, or open its block with `{` on the line of the `repeat`."
        return brace

    def outline(self, items: list[Any]) -> list[RawBlock]:
        return _members(items)


def _members(items: list[Any]) -> list[RawBlock]:
    """Return the statements of a body; one that follows another without a separator is marked as a fault."""
    for before, item in pairwise(items):
        if isinstance(before, RawBlock) and isinstance(item, RawBlock) and not (before.fault or item.fault):
            item.fault = "a statement follows a block on its line", "Put it on the next line, or after a `;`."
    return [item for item in items if isinstance(item, RawBlock)]
