"""A tensor at two points: windows of both and of their difference are torch's own, and what one side lacks is said."""

from __future__ import annotations

import pytest
import torch
from msgspec import msgpack

from gradstep import Session
from gradstep.engine.history.travel import visit
from gradstep.session.local import Session as Local
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.views import NoView, Request, View
from gradstep.values.views.tensor import Between, LookPlace, LookTensor, PlaceView, TensorView

TYPED = """load cnn seed=0 device=cpu; forward; backward; step; zero_grad; forward; backward; step
goto 1; branch slow; set lr = 0.001; forward; backward; step"""


def typed(text: str) -> Local:
    """Return a session that has carried lines out."""
    made = Session(history=1 << 30)
    for statement in (each for line in text.splitlines() for each in parse_line(line)):
        assert isinstance(statement, StepsLine)
        assert made.execute(statement.command).ok
    return made


@pytest.fixture(scope="module")
def session() -> Local:
    return typed(TYPED)


def value(session: Local, name: str, stop: int) -> torch.Tensor:
    """Return a tensor as it was at a stop."""
    past = session.time_travel
    with visit(past.timeline, past.timeline.at(stop)):
        tensor = past.timeline.held.tensor(name.removesuffix(".grad"))
        assert tensor is not None
        found = tensor.grad if name.endswith(".grad") else tensor
        assert found is not None
        return found.detach().clone()


def look(session: Local, request: Request) -> View:
    (view,) = session.look(request)
    return view


def test_the_difference_is_torchs(session: Local) -> None:
    first, second = value(session, "head.weight", 8), value(session, "head.weight", 12)
    between = Between("head.weight", "main", "slow")
    view = look(session, LookTensor(2, 5, 1, 7, between=between))
    assert isinstance(view, TensorView)
    assert view.pair is not None
    assert (view.pair.first, view.pair.first_stop, view.pair.second, view.pair.second_stop) == ("main", 8, "slow", 12)
    assert (view.top, view.left, view.whole, view.quantity) == (1, 7, tuple(first.shape), "change")
    assert view.value is not None
    part = (slice(1, 3), slice(7, 12))
    exact = (second.double() - first.double())[part]
    assert torch.equal(torch.tensor(view.value.before), first[part].double().float())
    assert torch.equal(torch.tensor(view.value.now), second[part].double().float())
    torch.testing.assert_close(torch.tensor(view.value.values, dtype=torch.float64), exact)
    assert view.statistics is not None
    assert view.statistics.norm == pytest.approx(float((second - first).norm()))
    assert view.pair.first_statistics is not None
    assert view.pair.first_statistics.norm == pytest.approx(float(first.norm()))
    assert msgpack.decode(msgpack.encode(view), type=View) == view


def test_nothing_is_gone_to_and_nothing_selected(session: Local) -> None:
    stop = session.stop
    look(session, LookTensor(between=Between("head.bias", "1", "main")))
    assert session.stop == stop
    view = look(session, LookTensor())
    assert isinstance(view, TensorView)
    assert view.name == ""


@pytest.mark.parametrize(("first", "second", "missing"), [("2", "3", "first"), ("3", "2", "second")])
def test_where_one_side_has_none_the_other_is_seen(session: Local, first: str, second: str, missing: str) -> None:
    view = look(session, LookTensor(3, 3, between=Between("head.weight.grad", first, second)))
    assert isinstance(view, TensorView)
    assert view.pair is not None
    assert view.pair.missing == missing
    assert view.note == "stop 2 has no such tensor"
    assert view.value is not None
    assert view.value.before is None
    grad = value(session, "head.weight.grad", 3)
    assert torch.equal(torch.tensor(view.value.values), grad[:3, :3])
    assert (view.pair.first_statistics is None) is (missing == "first")


def test_the_state_of_an_optimizer_has_a_difference_too() -> None:
    session = typed("load gpt seed=0 device=cpu; forward; backward; step; forward; backward; step")
    name = "tell.weight.state.exp_avg"
    view = look(session, LookTensor(2, 2, between=Between(name, "4", "now")))
    assert isinstance(view, TensorView)
    assert view.path == name
    assert view.pair is not None
    assert view.pair.second == "now"
    assert view.value is not None
    assert any(any(row) for row in view.value.values)


def test_the_greatest_difference_is_found(session: Local) -> None:
    first, second = value(session, "head.weight", 8), value(session, "head.weight", 12)
    moved = (second - first).abs()
    between = Between("head.weight", "main", "slow")
    place = look(session, LookPlace("abs", between=between))
    assert isinstance(place, PlaceView)
    assert place.index is not None
    assert moved[place.index] == moved.max()
    assert place.name == "head.weight, slow − main"
    none = look(session, LookPlace("nan", between=between))
    assert isinstance(none, PlaceView)
    assert none.why == "no NaN in it"
    same = look(session, LookPlace("change", between=Between("head.weight", "8", "8")))
    assert isinstance(same, PlaceView)
    assert same.why == "nothing changed in it"


def test_a_large_one_is_measured_when_it_is_asked_for_again(session: Local, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.views.tensor.measures._QUICK", 3)
    request = LookTensor(2, 2, hurry=True, between=Between("head.weight", "1", "main"))
    for due in (True, False):
        view = look(session, request)
        assert isinstance(view, TensorView)
        assert view.due is due
        assert (view.statistics is None) is due


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (Between("nothing", "1", "main"), "no such tensor"),
        (Between("head.weight", "1", "nowhere"), "there is no branch nowhere"),
        (Between("head.weight", "1", "99"), "there is no stop 99"),
    ],
)
def test_what_is_not_there_is_said(session: Local, between: Between, words: str) -> None:
    for request in (LookTensor(between=between), LookPlace("max", between=between)):
        view = look(session, request)
        assert isinstance(view, NoView)
        assert words in view.why


def test_a_ratio_is_the_difference_over_the_first(session: Local) -> None:
    first, second = value(session, "head.bias", 8), value(session, "head.bias", 12)
    view = look(session, LookTensor(10, 1, quantity="ratio", between=Between("head.bias", "main", "slow")))
    assert isinstance(view, TensorView)
    assert view.value is not None
    ratio = (second.double() - first.double()) / first.double()
    torch.testing.assert_close(torch.tensor(view.value.values, dtype=torch.float64)[:, 0], ratio)
