"""Transform the grammar rules of commands."""

# ruff: noqa: D102 (each method is the rule of its name in the grammar)

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from lark import Token, v_args

from gradstep.steps.language.terms import ToTerms, unquote
from gradstep.values import expressions as x
from gradstep.values.commands import Try
from gradstep.values.commands.arguments import ParsedOption
from gradstep.values.commands.statement_error import StatementError, integer, place
from gradstep.values.commands.syntax import CommandForm


@v_args(inline=True)
class ToValues(ToTerms):
    """Builds commands and the expressions in them."""

    def __init__(self, makers: Mapping[str, tuple[Any, CommandForm]]) -> None:
        """Add the rules of the command declarations: each by its name, with its command and form."""
        super().__init__()
        for name, (kind, form) in makers.items():
            setattr(self, name, partial(_made, kind, form))

    # headers
    def repeat(self, _word: Token, count: Token) -> int:
        value = integer(count)
        if value < 1:
            raise StatementError(
                "`repeat 0` does nothing", "", "Repeat at least once, or comment it out with #.", *place(count)
            )
        return value

    def expect_error(self, _word: Token, _error: Token, text: Token) -> str:
        return unquote(text)

    def try_block(self, _word: Token, *options: ParsedOption) -> Try:
        return Try((), **Try.syntax.forms[0].read("try", [None, *options]))

    # arguments
    def bare(self, text: Token) -> Token:
        return text

    def quoted(self, text: Token) -> Token:
        value = unquote(text)
        if not value:
            raise StatementError("the name is empty", "", "", *place(text))
        return Token("STRING", value, text.start_pos)

    def option(self, name: Token, value: Token) -> ParsedOption:
        return ParsedOption(name, value)

    def hyper(self, name: Token, value: x.Expression) -> ParsedOption:
        return ParsedOption(name, value)


def _made(kind: Any, form: CommandForm, children: list[Any]) -> object:
    first, *given = children
    return kind.syntax.read(kind, form, first, given)
