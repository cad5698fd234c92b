"""The one place where lark reads `grammar.lark`. Importing this imports lark (140 ms): do so only to parse."""

from __future__ import annotations

from pathlib import Path

from lark import Lark, Token, Transformer


def parser(start: str, transformer: Transformer[Token, object]) -> Lark:
    """Return the parser for one of the grammar's three ways in; `transformer` builds the values as it goes."""
    text = (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", start=start, transformer=transformer)
