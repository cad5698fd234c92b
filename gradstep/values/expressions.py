"""Expressions over the state at a stop: parsed in the screen process, sent as values, evaluated in the engine."""

from __future__ import annotations

import keyword
import re
from typing import Literal, TypeAlias

from msgspec import Struct

UnaryOp: TypeAlias = Literal["-", "+", "not"]
BinaryOp: TypeAlias = Literal["+", "-", "*", "/", "**", "@", "==", "!=", "<", "<=", ">", ">=", "and", "or"]

PRECEDENCE: dict[str, int] = {
    "or": 1,
    "and": 2,
    "not": 3,
    **dict.fromkeys(["==", "!=", "<", "<=", ">", ">=", "is"], 4),
    **dict.fromkeys(["+", "-"], 5),
    **dict.fromkeys(["*", "/", "@"], 6),
    "neg": 7,
    "**": 8,
}
"""How tightly each operator binds, as in Python; grammar and printer both follow it."""

RESERVED = frozenset({"and", "or", "not", "is", "none", "true", "false", "nan", "inf"})
"""Words that are names only in backquotes."""

PLAIN_NAME = re.compile(r"(?=[\w.]*[A-Za-z_])[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\Z")
"""A name that needs no backquotes: dotted words with at least one letter, not a number such as 1e5."""


class Number(Struct, frozen=True, tag=True):
    """A literal number; an int stays an int, so that it can be an index."""

    value: int | float


class Constant(Struct, frozen=True, tag=True):
    """One of the words none, true, false; nan and inf are numbers."""

    value: Literal["none", "true", "false"]


class Text(Struct, frozen=True, tag=True):
    """A quoted string, as in `expect dtype(0.weight) == "float32"`."""

    value: str


class Listing(Struct, frozen=True, tag=True):
    """A list of expressions, as in `shape(2.weight) == [10, 256]`."""

    items: tuple[Expression, ...]


class Name(Struct, frozen=True, tag=True):
    """A name to look up at the stop; its longest prefix that exists in the model wins, the rest are attributes.

    `quoted` is the part in backquotes: it is one model name and is never split; `name` is then what follows it, such as
    `.grad`.
    """

    name: str
    quoted: str = ""


class Span(Struct, frozen=True, tag=True):
    """`start:stop:step` inside an index; each part is optional."""

    start: Expression | None = None
    stop: Expression | None = None
    step: Expression | None = None


class Dots(Struct, frozen=True, tag=True):
    """`...` inside an index."""


class Index(Struct, frozen=True, tag=True):
    """`base[items]` in torch's notation."""

    base: Expression
    items: tuple[Expression | Span | Dots, ...]


class Attribute(Struct, frozen=True, tag=True):
    """`.grad` and the like after anything but a name, as in `2.weight[0].grad`."""

    base: Expression
    name: str


class Call(Struct, frozen=True, tag=True):
    """`function(arguments, option=value)`."""

    function: str
    arguments: tuple[Expression, ...] = ()
    options: tuple[tuple[str, Expression], ...] = ()


class Unary(Struct, frozen=True, tag=True):
    """A prefix operator."""

    op: UnaryOp
    value: Expression


class Binary(Struct, frozen=True, tag=True):
    """An infix operator."""

    op: BinaryOp
    left: Expression
    right: Expression


class IsNone(Struct, frozen=True, tag=True):
    """`x is none`, or `x is not none` when negated."""

    value: Expression
    negated: bool = False


Expression: TypeAlias = Number | Constant | Text | Listing | Name | Index | Attribute | Call | Unary | Binary | IsNone


def quote(text: str) -> str:
    """Return `text` as a quoted string of the steps language, which parses back to `text`."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def name_line(name: str) -> str:
    """Return a model name for an expression: in backquotes unless it is plain dotted words."""
    first = name.split(".", 1)[0]
    plain = PLAIN_NAME.match(name) and first not in RESERVED and not re.match(r"\d+[eE]\d+\Z", name)
    return name if plain else f"`{name}`"


def expression_line(expression: Expression, outer: int = 0) -> str:
    """Return an expression as text that parses back to the same value.

    Args:
        expression: the expression.
        outer: the precedence of the enclosing operator; brackets are added when this binds less tightly.
    """
    match expression:
        case Number(value):
            text = repr(value)
            return f"({text})" if text.startswith("-") and outer > PRECEDENCE["neg"] else text
        case Constant(word):
            return word
        case Text(text):
            return quote(text)
        case Listing(items):
            return "[" + ", ".join(map(expression_line, items)) + "]"
        case Name(name, quoted):
            return f"`{quoted}`{name}" if quoted else name
        case Index(base, parts):
            return f"{expression_line(base, 9)}[{', '.join(map(_part_line, parts))}]"
        case Attribute(base, name):
            return f"{expression_line(base, 9)}.{name}"
        case Call(function, arguments, options):
            given = [*map(expression_line, arguments), *(f"{k}={expression_line(v)}" for k, v in options)]
            return f"{function}({', '.join(given)})"
        case Unary(op, value):
            level = PRECEDENCE["not" if op == "not" else "neg"]
            text = f"{op}{' ' if op == 'not' else ''}{expression_line(value, level)}"
        case Binary(op, left, right):
            level = PRECEDENCE[op]
            # ** is right-associative, comparisons do not chain, all others are left-associative
            lefts = level + 1 if op == "**" or level == 4 else level
            rights = PRECEDENCE["neg"] if op == "**" else level + 1
            text = f"{expression_line(left, lefts)} {op} {expression_line(right, rights)}"
        case IsNone(value, negated):
            level = PRECEDENCE["is"]
            text = f"{expression_line(value, level + 1)} is {'not ' if negated else ''}none"
    return f"({text})" if level < outer else text


def _part_line(part: Expression | Span | Dots) -> str:
    match part:
        case Span(start, stop, step):
            text = f"{_maybe(start)}:{_maybe(stop)}"
            return text if step is None else f"{text}:{_maybe(step)}"
        case Dots():
            return "..."
        case _:
            return expression_line(part)


def _maybe(expression: Expression | None) -> str:
    return "" if expression is None else expression_line(expression)


def is_word(text: str) -> bool:
    """Return whether `text` can be the name of a `let`: one word, not reserved."""
    return text.isidentifier() and text not in RESERVED and not keyword.iskeyword(text)
