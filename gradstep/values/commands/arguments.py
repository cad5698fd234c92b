"""The kinds of arguments that a command can have. Each is read, written and completed in one way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from gradstep.values.commands.misfit import MisfitError, integer, place, positive, truth
from gradstep.values.expressions import expression_line, quote

Words: TypeAlias = tuple[str, ...]
Offers: TypeAlias = Words | Mapping[str, Words]
"""What completion offers: words, and with @ a field of `views.Names`; a mapping is looked up by the word before."""


class Argument(NamedTuple):
    """One argument of a command."""

    rule: str
    """What it is in the grammar: a terminal or a rule of `grammar.lark`, or the name of its own terminal."""
    field: str = ""
    """The field of the command that it sets; empty for a word that only stands there."""
    terminal: str = ""
    """The regular expression of its own terminal."""
    read: Callable[[Any], Any] = str
    write: Callable[[Any], str] = str
    optional: bool = False
    """True where it may be left out; it is written when it is not the default, or `always`."""
    always: bool = False
    before: str = ""
    """The word that has to stand before it, as `if` before a condition."""
    words: Words = ()
    """What it has to be one of."""
    offers: Offers = ()
    many: bool = False
    """True for pairs of a name and an expression, as many as there are."""


class Option(NamedTuple):
    """An argument that is written `name=value` and can be left out."""

    name: str
    read: Callable[[str], Any] = str
    write: Callable[[Any], str] = str
    field: str = ""
    """The field that it sets, where that is not its name."""
    offers: Words = ()


class Given(NamedTuple):
    """An option as it was typed: `seed=0`; one of `optimizer` has an expression for its value."""

    name: str
    value: Any


def terminal_of(word: str) -> str:
    """Return the regular expression of a word that has to stand by itself."""
    return rf"(?:{word})(?![\w.])"


def word(text: str) -> Argument:
    """A word that has to stand there."""
    if not text.isalpha():
        return Argument(f'"{text}"', write=lambda _: text, words=(text,))
    name = f"_THE_{text.upper()}"
    return Argument(name, terminal=terminal_of(text), write=lambda _: text, words=(text,), offers=(f"{text} ",))


def expression(field: str, before: str = "") -> Argument:
    """An expression; with `before` it can be left out, together with that word."""
    return Argument("expression", field, "", lambda e: e, expression_line, bool(before), before=before)


def whole(field: str, optional: bool = False, offers: Offers = ()) -> Argument:
    """A whole number from 0 on."""
    return Argument("INT", field, "", integer, optional=optional, offers=offers)


def count(field: str, optional: bool = False) -> Argument:
    """A whole number from 1 on."""
    return Argument("INT", field, "", positive, optional=optional)


def flag(field: str, text: str, optional: bool = False) -> Argument:
    """A word that sets a field to True."""
    name = f"SET_{text.upper()}"
    return Argument(name, field, terminal_of(text), lambda _: True, lambda _: text, optional, offers=(text,))


def choice(field: str, words: Words, optional: bool = False, offers: Offers = ()) -> Argument:
    """One of some words; `offers` are those to complete, where that is not all of them."""
    name = f"ONE_OF_{'_'.join(words).upper()}"
    return Argument(name, field, terminal_of("|".join(words)), str, str, optional, words=words, offers=offers or words)


def name(field: str, offers: Offers = (), optional: bool = False) -> Argument:
    """A word of any letters but quotes, braces and the like: a branch, a glob; it is written even by default."""
    return Argument("BARE", field, optional=optional, always=True, offers=offers)


def file(field: str, ending: str = "", command: str = "") -> Argument:
    """A path, in quotes where it has to be; with an ending, it has to have that one."""

    def read(path: str) -> str:
        if not path.endswith(ending):
            raise MisfitError(f"`{command}` takes a {ending} file", "", f"Write {command} {path}{ending}", *place(path))
        return str(path)

    return Argument("target", field, "", read, path_word)


def integer_option(name: str, field: str = "") -> Option:
    """A whole number from 0 on, as `seed=0`."""
    return Option(name, integer, field=field)


def truth_option(name: str) -> Option:
    """True or false, as `retain_graph=true`."""
    return Option(name, truth, lambda value: str(value).lower(), offers=("true", "false"))


def path_word(path: str) -> str:
    """Return a path as it must be written: in quotes where it is not one plain word."""
    plain = path and not any(c.isspace() or c in '"{};#=' for c in path)
    return path if plain else quote(path)
