"""Every command and expression, written as a line and parsed, is the same value again."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import msgpack

from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values import commands as c
from gradstep.values import expressions as x
from gradstep.values.expressions import PLAIN_NAME, RESERVED, expression_line, is_word

WORDS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
PARTS = st.one_of(WORDS, st.integers(0, 99).map(str))


def plain(name: str) -> bool:
    number = re.fullmatch(r"[0-9]+(\.[0-9]+)?([eE][0-9]+)?", name)
    return bool(PLAIN_NAME.match(name)) and name.split(".")[0] not in RESERVED and not number


NAMES = st.lists(PARTS, min_size=1, max_size=4).map(".".join).filter(plain)
ATTRIBUTES = st.lists(PARTS, max_size=2).map(lambda parts: "".join(f".{p}" for p in parts))
QUOTED = st.text(st.characters(exclude_characters="`\n", exclude_categories=("Cs",)), min_size=1, max_size=8)
NUMBERS = st.one_of(st.integers(0, 2**63 - 1), st.floats(min_value=0, allow_nan=False, allow_infinity=True).map(abs))
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
LEAVES = st.one_of(
    NUMBERS.map(x.Number),
    st.sampled_from(["none", "true", "false"]).map(x.Constant),
    TEXTS.map(x.Text),
    NAMES.map(x.Name),
    st.builds(x.Name, ATTRIBUTES, QUOTED),
)


def grown(inner: st.SearchStrategy[x.Expression]) -> st.SearchStrategy[x.Expression]:
    span = st.builds(x.Span, st.none() | inner, st.none() | inner, st.none() | inner)
    items = st.lists(st.one_of(inner, span, st.builds(x.Dots)), min_size=1, max_size=3).map(tuple)
    options = st.lists(st.tuples(WORDS.filter(lambda w: w not in RESERVED), inner), max_size=2).map(tuple)
    index = st.builds(x.Index, inner, items)
    call = st.builds(x.Call, NAMES, st.lists(inner, max_size=3).map(tuple), options)
    return st.one_of(
        index,
        call,
        st.builds(x.Attribute, st.one_of(index, call), WORDS),
        st.builds(x.Listing, st.lists(inner, max_size=3).map(tuple)),
        st.builds(x.Unary, st.sampled_from(["-", "+", "not"]), inner),
        st.builds(x.Binary, st.sampled_from([o for o in x.PRECEDENCE if o not in ("not", "is", "neg")]), inner, inner),
        st.builds(x.IsNone, inner, st.booleans()),
    )


EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=12)
PATHS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
BARE = st.from_regex(r"[A-Za-z0-9_.*\[\]-]{1,10}", fullmatch=True)
PLACES = st.one_of(
    NAMES.filter(lambda name: name != "set_to_none").map(x.Name),
    st.builds(
        x.Index, NAMES.map(x.Name), st.lists(st.integers(0, 99).map(x.Number), min_size=1, max_size=3).map(tuple)
    ),
)
SAID = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=30).map(str.strip)
EDITS = st.one_of(
    st.builds(c.Assign, PLACES, EXPRESSIONS),
    st.builds(c.Freeze, BARE, st.booleans()),
    st.builds(c.Clip, st.sampled_from(["norm", "value"]), st.floats(0, allow_nan=False).map(abs)),
    st.builds(c.UseOptimizer, WORDS, st.dictionaries(WORDS, EXPRESSIONS, max_size=3).map(lambda d: tuple(d.items()))),
    st.builds(c.Mode, st.booleans()),
    st.builds(c.Seed, st.integers(0, 2**63 - 1)),
    st.builds(c.Restore, PATHS.map(lambda path: f"{path}.safetensors")),
)
COMMANDS = st.one_of(
    EDITS,
    st.builds(c.Try, st.lists(EDITS, min_size=1, max_size=3).map(tuple), st.integers(0, 1000)),
    st.builds(
        c.Load,
        PATHS,
        st.none() | st.integers(0, 2**63 - 1),
        st.sampled_from(["auto", "cpu", "cuda", "cuda:1", "mps"]),
    ),
    st.just(c.Forward()),
    st.builds(c.Backward, st.booleans()),
    st.just(c.Step()),
    st.builds(c.ZeroGrad, st.none() | st.booleans()),
    st.just(c.NextBatch()),
    st.builds(c.Show, EXPRESSIONS),
    st.builds(c.Let, WORDS.filter(is_word), EXPRESSIONS),
    st.builds(c.Expect, EXPRESSIONS),
    st.builds(c.Print, EXPRESSIONS),
    st.builds(c.Watch, EXPRESSIONS),
    st.builds(c.Unwatch, st.integers(0, 1000)),
    st.builds(c.Set, st.just("set_to_none"), EXPRESSIONS),
    st.builds(c.Say, SAID),
    st.builds(c.Undo, st.integers(1, 1000)),
    st.just(c.Undo(phase=True)),
    st.builds(c.Redo, st.integers(1, 1000)),
    st.builds(c.Goto, st.integers(0, 10**6)),
    st.builds(c.BackUntil, EXPRESSIONS),
    st.builds(c.WhoWrote, EXPRESSIONS),
    st.builds(c.Branch, BARE),
    st.builds(c.Switch, BARE),
    st.builds(c.Compare, BARE, BARE),
    st.builds(c.Diff, BARE, BARE),
    st.builds(c.Checkpoint, PATHS.map(lambda path: f"{path}.safetensors")),
    st.builds(c.Export, PATHS.map(lambda path: f"{path}.py")),
    st.builds(c.Screenshot, PATHS),
)


def parsed(line: str) -> c.Command:
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    return statement.command


@settings(max_examples=400)
@given(COMMANDS)
@example(c.Say('half } a ; block # and "quotes'))
@example(c.Load("a b;c#d.py:f", 0, "cuda:1"))
def test_a_command_is_what_its_line_says(command: c.Command) -> None:
    assert parsed(c.line_of(command)) == command


@settings(max_examples=600)
@given(EXPRESSIONS)
def test_an_expression_is_what_its_text_says(expression: x.Expression) -> None:
    assert parsed(f"print {expression_line(expression)}") == c.Print(expression)


@settings(max_examples=200)
@given(COMMANDS)
def test_a_command_survives_the_wire(command: c.Command) -> None:
    assert msgpack.decode(msgpack.encode(command), type=c.Command) == command


@given(QUOTED)
def test_any_name_can_be_quoted(name: str) -> None:
    assert parsed(f"print `{name}`") == c.Print(x.Name("", name))


def test_nan_and_the_infinities_are_numbers() -> None:
    nan = parsed("print nan")
    assert isinstance(nan, c.Print)
    assert isinstance(nan.value, x.Number)
    assert math.isnan(nan.value.value)
    assert parsed("print -inf") == c.Print(x.Unary("-", x.Number(math.inf)))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("2.weight.grad", x.Name("2.weight.grad")),
        ("layers.0.weight", x.Name("layers.0.weight")),
        ("0.001", x.Number(0.001)),
        ("1e-3", x.Number(0.001)),
        ("1e5", x.Number(1e5)),
        ("1e5.weight", x.Name("1e5.weight")),
        ("2.weight-1", x.Binary("-", x.Name("2.weight"), x.Number(1))),
        ("`de-en`.weight.grad", x.Name(".weight.grad", "de-en")),
        ("encoder.`de-en`.weight", x.Name(".weight", "encoder.de-en")),
        ("android", x.Name("android")),
        ("-a ** -b", x.Unary("-", x.Binary("**", x.Name("a"), x.Unary("-", x.Name("b"))))),
        ("a - b - c", x.Binary("-", x.Binary("-", x.Name("a"), x.Name("b")), x.Name("c"))),
        ("not a == b", x.Unary("not", x.Binary("==", x.Name("a"), x.Name("b")))),
        ("w[0, :, ..., ::2]", x.Index(x.Name("w"), (x.Number(0), x.Span(), x.Dots(), x.Span(step=x.Number(2))))),
        ("2.weight[0].grad", x.Attribute(x.Index(x.Name("2.weight"), (x.Number(0),)), "grad")),
        ("(a).grad", x.Name("a.grad")),
        ('dtype(a) == "float32"', x.Binary("==", x.Call("dtype", (x.Name("a"),)), x.Text("float32"))),
        ("a is not none", x.IsNone(x.Name("a"), negated=True)),
    ],
)
def test_text_means(text: str, expression: x.Expression) -> None:
    assert parsed(f"print {text}") == c.Print(expression)
