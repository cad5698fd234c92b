"""The wire format: every message survives a round trip through bytes."""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.session.transport import wire
from gradstep.values import commands, expressions, outcomes, views
from gradstep.values.commands import Forward, Load, Print, Say
from gradstep.values.expressions import Name, Number, Unary
from gradstep.values.outcomes import Event, Outcome, Output, Problem, Stop
from gradstep.values.views import LossPoint, LossView, NoView, Request, View

NAMES = {**vars(expressions), **vars(commands), **vars(views), **vars(outcomes)}


def samples(kind: Any, depth: int = 0) -> Iterator[Any]:
    """Yield values of a type: every member of a union, every literal, structs with all fields filled in."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        for member in get_args(kind):
            yield from samples(member, depth)
    elif origin is Literal:
        yield from get_args(kind)
    elif origin is tuple:
        inner = [a for a in get_args(kind) if a is not Ellipsis]
        if Ellipsis in get_args(kind):
            yield tuple(samples(inner[0], depth + 1)) if depth < 4 else ()
        else:
            yield tuple(next(samples(a, depth)) for a in inner)
    elif origin is dict:
        yield {f"key {i}": value for i, value in enumerate(samples(get_args(kind)[1], depth))}
    elif hasattr(kind, "__struct_fields__"):
        yield from structs(kind, depth)
    else:
        yield {int: 2**40, float: -0.1, str: "2.weight · − ×", bool: True, type(None): None, bytes: b"\x00\xff"}[kind]


@cache
def hints_of(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, {**NAMES, **vars(sys.modules[kind.__module__])})


def structs(kind: Any, depth: int) -> Iterator[Any]:
    hints, fields = hints_of(kind), {}
    for name in kind.__struct_fields__:
        choices = samples(hints[name], depth + 1)
        fields[name] = Number(7) if depth > 2 and hints[name] == expressions.Expression else list(choices)[-1]
    yield kind(**fields)


def test_the_unions_are_walked_to_their_members() -> None:
    assert {type(s) for s in samples(commands.Command)} == set(get_args(commands.Command))
    assert {type(s) for s in samples(View)} == set(get_args(View))
    assert {type(s) for s in samples(Event)} == set(get_args(Event))


@pytest.mark.parametrize("command", [*samples(commands.Command)], ids=lambda c: type(c).__name__)
def test_every_command_survives(command: Any) -> None:
    [(number, body)] = wire.Frames().feed(wire.frame(7, wire.Execute(command)))
    assert (number, wire.read_order(body)) == (7, wire.Execute(command))


@pytest.mark.parametrize("expression", [*samples(expressions.Expression)], ids=lambda c: type(c).__name__)
def test_every_expression_survives(expression: Any) -> None:
    [(_, body)] = wire.Frames().feed(wire.frame(1, wire.Execute(Print(expression))))
    assert wire.read_order(body) == wire.Execute(Print(expression))


@pytest.mark.parametrize("request_", [*samples(Request)], ids=lambda c: type(c).__name__)
def test_every_request_survives(request_: Any) -> None:
    [(_, body)] = wire.Frames().feed(wire.frame(1, wire.Look((request_,))))
    assert wire.read_order(body) == wire.Look((request_,))


@pytest.mark.parametrize("reply", [*samples(wire.Reply)], ids=lambda c: type(c).__name__)
def test_every_reply_survives(reply: Any) -> None:
    [(number, body)] = wire.Frames().feed(wire.reply_frame(3, reply))
    assert (number, wire.read_reply(body)) == (3, reply)


@pytest.mark.parametrize("view", [*samples(View)], ids=lambda c: type(c).__name__)
def test_every_view_survives(view: Any) -> None:
    [(_, body)] = wire.Frames().feed(wire.reply_frame(3, wire.Looked((view,))))
    assert wire.read_reply(body) == wire.Looked((view,))


@pytest.mark.parametrize("event", [*samples(Event)], ids=lambda c: type(c).__name__)
def test_every_event_survives(event: Any) -> None:
    [(number, body)] = wire.Frames().feed(wire.reply_frame(0, wire.Notified(event)))
    assert (number, wire.read_reply(body)) == (0, wire.Notified(event))


@pytest.mark.parametrize("command", [*samples(commands.Command)], ids=lambda c: type(c).__name__)
def test_the_outcome_of_every_command_survives(command: Any) -> None:
    [full] = structs(Outcome, 0)
    outcome = Outcome(command, full.stop, full.problem, full.text, full.watches, full.changes)
    [(_, body)] = wire.Frames().feed(wire.reply_frame(1, wire.Executed(outcome)))
    assert wire.read_reply(body) == wire.Executed(outcome)


def test_nan_inf_and_minus_zero_survive_bit_for_bit() -> None:
    values = [math.nan, math.inf, -math.inf, -0.0, 5e-324]
    view = LossView(1, tuple(LossPoint(1, 0, v) for v in values), 5)
    [(_, body)] = wire.Frames().feed(wire.reply_frame(1, wire.Looked((view,))))
    [back] = wire.read_reply(body).views
    assert [repr(p.loss) for p in back.points] == [repr(v) for v in values]


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), max_size=5), st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(texts: list[str], size: int) -> None:
    stream = b"".join(wire.frame(n, wire.Execute(Say(t))) for n, t in enumerate(texts))
    frames = wire.Frames()
    got = [f for at in range(0, len(stream), size) for f in frames.feed(stream[at : at + size])]
    assert [(n, wire.read_order(b).command.text) for n, b in got] == list(enumerate(texts))


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(ConnectionError, match="not gradstep's frames"):
        list(wire.Frames().feed(b"HTTP/1.1 200 OK"))


def test_an_outcome_that_cannot_be_written_becomes_an_error_outcome_with_its_stop() -> None:
    outcome = Outcome(Forward(), Stop(number=4, workload="mlp", loss=1.5), text="\ud800")
    [(_, body)] = wire.Frames().feed(wire.reply_frame(9, wire.Executed(outcome)))
    done = wire.read_reply(body)
    assert done.outcome.stop == outcome.stop
    assert done.outcome.command == Forward()
    assert done.outcome.problem.kind == "wrong"
    assert "surrogates not allowed" in done.outcome.problem.what


def test_a_stop_that_cannot_be_written_keeps_its_numbers() -> None:
    outcome = Outcome(Forward(), Stop(number=4, workload="\udcff", iteration=2, loss=1.5))
    [(_, body)] = wire.Frames().feed(wire.reply_frame(9, wire.Executed(outcome)))
    assert wire.read_reply(body).outcome.stop == Stop(number=4, iteration=2, loss=1.5)


def test_a_view_that_cannot_be_written_is_shown_as_the_reason_and_the_others_stay() -> None:
    good, bad = NoView(2, "fine"), NoView(2, "\ud800")
    [(_, body)] = wire.Frames().feed(wire.reply_frame(9, wire.Looked((good, bad))))
    first, second = wire.read_reply(body).views
    assert first == good
    assert "surrogates not allowed" in second.why


def test_views_beside_an_outcome_are_repaired_one_by_one_and_the_outcome_stays() -> None:
    outcome, good, bad = Outcome(Forward(), Stop(number=2), text="as it was"), NoView(2, "fine"), NoView(2, "\ud800")
    [(_, body)] = wire.Frames().feed(wire.reply_frame(9, wire.Executed(outcome, (good, bad))))
    done = wire.read_reply(body)
    assert (done.outcome, done.views[0]) == (outcome, good)
    assert "surrogates not allowed" in done.views[1].why


def test_an_event_that_cannot_be_written_is_refused_with_a_reason() -> None:
    [(_, body)] = wire.Frames().feed(wire.reply_frame(0, wire.Notified(Output("\ud800"))))
    assert "surrogates" in wire.read_reply(body).problem.what


def test_what_cannot_be_written_is_named_by_one_set_of_exceptions() -> None:
    deep: Any = Name("x")
    for _ in range(5000):
        deep = Unary("-", deep)
    for command in (Say("\ud800"), Load("mlp", seed=2**64), Print(deep)):
        with pytest.raises(wire.UNENCODABLE):
            wire.frame(1, wire.Execute(command))


def test_a_problem_that_quotes_a_surrogate_can_itself_be_sent() -> None:
    problem = wire.cannot_send(ValueError("\udcff"))
    assert isinstance(problem, Problem)
    wire.frame(1, wire.Refused(problem))
