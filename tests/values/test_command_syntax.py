"""The declaration of a command: how it is read, written and put into the grammar."""

from __future__ import annotations

from typing import ClassVar

import pytest
from msgspec import Struct

from gradstep.values.commands import COMMANDS, line_of
from gradstep.values.commands.arguments import Option, ParsedOption, choice, count, flag, name, truth_option
from gradstep.values.commands.statement_error import StatementError
from gradstep.values.commands.syntax import CommandForm, Syntax, Word, grammar_of


class Toy(Struct, frozen=True, tag=True):
    """Stands for any command: two words, two ways to write it."""

    syntax: ClassVar = Syntax(
        Word("melt", "melt 0.* twice", "Melt.", {"on": False}),
        Word("chill", "chill 0.*", "Chill.", {"on": True}),
        CommandForm(name("what"), choice("how", ("once", "twice"), optional=True), truth_option("slow")),
        CommandForm(count("times"), flag("gently", "gently", optional=True)),
        role="edit",
    )
    on: bool
    what: str = ""
    how: str = "once"
    slow: bool = False
    times: int = 0
    gently: bool = False
    over: bool = False


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (Toy(True, "0.*"), "chill 0.*"),
        (Toy(False, "0.*", "twice", slow=True), "melt 0.* twice slow=true"),
        (Toy(False, times=3), "melt 3"),
        (Toy(True, times=1, gently=True, over=True), "chill 1 gently"),
    ],
)
def test_a_command_is_written_in_the_form_that_has_its_fields(command: Toy, line: str) -> None:
    assert line_of(command) == line


def test_a_statement_gives_the_fields_of_its_word_its_arguments_and_its_options() -> None:
    first, second = Toy.syntax.forms
    assert Toy.syntax.read(Toy, first, "melt!", ["0.*", None, ParsedOption("slow", "true")]) == Toy(
        False, "0.*", slow=True, over=True
    )
    assert Toy.syntax.read(Toy, second, "chill", ["3", "gently"]) == Toy(True, times=3, gently=True)


def test_options_that_are_unknown_or_twice_are_refused_with_a_remedy() -> None:
    form = CommandForm(Option("from"), Option("size"))
    with pytest.raises(StatementError, match="`toy` has no option `form`") as misfit:
        form.read("toy", [ParsedOption("form", "1")])
    assert misfit.value.remedy == "Did you mean `from`?"
    with pytest.raises(StatementError, match="`size` is given twice"):
        form.read("toy", [ParsedOption("size", "1"), ParsedOption("size", "1")])
    with pytest.raises(StatementError) as misfit:
        CommandForm().read("toy", [ParsedOption("size", "1")])
    assert misfit.value.remedy == "It takes no options."


def test_the_grammar_has_each_form_and_each_word_once() -> None:
    rules, makers, terminals = grammar_of([Toy])
    assert rules == {
        "toy_0": "(WORD_MELT | WORD_CHILL) BARE [ONE_OF_ONCE_TWICE] option* -> toy_0",
        "toy_1": "(WORD_MELT | WORD_CHILL) INT [SET_GENTLY] -> toy_1",
    }
    assert makers == {"toy_0": (Toy, Toy.syntax.forms[0]), "toy_1": (Toy, Toy.syntax.forms[1])}
    assert set(terminals) == {"WORD_MELT", "WORD_CHILL", "ONE_OF_ONCE_TWICE", "SET_GENTLY"}


def test_every_command_has_words_of_its_own_and_what_overwrites_has_a_file() -> None:
    words = [word.word for kind in COMMANDS for word in kind.syntax.words]
    assert len(words) == len(set(words))
    assert all(kind.syntax.words or kind.__name__ == "Set" for kind in COMMANDS)
    assert all("path" in kind.__struct_fields__ for kind in COMMANDS if "over" in kind.__struct_fields__)
