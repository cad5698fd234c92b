"""Parse one statement with lark, and explain its faults."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, cast

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from msgspec import Struct

from gradstep.steps.language.grammar import parser
from gradstep.steps.language.words import BY_WORD
from gradstep.values import commands as c
from gradstep.values.commands import SETTINGS, Word
from gradstep.values.commands.statement_error import StatementError
from gradstep.values.commands.time_travel import NO_CHANGE
from gradstep.values.nearest import did_you_mean

MAX_DEPTH = 100
"""Maximum nesting of an expression: far above any use, far below recursion limits."""

MAX_LENGTH = 10_000
"""Maximum characters of a statement."""


@lru_cache(maxsize=4096)
def parse_command(text: str) -> c.Command:
    """Parse one statement without a block; cached, for recorded scripts repeat the same few.

    Raises:
        StatementError: it is invalid.
    """
    return cast(c.Command, _parse(text, "command"))


def parse_header(text: str) -> int | str | c.Try:
    """Parse the header of a block: the count of a `repeat`, the text of an `expect error`, a `try` without changes.

    Raises:
        StatementError: it is invalid.
    """
    return cast("int | str | c.Try", _parse(text, "header"))


def _parse(text: str, start: str) -> object:
    if len(text) > MAX_LENGTH:
        raise StatementError(f"this statement is {len(text):,} characters long", f"The limit is {MAX_LENGTH:,}.")
    if _brackets(text) > MAX_DEPTH:
        raise _too_deep(text)
    try:
        value: object = parser().parse(text, start)
    except UnexpectedInput as error:
        raise _statement_error(text, error) from None
    if _depth(value) > MAX_DEPTH:
        raise _too_deep(text)
    return value


def _too_deep(text: str) -> StatementError:
    what = f"The limit is {MAX_DEPTH} levels."
    return StatementError("this expression is nested too deeply", what, "Use `let` for a part of it.", width=len(text))


def _brackets(text: str) -> int:
    """Return how deeply the brackets of a statement are nested, ignoring those in quotes."""
    deepest = depth = 0
    for bracket in re.findall(r"[()\[\]]", re.sub(r'"(?:[^"\\]|\\.)*"|`[^`]*`', "", text)):
        depth += 1 if bracket in "([" else -1
        deepest = max(deepest, depth)
    return deepest


def _depth(value: object) -> int:
    """Return the depth of a tree of structs, without recursion."""
    deepest, todo = 0, [(value, 1)]
    while todo:
        node, depth = todo.pop()
        deepest = max(deepest, depth)
        if isinstance(node, Struct):
            todo += [(getattr(node, name), depth + 1) for name in node.__struct_fields__]
        elif isinstance(node, tuple):
            todo += [(item, depth) for item in node]
    return deepest


def _statement_error(text: str, error: UnexpectedInput) -> StatementError:
    """Explain a lark error: what was found, how the command is written, and the nearest valid word."""
    at = len(text) if isinstance(error, UnexpectedToken) and error.token.type == "$END" else (error.pos_in_stream or 0)
    word = re.match(r'[\w.]+|"(?:[^"\\]|\\.)*"?|`[^`]*`?|\S', text[at:])
    found = word.group() if word else ""
    first = text.split(None, 1)[0] if text.strip() else ""
    known = next((w for name, w in BY_WORD.items() if re.match(rf"{name}(?![\w.])", first)), None)
    if (
        known is not None
        and known.word != "set"
        and (assigned := re.fullmatch(rf"{known.word}\s*(=)(?!=)\s*(.+)", text))
    ):
        return _assignment_error(known, assigned[2], assigned.start(1))
    if known is None or not text[:at].strip():
        first = re.match(r"[\w.]+|\S*", text).group()  # type: ignore[union-attr]
        meant = _meant_set(text)
        guess = f"Did you mean `{meant}`?" if meant else did_you_mean(first, BY_WORD)
        remedy = guess or f"The commands are {', '.join(BY_WORD)}."
        return StatementError(f"unknown command `{first}`", "", remedy, 0, max(1, len(first)))
    if known.word == "try" and (change := re.match(r"try\s+(?:from=\d+\s+)?(?=[a-z])", text)):
        return _edit_error(text, change.end())
    error_block = re.match(r"expect\s+error(?![\w.])", text) and "STRING" in _wanted(error)
    if known.word == "set" and (meant := _meant_set(text)):
        return StatementError("`set` needs an `=`", "", f"Did you mean `{meant}`?", at, max(1, len(found)))
    usage = "It is written like this: " + ('expect error "second time" { backward }' if error_block else known.usage)
    if not found:
        return StatementError(f"`{known.word}` ends too early", "", usage, len(text.rstrip()), 1)
    if found.startswith(('"', "`")) and (len(found) == 1 or found[-1] != found[0]):
        return StatementError(f"this {found[0]} is never closed", "", f"Add a {found[0]} at its end.", at, len(found))
    wanted = _wanted(error)
    if "COMPARE" not in wanted and re.match(r"[<>]|==|!=", text[at:]) and known.word != "load":
        return StatementError("comparisons do not chain", "", "Join two of them with `and`.", at, len(found))
    if found == "=" and "COMPARE" in wanted:
        return StatementError("`=` is not a comparison", "", "Write `==` to compare.", at, 1)
    guess = did_you_mean(found, [w.lower() for w in wanted if w in _KEYWORDS])
    return StatementError(f"`{found}` does not fit here", "", guess or usage, at, len(found))


def _assignment_error(word: Word, value: str, at: int) -> StatementError:
    """Return the fault of an assignment to a command word, as in `undo=3`."""
    meant = next((f"`{line}`" for line in (f"{word.word} {value}", f"set {word.word} = {value}") if _parses(line)), "")
    remedy = f"Did you mean {meant}?" if meant else f"It is written like this: {word.usage}"
    return StatementError("`=` does not fit here", "", remedy, at, 1)


def _edit_error(text: str, start: int) -> StatementError:
    """Return the fault in the edit of a `try`, which begins at `start`."""
    try:
        parse_command(text[start:])
    except StatementError as error:
        remedy = error.remedy.replace("Did you mean `", "Did you mean `try ")
        return StatementError(error.title, error.what, remedy, start + error.at, error.width)
    return StatementError("`try` needs an edit", *NO_CHANGE, start, len(text) - start)


_KEYWORDS = frozenset({"NONE", "TRUE", "FALSE", "NAN", "INF", "AND", "OR", "NOT", "IS", "ERROR"})


def _meant_set(text: str) -> str:
    """Return the `set` line that `lr 0.01`, `set lr 0.01` or `2.weight = 0` was meant as; empty if none."""
    found = re.fullmatch(r"(?:set\s+)?([\w.]+(?:\[[^\]]*\])?)\s*(=?)\s*([^=].*)", text.strip())
    if found is None or not (found[2] or found[1] in ("lr", *SETTINGS)):
        return ""
    line = f"set {found[1]} = {found[3]}"
    return line if line != text and _parses(line) else ""


def _parses(line: str) -> bool:
    try:
        parse_command(line)
    except StatementError:
        return False
    return True


def _wanted(error: UnexpectedInput) -> set[str]:
    if isinstance(error, UnexpectedCharacters):
        return set(error.allowed or ())
    return set(cast(Any, error).expected)
