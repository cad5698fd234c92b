"""Complete what is typed at `:`: command words, options and their values, settings, names and functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gradstep.steps.words import BY_WORD, SETTINGS, WORDS
from gradstep.values.expressions import name_line
from gradstep.values.views import Names

_EXPRESSIONS = frozenset({"show", "expect", "print", "watch", "until", "why"})
_KINDS = ("phase", "module", "node", "grad", "iteration", "when", "nan", "inf")
"""What a breakpoint can stand on."""
_EDGES = {"module": ("enter", "exit"), "node": ("before", "after"), "grad": ("before", "after")}
_STEPPED = ("forward", "backward")
_WORDS = {"into": _STEPPED, "out": ("phase",), "undo": ("phase",)}
"""The word that may follow a command."""
_SECOND = {"back": "until ", "who": "wrote ", "clip": "grad "}
"""The word that has to follow a command, with more behind it."""
_NUMBERED = frozenset({"delete", "enable", "disable", "ignore"})


def complete(text: str, names: Names | None) -> list[str]:
    """Return the lines that `text` can become by completing its last word, the likeliest first.

    Each begins with `text`, letter for letter. Nothing fits: [].

    Args:
        text: the line up to the cursor.
        names: what an expression may name; None while nothing is loaded.
    """
    statement = re.split(r"[;{]", text)[-1].lstrip()
    word, space, rest = statement.partition(" ")
    if not space:
        return _finish(text, word, [w.word for w in WORDS])
    if word == "say" or word not in BY_WORD:
        return []
    if word == "try":
        change = re.sub(r"^\s*from=\d+\s+", "", rest).lstrip()
        return [text.removesuffix(change) + whole for whole in complete(change, names)]
    if word == "set" and "=" not in rest:
        return _target(text, rest.lstrip(), names)
    if word in _EXPRESSIONS or (word == "let" and "=" in rest):
        return _expression(text, rest, names)
    if word == "set":
        name, _, value = rest.partition("=")
        chosen = SETTINGS.get(name.strip())
        return _expression(text, value, names) if chosen is None else _finish(text, value.lstrip(), chosen)
    if word in _SECOND:
        return _second(text, word, rest, names)
    if word in ("switch", "compare", "diff"):
        ends = names.branches if names is not None else ()
        last = rest.rpartition(" ")[2]
        return _finish(text, last, ends if word == "switch" else (*ends, "now"))
    if word in ("freeze", "unfreeze"):
        return _finish(text, rest, names.parameters if names is not None else ())
    if word in ("break", "log"):
        return _break(text, rest, names)
    if word == "check":
        return _finish(text, rest, names.nodes if names is not None else ())
    if word in _WORDS:
        return _finish(text, rest, _WORDS[word])
    if word in _NUMBERED:
        return _finish(text, rest, map(str, names.breakpoints if names is not None else ()))
    return _option(text, word, rest)


def _target(text: str, typed: str, names: Names | None) -> list[str]:
    """Complete what `set` writes: a setting, a hyper-parameter, a tensor or its `.grad`."""
    settings = [f"{name} = " for name in ("lr", *SETTINGS)]
    known = [name_line(name) for name in names.model] if names is not None and typed else []
    return _finish(text, typed, [*settings, *known, *(f"{name}.grad" for name in known)])


def _second(text: str, word: str, rest: str, names: Names | None) -> list[str]:
    """Complete a command of two words, and what stands behind the second."""
    second = _SECOND[word]
    if not rest.startswith(second):
        return _finish(text, rest, [second])
    behind = rest.removeprefix(second)
    return _option(text, word, rest) if word == "clip" else _expression(text, behind, names)


def _expression(text: str, rest: str, names: Names | None) -> list[str]:
    if rest.count('"') % 2:
        return []
    last = re.search(r"`[^`]*\Z|[\w.]*\Z", rest)
    typed = last.group() if last else ""
    if names is None or not typed:
        return []
    model = [name_line(name) for name in names.model]
    attributes = [f"{name}.grad" for name in model]
    functions = [f"{name}(" for name in names.functions]
    return _finish(text, typed, [*names.values, *model, *attributes, *functions])


def _break(text: str, rest: str, names: Names | None) -> list[str]:
    """Complete a breakpoint: its kind, its place, its side, and the expressions behind `if`, `when` and `print`."""
    kind, *given = rest.split(" ")
    last = rest.rpartition(" ")[2]
    if kind == "when" or {"if", "print"} & set(given[:-1]):
        return _expression(text, last, names) or (_option(text, "break", rest) if given else [])
    if not given:
        return _finish(text, last, _KINDS)
    if len(given) == 1:
        places: dict[str, tuple[str, ...]] = {"phase": (*_STEPPED, "step", "zero_grad")}
        if names is not None:
            places |= {"module": names.modules, "node": names.nodes, "grad": names.parameters}
        return _finish(text, last, places.get(kind, ()))
    sides = () if set(given[1:-1]) & {*_EDGES.get(kind, ())} else _EDGES.get(kind, ())
    return _finish(text, last, [*sides, "if ", "print ", "ignore="])


def _option(text: str, word: str, rest: str) -> list[str]:
    options = dict(BY_WORD[word].options)
    typed = rest.rpartition(" ")[2]
    name, equals, value = typed.partition("=")
    if equals:
        return _finish(text, value, options.get(name, ()))
    if word == "load" and " " not in rest:
        return []
    given = {part.partition("=")[0] for part in rest.split()[:-1]}
    return _finish(text, typed, [f"{option}=" for option in options if option not in given])


def _finish(text: str, typed: str, words: Iterable[str]) -> list[str]:
    found = dict.fromkeys(w for w in words if w.startswith(typed) and w != typed)
    return [text + word[len(typed) :] for word in found]
