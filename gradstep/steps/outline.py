"""The outline of a script: where its statements and blocks are, each statement still as text."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

from lark import Lark, Token, Transformer, UnexpectedInput
from msgspec import Struct

from gradstep.steps.grammar import parser


class RawBlock(Struct):
    """A statement of the outline: its text, where it is, its block if it has one; a title and remedy if it is amiss."""

    text: str
    line: int
    column: int
    said: bool = False
    body: list[RawBlock] | None = None
    fault: tuple[str, str] | None = None


def parse_outline(source: str) -> tuple[list[RawBlock], list[tuple[int, int]]]:
    """Split a script into statements and blocks.

    Returns:
        The statements, those that do not fit with their `fault`, and the line and column of each unclosed `{`.
    """
    unclosed: list[tuple[int, int]] = []

    def close(error: UnexpectedInput) -> bool:
        token = getattr(error, "token", None)
        if not (isinstance(token, Token) and token.type == "$END"):
            return False
        parser: Any = cast(Any, error).interactive_parser
        opened = [t for t in parser.parser_state.value_stack if isinstance(t, Token) and t.type == "LBRACE"]
        for brace in opened:
            unclosed.append((brace.line or 1, brace.column or 1))
            parser.feed_token(Token("RBRACE", "}"))
        return True

    return cast("list[RawBlock]", _parser().parse(source, on_error=close)), unclosed


@lru_cache
def _parser() -> Lark:
    return parser("outline", _Outline())


class _Outline(Transformer[Token, object]):
    """Builds the statements of the outline."""

    def said(self, items: list[Token]) -> RawBlock:
        return RawBlock(str(items[0]), items[0].line or 0, items[0].column or 0, said=True)

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
    """Return the statements of a body; one that follows another without a separator is at fault."""
    for before, item in pairwise(items):
        if isinstance(before, RawBlock) and isinstance(item, RawBlock) and not (before.fault or item.fault):
            item.fault = "a statement follows a block on its line", "Put it on the next line, or after a `;`."
    return [item for item in items if isinstance(item, RawBlock)]
