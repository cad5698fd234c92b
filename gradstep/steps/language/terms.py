"""Transform the grammar rules of expressions, numbers and quoted texts."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

import re
from typing import Any, cast

from lark import Token, Transformer, v_args

from gradstep.values import expressions as x
from gradstep.values.commands.statement_error import StatementError, integer, place

_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n", "\\t": "\t"}


@v_args(inline=True)
class ToTerms(Transformer[Token, object]):
    """Builds expressions."""

    def number(self, text: Token) -> x.Number:
        if text.isdigit():
            return x.Number(integer(text))
        return x.Number(float(text))

    def constant(self, word: Token) -> x.Constant:
        return x.Constant(cast(Any, str(word)))

    def text(self, text: Token) -> x.Text:
        return x.Text(unquote(text))

    def name(self, name: Token) -> x.Name:
        return x.Name(str(name))

    def quoted_name(self, name: Token) -> x.Name:
        return x.Name("", quoted=name.replace("`", ""))

    def call(self, name: Token, *arguments: object) -> x.Call:
        given = [a for a in arguments if a is not None]
        options = [a for a in given if isinstance(a, tuple)]
        if given[len(given) - len(options) :] != options:
            raise StatementError("an argument follows an option", "", "Put the options last.", *place(name))
        plain = cast("tuple[x.Expression, ...]", tuple(a for a in given if not isinstance(a, tuple)))
        return x.Call(str(name), plain, tuple(options))

    def named(self, name: Token, value: x.Expression) -> tuple[str, x.Expression]:
        return str(name), value

    def listing(self, *items: x.Expression | None) -> x.Listing:
        return x.Listing(tuple(i for i in items if i is not None))

    def index(self, base: x.Expression, *items: x.Expression | x.Span | x.Dots) -> x.Index:
        return x.Index(base, items)

    def attribute(self, base: x.Expression, name: Token) -> x.Expression:
        if isinstance(base, x.Name):
            return x.Name(base.name + str(name), base.quoted)
        return x.Attribute(base, str(name)[1:])

    def dots(self, _dots: Token) -> x.Dots:
        return x.Dots()

    def span(self, *parts: x.Expression | None) -> x.Span:
        return x.Span(*parts)

    def binary(self, left: x.Expression, op: Token, right: x.Expression) -> x.Binary:
        return x.Binary(cast(Any, str(op)), left, right)

    def unary(self, op: Token, value: x.Expression) -> x.Unary:
        return x.Unary(cast(Any, str(op)), value)

    def is_none(self, value: x.Expression, *_words: Token) -> x.IsNone:
        return x.IsNone(value)

    def is_not_none(self, value: x.Expression, *_words: Token) -> x.IsNone:
        return x.IsNone(value, negated=True)


def unquote(text: Token) -> str:
    """Return the text between quotes, unescaped."""

    def plain(match: re.Match[str]) -> str:
        if match.group() not in _ESCAPES:
            at, _ = place(text)
            what = f"`{match.group()}` is not an escape sequence."
            raise StatementError("unknown escape", what, "Write \\\\ for a \\.", at + match.start() + 1, 2)
        return _ESCAPES[match.group()]

    return re.sub(r"\\.", plain, text[1:-1])
