"""Outcomes as small tables for a REPL and a notebook: their text and alignment."""

from __future__ import annotations

import pytest

import gradstep.sheets  # noqa: F401  (views draw themselves)
from gradstep.values.commands import Command, Forward, Step
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.views import Change, Changes

ROWS = (
    Change("2.weight", "norm 1.500", "norm 2.000", 1.5, 2.0, 0.5),
    Change("2.bias.grad", "none", "norm 0.100", None, 0.1, None),
)
SOME = Changes(3, "step", 12.5, ROWS)
NONE = Changes(1, "", None, ())


def test_a_table_lines_up() -> None:
    assert repr(SOME).splitlines() == [
        "step   loss 12.5000",
        "  changed          before       after  norm of change",
        "  2.weight     norm 1.500  norm 2.000           0.500",
        "  2.bias.grad        none  norm 0.100",
    ]


def test_an_outcome_without_changes_says_so() -> None:
    assert repr(NONE) == "loaded\n  no weight and no .grad changed"
    assert "no weight and no .grad changed" in NONE._repr_html_()


def test_html_has_a_row_for_each_change_and_escapes() -> None:
    html = Changes(1, "step", None, (*ROWS, Change("<b>&", "none", "zero", None, 0.0, None)))._repr_html_()
    assert html.count("<tr") == 4
    assert "&lt;b&gt;&amp;" in html


def test_an_outcome_says_its_problem_its_text_its_changes_or_where_it_stands() -> None:
    stop = Stop(number=4, iteration=2)
    refused = Outcome(Forward(), stop, Problem("wrong", "a title", "what <happened>", "a remedy"))
    assert repr(refused) == "a title\n  what <happened>\n  a remedy"
    assert "what &lt;happened&gt;" in refused._repr_html_()
    printed = repr(Outcome(Forward(), stop, text="w = 3\nand more"))
    assert printed == "forward   iteration 2   stop 4\n  w = 3\n  and more"
    assert repr(Outcome(Forward(), stop, changes=SOME)) == repr(SOME)
    assert Outcome(Forward(), stop, changes=SOME)._repr_html_() == SOME._repr_html_()
    assert repr(Outcome(Forward(), stop, text="w = 3", changes=SOME)).splitlines()[:2] == [
        "step   loss 12.5000",
        "  w = 3",
    ]
    assert repr(Outcome(Forward(), stop)) == "forward   iteration 2   stop 4"


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        ((Forward(), Step()), "forward; step"),
        ((Forward(), Step()) * 3, "repeat 3 { forward; step }"),
        ((Forward(),) * 6 + (Step(),), "forward; forward; forward; forward; forward; forward; … 7 commands"),
        ((), "nothing was run"),
    ],
)
def test_an_outcome_of_several_commands_says_what_ran(commands: tuple[Command, ...], words: str) -> None:
    outcome = Outcome(Forward(), Stop(number=4, loss=0.5), instead=commands)
    assert repr(outcome).startswith(f"{words}   loss 0.5000   iteration 0   stop 4")
    refused = Outcome(Forward(), Stop(), Problem("wrong", "a title", ""), instead=commands)
    assert (f"ran before it: {words}" in repr(refused)) == bool(commands)
