"""What the rules of expressions become, and how words of a line are read: numbers, truths, quoted texts."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

import re
from typing import Any, cast

from lark import Token, Transformer, v_args

from gradstep.steps.faults import MisfitError
from gradstep.values import expressions as x

_LARGEST = 2**63 - 1
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
            raise MisfitError("an argument follows an option", "", "Put the options last.", *place(name))
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


def truth(value: Token) -> bool:
    """Return what `true` and `false` say."""
    if value not in ("true", "false"):
        raise MisfitError(f"`{value}` is neither true nor false", "", "Write `true` or `false`.", *place(value))
    return str(value) == "true"


def positive(text: Token) -> int:
    """Return a number of commands, from 1 on."""
    value = integer(text)
    if value < 1:
        raise MisfitError("this is no number of commands", "", "Write 1 or more.", *place(text))
    return value


def integer(text: Token) -> int:
    """Return a whole number that fits 64 bits, which is what travels between the processes."""
    if not (text.isascii() and text.isdigit()):
        raise MisfitError(f"`{text}` is not a whole number", "", "Write digits only.", *place(text))
    if len(text) > 100 or int(text) > _LARGEST:
        raise MisfitError("this number is too large", f"At most {_LARGEST:,}.", "", *place(text))
    return int(text)


def unquote(text: Token) -> str:
    """Return what stands between quotes."""

    def plain(match: re.Match[str]) -> str:
        if match.group() not in _ESCAPES:
            at, _ = place(text)
            what = f"`{match.group()}` means nothing inside quotes."
            raise MisfitError("unknown escape", what, "Write \\\\ for a \\.", at + match.start() + 1, 2)
        return _ESCAPES[match.group()]

    return re.sub(r"\\.", plain, text[1:-1])


def place(token: Token) -> tuple[int, int]:
    """Return where a word begins in its line, and how long it is."""
    return token.start_pos or 0, max(1, len(token))
