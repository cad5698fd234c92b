"""Complete what is typed at `:`: command words, and after them what the command's declaration offers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from gradstep.steps.language.words import SYNTAX, WORDS
from gradstep.values.commands import SETTINGS
from gradstep.values.commands.arguments import Argument, Option
from gradstep.values.commands.syntax import CommandForm, Syntax
from gradstep.values.expressions import name_line
from gradstep.values.views import Names


def complete(text: str, names: Names | None, own: Mapping[str, Syntax] = MappingProxyType({})) -> list[str]:
    """Return the lines that complete the last word of `text`, the likeliest first; each begins with `text`.

    Args:
        text: the line up to the cursor.
        names: the names for expressions; None while nothing is loaded.
        own: screen commands by their words; each is alone on its line.
    """
    statement = re.split(r"[;{]", text)[-1].lstrip()
    word, space, rest = statement.partition(" ")
    alone = own if statement == text.lstrip() else {}
    if not space:
        return _finish(text, word, [*(each.word for each in WORDS), *alone])
    syntax = SYNTAX.get(word) or alone.get(word)
    forms = () if syntax is None else syntax.forms
    return list(dict.fromkeys(line for form in forms for line in _in_form(text, form, rest, names)))


def _in_form(text: str, form: CommandForm, rest: str, names: Names | None) -> list[str]:
    """Complete what follows a command word, according to one of its forms."""
    rules = {argument.rule for argument in form.arguments}
    if '"="' in rules:
        return _assignment(text, rest, names, settings="postfix" in rules)
    if "change" in rules:
        change = re.sub(r"^\s*(\w+=\w*\s+)*", "", rest)
        if " " in change:
            return [text.removesuffix(change) + whole for whole in complete(change, names)]
        return _finish(text, change, [word for word, syntax in SYNTAX.items() if syntax.role == "edit"])
    *given, typed = rest.split(" ")
    option, equals, value = typed.partition("=")
    if equals and option in form.options:
        return _finish(text, value, form.options[option].offers)
    options = {each.partition("=")[0] for each in given} & form.options.keys()
    words = [each for each in given if each and each.partition("=")[0] not in options]
    at = _last_taken(form.arguments, words)
    if at is None:
        return []
    offers: list[str] = []
    for part in form.parts:
        if isinstance(part, Option):
            offers += [f"{part.name}="] if part.name not in options else []
        elif form.arguments.index(part) > at and not options:
            offers += [f"{part.before} "] if part.before else _offers(part, words, names)
            if not part.optional:
                break
    now, coming = form.arguments[max(at, 0) : at + 1], form.arguments[at + 1 : at + 2]
    begins = [each for each in now if each.before == words[-1]] or [each for each in coming if not each.before]
    if begins and begins[0].rule == "expression":
        return _expression(text, rest, names)
    going_on = _expression(text, rest, names) if now and now[0].rule == "expression" else []
    return going_on or _finish(text, typed, offers)


def _last_taken(arguments: Sequence[Argument], words: Sequence[str]) -> int | None:
    """Return the index of the argument that the last word belongs to; -1 without a word, None when one does not fit."""
    at = -1
    for word in words:
        coming = range(at + 1, len(arguments))
        open_ended = at >= 0 and arguments[at].rule == "expression"
        if open_ended:
            at = next((i for i in coming if arguments[i].before == word), at)
            continue
        for i in coming:
            if _takes(arguments[i], word):
                at = i
                break
            if not arguments[i].optional:
                return None
        else:
            return None
    return at


def _takes(argument: Argument, word: str) -> bool:
    if argument.before:
        return word == argument.before
    return not argument.terminal or re.fullmatch(argument.terminal, word) is not None


def _offers(argument: Argument, words: Sequence[str], names: Names | None) -> list[str]:
    """Return the candidates for an argument after the given words."""
    offers = argument.offers
    if not isinstance(offers, tuple):
        offers = offers.get(words[0], ()) if words else ()
    known = {f"@{field}": getattr(names, field) for field in Names.__struct_fields__} if names is not None else {}
    return [str(each) for offer in offers for each in (known.get(offer, ()) if offer.startswith("@") else (offer,))]


def _assignment(text: str, rest: str, names: Names | None, settings: bool) -> list[str]:
    """Complete `let NAME = ...` and `set TARGET = ...`, where the target can be a setting."""
    target, equals, value = rest.partition("=")
    if equals and settings and target.strip() in SETTINGS:
        return _finish(text, value.lstrip(), SETTINGS[target.strip()])
    if equals:
        return _expression(text, value, names)
    return _target(text, rest.lstrip(), names) if settings else []


def _target(text: str, typed: str, names: Names | None) -> list[str]:
    """Complete the target of `set`: a setting, a hyper-parameter, a tensor or its `.grad`."""
    settings = [f"{name} = " for name in ("lr", *SETTINGS)]
    known = [name_line(name) for name in names.model] if names is not None and typed else []
    return _finish(text, typed, [*settings, *known, *(f"{name}.grad" for name in known)])


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


def _finish(text: str, typed: str, words: Iterable[str]) -> list[str]:
    found = dict.fromkeys(w for w in words if w.startswith(typed) and w != typed)
    return [text + word[len(typed) :] for word in found]
