"""Parse the argument of `show` without lark: a name, and an index in torch's notation."""

from __future__ import annotations

import re

from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import (
    PLAIN_NAME,
    RESERVED,
    Attribute,
    Dots,
    Expression,
    Index,
    Name,
    Number,
    Span,
    Unary,
)

_PARTS = re.compile(r"\s*(?P<name>[^\[\]]+?)\s*(?:\[(?P<items>[^\[\]]*)\]\s*(?P<rest>(?:\.\w+)*)\s*)?\Z")
_QUOTED = re.compile(r"`(?P<quoted>[^`\n]+)`(?P<after>(?:\.\w+)*)\Z")
_WHOLE = re.compile(r"(?P<sign>[+-]?)\s*(?P<digits>[0-9]+)\Z")


def read_selection(text: str) -> Expression:
    """Parse `2.weight`, `2.weight[0, 0:10]`, `2.weight.grad[..., -1]` or a name in backquotes, as in a script.

    Raises:
        GradstepError: it is anything else.
    """
    parts = _PARTS.match(text)
    if parts is None:
        raise _wrong(text)
    name = _name(parts["name"], text)
    if parts["items"] is None:
        return name
    selected: Expression = Index(name, tuple(_item(item, text) for item in parts["items"].split(",")))
    for attribute in filter(None, parts["rest"].split(".")):
        selected = Attribute(selected, attribute)
    return selected


def _name(text: str, whole: str) -> Name:
    quoted = _QUOTED.match(text)
    if quoted:
        return Name(quoted["after"], quoted["quoted"])
    if not PLAIN_NAME.match(text) or text.split(".")[0] in RESERVED or re.match(r"\d+[eE]\d+\Z", text):
        raise _wrong(whole)
    return Name(text)


def _item(text: str, whole: str) -> Expression | Span | Dots:
    text = text.strip()
    if text == "...":
        return Dots()
    if ":" not in text:
        return _number(text, whole)
    ends = [None if not part.strip() else _number(part.strip(), whole) for part in text.split(":")]
    if len(ends) > 3:
        raise _wrong(whole)
    return Span(*ends)


def _number(text: str, whole: str) -> Expression:
    found = _WHOLE.match(text)
    if found is None:
        raise _wrong(whole)
    number = Number(int(found["digits"]))
    if found["sign"] == "-":
        return Unary("-", number)
    return Unary("+", number) if found["sign"] else number


def _wrong(text: str) -> GradstepError:
    remedy = 'Give a name, optionally with an index: "2.weight", "2.weight[0, 0:10]", "2.weight.grad".'
    return wrong(
        "this cannot be shown", f"`{text}` is not the name of a tensor.", remedy + " Put other names in backquotes."
    )
