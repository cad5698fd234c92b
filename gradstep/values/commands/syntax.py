"""The declaration of a command: words, arguments, help. Grammar, printing, completion, help and palette read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from gradstep.values.commands.arguments import Argument, Option, ParsedOption, terminal_of
from gradstep.values.commands.statement_error import StatementError, place
from gradstep.values.nearest import did_you_mean

Role: TypeAlias = Literal["load", "act", "step", "edit", "travel", "note", "output"]
"""What a command is for.

`load` builds a workload; `act` runs a phase or takes a batch; `step` continues inside a phase; `edit` changes what is
trained; `travel` goes back or forward in time; `note` changes the selection, `let`s, watchpoints or breakpoints;
`output` prints, or writes a file.
"""
Needs: TypeAlias = Literal["", "inside", "graph", "history"]
"""What a session must keep for the command: stops inside a phase, the graph of the last loss, or every stop."""
_UNWRITTEN = {"folder", "over"}
"""Fields that are not part of the line: the base of a relative path, and whether to overwrite a file (`!`)."""
_TIGHT = {"BARE", "PLACE", "target"}
"""Rules that must be separated from the previous word by whitespace."""


class Word(NamedTuple):
    """A command word: an example of its use, its help line, and the fields that it sets."""

    word: str
    usage: str
    help: str
    sets: Mapping[str, object] = {}


class CommandForm:
    """One way to write a command: the arguments after its word, in order."""

    def __init__(self, *parts: Argument | Option) -> None:
        self.parts = parts
        self.arguments = tuple(part for part in parts if isinstance(part, Argument))
        self.options = {part.name: part for part in parts if isinstance(part, Option)}
        self._fields = {part.field or part.name for part in self.options.values()}
        self._fields |= {part.field for part in self.arguments}

    @property
    def rule(self) -> str:
        """The form as a grammar rule; one without arguments accepts options, to report that it has none."""
        parts: list[str] = []
        for part in self.parts:
            if isinstance(part, Argument):
                parts.append(_rule(part))
            elif "option*" not in parts:
                parts.append("option*")
        return " ".join(parts) or "option*"

    def writes(self, given: Mapping[str, Any]) -> bool:
        """Return whether the form can write a command with these non-default fields."""
        chosen = [each for each in self.arguments if each.field and each.words and not each.optional]
        return given.keys() <= self._fields and all(given.get(each.field) in each.words for each in chosen)

    def read(self, word: str, children: Sequence[Any]) -> dict[str, Any]:
        """Return the fields of a statement.

        Args:
            word: the word of the command.
            children: the parsed children: one value for each argument with a field, None when omitted, and the options.

        Raises:
            StatementError: one is invalid.
        """
        options = [each for each in children if isinstance(each, ParsedOption)]
        values = [each for each in children if not isinstance(each, ParsedOption)]
        arguments = [each for each in self.arguments if each.field and not each.many]
        fields = {a.field: a.read(v) for a, v in zip(arguments, values, strict=True) if v is not None}
        many = next((each for each in self.arguments if each.many), None)
        seen: set[str] = set()
        for name, value in options:
            if many is None and name not in self.options:
                offer = f"Its options are {', '.join(self.options)}." if self.options else "It takes no options."
                remedy = did_you_mean(name, self.options) or offer
                raise StatementError(f"`{word}` has no option `{name}`", "", remedy, *place(name))
            if name in seen:
                raise StatementError(f"`{name}` is given twice", "", "Keep one of them.", *place(name))
            seen.add(name)
            if many is None:
                option = self.options[name]
                fields[option.field or name] = option.read(value)
        if many is not None:
            fields[many.field] = tuple((str(name), value) for name, value in options)
        return fields

    def write(self, command: object, given: Mapping[str, Any]) -> Iterator[str]:
        """Yield the words after the command word; optional defaults are omitted."""
        for part in self.parts:
            if isinstance(part, Option):
                field = part.field or part.name
                if field in given:
                    yield f"{part.name}={part.write(given[field])}"
            elif not part.field or not part.optional or part.always or part.field in given:
                text = part.write(getattr(command, part.field) if part.field else None)
                yield f"{part.before} {text}" if part.before else text


class Syntax:
    """The declaration of a command.

    Args:
        parts: its words, in the order of the help, then its forms.
        role: what it is for.
        inside: False when it is refused at a stop inside a phase.
        needs: what a session must keep for it.
        line: prints it, if its forms can't.
        make: builds it from its first word and fields, if calling the class is not enough.
    """

    def __init__(
        self,
        *parts: Word | CommandForm,
        role: Role,
        inside: bool = True,
        needs: Needs = "",
        line: Callable[[Any], str] | None = None,
        make: Callable[[str, dict[str, Any]], object] | None = None,
    ) -> None:
        self.words = tuple(part for part in parts if isinstance(part, Word))
        self.forms = tuple(part for part in parts if isinstance(part, CommandForm))
        self.role, self.inside, self.needs = role, inside, needs
        self._line, self._make = line, make

    def read(self, kind: type, form: CommandForm, first: str, children: Sequence[Any]) -> object:
        """Return the command of a statement.

        Args:
            kind: the class of the command.
            form: the form that was parsed.
            first: its first word, including `!`.
            children: see `CommandForm.read`.

        Raises:
            StatementError: it is invalid.
        """
        text = first.removesuffix("!")
        word = next(each for each in self.words if each.word == text)
        fields = {**word.sets, **form.read(text, children)}
        if first.endswith("!"):
            fields["over"] = True
        return self._make(first, fields) if self._make is not None else kind(**fields)

    def line(self, command: Any) -> str:
        """Return a command as the line of a `.steps` script that replays it."""
        return self.by_form(command) if self._line is None else self._line(command)

    def by_form(self, command: Any) -> str:
        """Write a command by the first of its forms that can."""
        values = {name: getattr(command, name) for name in command.__struct_fields__ if name not in _UNWRITTEN}
        word = (
            next(each for each in self.words if each.sets.items() <= values.items())
            if len(self.words) > 1
            else self.words[0]
        )
        defaults = command.__struct_defaults__
        default = dict(zip(command.__struct_fields__[-len(defaults) :], defaults, strict=True)) if defaults else {}
        given = {
            name: value
            for name, value in values.items()
            if name not in word.sets and not (name in default and default[name] == value)
        }
        form = next((each for each in self.forms if each.writes(given)), self.forms[-1])
        return " ".join([word.word, *form.write(command, given)])


def line_of(command: Any) -> str:
    """Return a command as the line of a `.steps` script that replays it."""
    syntax: Syntax = command.syntax
    return syntax.line(command)


def grammar_of(kinds: Sequence[Any]) -> tuple[dict[str, str], dict[str, tuple[Any, CommandForm]], dict[str, str]]:
    """Return the grammar of the command declarations.

    Returns:
        The alternatives of a rule, by callback name; the command and form of each callback; the regular expressions of
        the terminals.
    """
    rules, makers, terminals = {}, {}, {}
    for kind in kinds:
        syntax: Syntax = kind.syntax
        bang = "!?" if "over" in kind.__struct_fields__ else ""
        for number, form in enumerate(syntax.forms):
            callback = f"{kind.__name__.lower()}_{number}"
            words = " | ".join(f"WORD_{word.word.upper()}" for word in syntax.words)
            rules[callback] = f"({words}) {form.rule} -> {callback}"
            makers[callback] = kind, form
            for word in syntax.words:
                tight = form.arguments and form.arguments[0].rule in _TIGHT
                text = word.word + bang
                terminals[f"WORD_{word.word.upper()}"] = rf"{text}(?!\S)" if tight else terminal_of(text)
            for argument in form.arguments:
                if argument.terminal:
                    terminals[argument.rule] = argument.terminal
                if argument.before:
                    terminals[f"_THE_{argument.before.upper()}"] = terminal_of(argument.before)
    return rules, makers, terminals


def _rule(argument: Argument) -> str:
    if argument.many:
        return f"{argument.rule}*"
    rule = f"_THE_{argument.before.upper()} {argument.rule}" if argument.before else argument.rule
    return f"[{rule}]" if argument.optional else rule
