"""Load `grammar.lark`. This imports lark (140 ms): import it only to parse."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from lark import Lark, Token, UnexpectedInput

from gradstep.steps.language.outline import RawBlock, ToOutline
from gradstep.steps.language.transform import ToValues
from gradstep.values.commands import COMMANDS
from gradstep.values.commands.syntax import grammar_of


class _ToEverything(ToOutline, ToValues):
    """Builds outlines and statements."""


@lru_cache
def parser() -> Lark:
    """Return the parser, with its start rules `outline`, `command` and `header`."""
    text = (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8")
    rules, makers, terminals = grammar_of(COMMANDS)
    changes = [rule for name, rule in rules.items() if makers[name][0].syntax.role == "edit"]
    others = [rule for name, rule in rules.items() if makers[name][0].syntax.role != "edit"]
    lines = [f"?command: change | {' | '.join(others)}", f"?change: {' | '.join(changes)}"]
    first = {"FINDING", "SWITCH"}  # before what else their first word could be: a name, a place
    lines += [f"{name}{'.3' * (name in first)}: /{pattern}/" for name, pattern in terminals.items()]
    starts = ["outline", "command", "header"]
    grammar = "\n".join([text, *lines, ""])
    return Lark(grammar, parser="lalr", lexer="contextual", start=starts, transformer=_ToEverything(makers))


def parse_outline(source: str) -> tuple[list[RawBlock], list[tuple[int, int]]]:
    """Split a script into statements and blocks.

    Returns:
        The statements, faulty ones with their `fault`, and the line and column of each unclosed `{`.
    """
    unclosed: list[tuple[int, int]] = []

    def close(error: UnexpectedInput) -> bool:
        token = getattr(error, "token", None)
        if not (isinstance(token, Token) and token.type == "$END"):
            return False
        state: Any = cast(Any, error).interactive_parser
        opened = [t for t in state.parser_state.value_stack if isinstance(t, Token) and t.type == "LBRACE"]
        for brace in opened:
            unclosed.append((brace.line or 1, brace.column or 1))
            state.feed_token(Token("RBRACE", "}"))
        return True

    return cast("list[RawBlock]", parser().parse(source, "outline", on_error=close)), unclosed
