"""What `session.show` is given is read as the steps language reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.steps.language.faults import ScriptError
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Show
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Attribute, Expression, Index, Name, Number, Span, Unary
from gradstep.values.selection import read_selection

WHOLE = st.integers(-300, 70_000).map(str)
MAYBE = st.just("") | WHOLE
SPANS = st.builds(":".join, st.lists(MAYBE, min_size=2, max_size=3))
ITEMS = st.lists(st.one_of(WHOLE, SPANS, st.just("...")), min_size=1, max_size=4).map(", ".join)
NAMES = st.sampled_from(["2.weight", "weight", "2.weight.grad", "0.1.bias", "`odd name`", "`odd name`.grad", "x_1.y"])
SELECTIONS = st.one_of(NAMES, st.builds("{}[{}]".format, NAMES, ITEMS), st.builds("{}[{}].grad".format, NAMES, ITEMS))


def as_a_script_reads_it(text: str) -> Expression | None:
    try:
        (line,) = parse_line(f"show {text}")
    except ScriptError:
        return None
    assert isinstance(line, StepsLine)
    assert isinstance(line.command, Show)
    return line.command.what


@given(SELECTIONS)
def test_it_is_read_as_in_a_script(text: str) -> None:
    assert read_selection(text) == as_a_script_reads_it(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (" 2.weight ", Name("2.weight")),
        ("2.weight[0,-1]", Index(Name("2.weight"), (Number(0), Unary("-", Number(1))))),
        ("w[1:].grad", Attribute(Index(Name("w"), (Span(Number(1)),)), "grad")),
        ("`a b`.grad", Name(".grad", "a b")),
    ],
)
def test_what_is_read(text: str, read: Expression) -> None:
    assert read_selection(text) == read


@pytest.mark.parametrize(
    "text", ["", "w[", "w]", "w[]", "w[1:2:3:4]", "w[a]", "1e5", "none", "a b", "w[0][1]", "1 + w"]
)
def test_what_is_no_selection_is_said_with_a_remedy(text: str) -> None:
    with pytest.raises(GradstepError) as caught:
        read_selection(text)
    assert "2.weight[0, 0:10]" in caught.value.problem.remedy
