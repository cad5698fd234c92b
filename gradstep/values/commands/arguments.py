"""The kinds of command arguments, and how each is parsed, printed and completed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gradstep.values.commands.statement_error import StatementError, integer, place, positive, truth
from gradstep.values.expressions import expression_line, quote

Words: TypeAlias = tuple[str, ...]
Offers: TypeAlias = Words | Mapping[str, Words]
"""What completion offers: words, or with @ a field of `views.Names`; a mapping is keyed by the previous word."""


class Argument(NamedTuple):
    """One argument of a command."""

    rule: str
    """Its name in the grammar: a terminal or rule of `grammar.lark`, or its own terminal."""
    field: str = ""
    """The field of the command that it sets; empty for a fixed word."""
    terminal: str = ""
    """The regular expression of its own terminal."""
    read: Callable[[Any], Any] = str
    write: Callable[[Any], str] = str
    optional: bool = False
    """True when it can be omitted; it is printed when it is not the default, or `always`."""
    always: bool = False
    before: str = ""
    """The word required before it, as `if` before a condition."""
    words: Words = ()
    """The allowed values."""
    offers: Offers = ()
    many: bool = False
    """True for any number of pairs of a name and an expression."""


class Option(NamedTuple):
    """An optional argument, written `name=value`."""

    name: str
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    field: str = ""
    """The field that it sets, if not its name."""
    offers: Words = ()


class ParsedOption(NamedTuple):
    """An option as parsed: `seed=0`; for `optimizer`, the value is an expression."""

    name: str
    value: Any


def terminal_of(word: str) -> str:
    """Return the regular expression of a whole word."""
    return rf"(?:{word})(?![\w.])"


def word(text: str) -> Argument:
    """Return a fixed word."""
    if not text.isalpha():
        return Argument(f'"{text}"', write=lambda _: text, words=(text,))
    name = f"_THE_{text.upper()}"
    return Argument(name, terminal=terminal_of(text), write=lambda _: text, words=(text,), offers=(f"{text} ",))


def expression(field: str, before: str = "") -> Argument:
    """Return an expression; with `before`, it is optional, together with that word."""
    return Argument("expression", field, "", lambda e: e, expression_line, bool(before), before=before)


def whole(field: str, optional: bool = False, offers: Offers = ()) -> Argument:
    """Return an integer from 0."""
    return Argument("INT", field, "", integer, optional=optional, offers=offers)


def count(field: str, optional: bool = False) -> Argument:
    """Return an integer from 1."""
    return Argument("INT", field, "", positive, optional=optional)


def flag(field: str, text: str, optional: bool = False) -> Argument:
    """Return a word that sets a field to True."""
    name = f"SET_{text.upper()}"
    return Argument(name, field, terminal_of(text), lambda _: True, lambda _: text, optional, offers=(text,))


def choice(field: str, words: Words, optional: bool = False, offers: Offers = ()) -> Argument:
    """Return a choice of words; `offers` are those to complete, by default all."""
    name = f"ONE_OF_{'_'.join(words).upper()}"
    return Argument(name, field, terminal_of("|".join(words)), str, str, optional, words=words, offers=offers or words)


def name(field: str, offers: Offers = (), optional: bool = False) -> Argument:
    """Return a bare word, without quotes, braces and the like, such as a branch or glob; it is always printed."""
    return Argument("BARE", field, optional=optional, always=True, offers=offers)


def file(field: str, ending: str = "", command: str = "") -> Argument:
    """Return a path, quoted where necessary; with `ending`, it must have that suffix."""

    def read(path: str) -> str:
        if not path.endswith(ending):
            raise StatementError(
                f"`{command}` takes a {ending} file", "", f"Write {command} {path}{ending}", *place(path)
            )
        return str(path)

    return Argument("target", field, "", read, path_word)


def integer_option(name: str, field: str = "") -> Option:
    """Return an option with an integer from 0, as `seed=0`."""
    return Option(name, integer, field=field)


def truth_option(name: str) -> Option:
    """Return an option with true or false, as `retain_graph=true`."""
    return Option(name, truth, lambda value: str(value).lower(), offers=("true", "false"))


def path_word(path: str) -> str:
    """Return a path for a command line: quoted unless it is one plain word."""
    plain = path and not any(c.isspace() or c in '"{};#=' for c in path)
    return path if plain else quote(path)
