"""Undo, redo and goto restore the same bits after any commands, with any budget."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from itertools import pairwise
from unittest.mock import patch
from weakref import ref

import pytest
import torch
from counting import calls
from holding import hold
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from travelling import ACTS, EXAMPLES, Traveller
from travelling import LOOP as PHASES

from gradstep.engine.expressions.names import Scope
from gradstep.engine.history import thinning
from gradstep.engine.state import memory
from gradstep.values.commands import Forward, PointCommand, Step
from gradstep.values.errors import GradstepError

TRAVELS = st.one_of(
    st.tuples(st.just("undo"), st.integers(1, 6)),
    st.tuples(st.just("redo"), st.integers(1, 4)),
    st.tuples(st.just("goto"), st.integers(0, 200)),
    st.tuples(st.just("visit"), st.integers(0, 200)),
)
LOOP = st.tuples(st.just("loop"), st.integers(1, 2))
STORY = st.lists(st.one_of(LOOP, st.sampled_from(ACTS).map(lambda line: ("act", line)), TRAVELS), max_size=18)


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=12)
@given(story=STORY)
def test_a_stop_always_has_the_digest_first_seen_there(name: str, story: list[tuple[str, object]]) -> None:
    traveller = Traveller(name, 1 << 30)
    first = traveller.digest()
    for step in story:
        traveller.take(*step)
        traveller.check()
    last, number = traveller.digest(), traveller.timeline.here().number
    traveller.go(1)
    assert traveller.digest() == first
    traveller.go(number)
    assert traveller.digest() == last


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("least", [1e9, -1], ids=["checked", "unchecked"])
@settings(max_examples=8)
@given(story=STORY)
def test_a_tiny_budget_gives_the_same_digests(name: str, least: float, story: list[tuple[str, object]]) -> None:
    rich, poor = Traveller(name, 1 << 30), Traveller(name, 1)
    with patch.multiple(thinning, SLICE=least, HASHED=least):  # -1: as if no rerun and no digest were quick
        for step in story:
            for each in (rich, poor):
                each.alone(step)
            poor.check()
            assert poor.digests == rich.digests
    spared = [point for point in poor.timeline.points.values() if point.checkpoint is not None]
    assert len(spared) <= 3


def test_undo_leaves_the_same_objects_in_place() -> None:
    traveller = Traveller("mlp", 1 << 30)
    before = [id(p) for _, p in traveller.held.parameters]
    traveller.take("loop", 2)
    grad = traveller.held.parameters[0][1].grad
    assert grad is None  # the loop ends with zero_grad
    traveller.take("undo", 1)
    assert traveller.held.parameters[0][1].grad is not None
    traveller.take("undo", 5)
    assert [id(p) for _, p in traveller.held.parameters] == before


def test_a_graph_that_was_alive_is_there_again_with_torchs_refusals() -> None:
    traveller = Traveller("mlp", 1 << 30)
    for line in ("forward", "backward", "step", "zero_grad"):
        traveller.take("act", line)
    traveller.go(2)
    assert traveller.take("act", "backward")
    assert "second time" in traveller.refusal("backward")
    traveller.go(2)
    assert traveller.take("act", "backward retain_graph=true")
    assert traveller.take("act", "step")
    # the weights its graph has saved are written: torch refuses, as it did
    assert "inplace operation" in traveller.refusal("backward")
    traveller.go(1)
    traveller.go(max(traveller.timeline.points))
    assert "inplace operation" in traveller.refusal("backward")


def test_the_graph_that_is_alive_outlives_a_visit() -> None:
    traveller = Traveller("cnn", 1 << 30)
    traveller.take("loop", 3)
    traveller.take("act", "forward")
    alive = traveller.held.point.loss
    for number in list(traveller.timeline.points)[:-1]:
        traveller.take("visit", number - 1)
    assert traveller.held.point.loss is alive
    assert traveller.take("act", "backward")
    there = traveller.digest()
    traveller.take("undo", 1)
    traveller.take("act", "backward")
    assert traveller.digest() == there


def test_going_back_and_doing_something_else_keeps_both() -> None:
    traveller = Traveller("linear", 1 << 30)
    timeline = traveller.timeline
    traveller.take("loop", 1)
    end = timeline.here()
    traveller.take("undo", 3)
    traveller.take("act", "zero_grad")
    assert timeline.branch != "main"
    assert timeline.branches["main"] is end
    assert timeline.begin_branch("other").endswith("is renamed to other")
    assert list(timeline.branches) == ["main", "other"]
    traveller.go(end.number)
    assert timeline.branch == "main"
    assert timeline.ahead == 0


def test_history_takes_what_changed_and_no_more() -> None:
    traveller = Traveller("mlp", 1 << 30)
    weights = sum(p.nbytes for _, p in traveller.held.parameters)
    traveller.take("loop", 2)
    before = traveller.timeline.bytes
    traveller.take("loop", 10)
    # a step changes every weight, a backward every .grad
    an_iteration = (traveller.timeline.bytes - before) / 10
    assert 2 * weights <= an_iteration <= 2.2 * weights


def test_a_generator_gives_again_what_it_gave() -> None:
    torch.manual_seed(0)
    source = ((torch.randn(3, 4), torch.randn(3, 2)) for _ in range(9))
    traveller = Traveller.of(hold(nn.Linear(4, 2), source), 1)
    for _ in range(4):
        traveller.take("loop", 1)
        traveller.take("act", "next_batch")
        traveller.check()
    seen, end = dict(traveller.digests), traveller.timeline.here().number
    for number in (3, 12, 7, end):
        traveller.go(number)
        assert traveller.digest() == seen[number]
    for _ in range(4):
        assert traveller.take("act", "next_batch")
    assert "there are no more batches" in traveller.refusal("next_batch")


def test_without_a_budget_nothing_is_kept() -> None:
    traveller = Traveller("mlp", 0)
    traveller.take("loop", 3)
    assert traveller.timeline.current is None
    assert traveller.timeline.images.tally.bytes == 0
    assert "history is off" in traveller.said("undo", 1)


class Forgetful(nn.Module):
    """Its forward depends on a global counter that is not state: it never repeats."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)
        self.numbers: Iterator[int] = iter(range(1, 1000))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * (1 + 0.1 * next(self.numbers))


def test_what_does_not_repeat_is_noticed_and_its_results_are_kept() -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Forgetful()), budget=200_000)
    traveller.take("loop", 20)
    assert sorted(line.split()[0] for line in traveller.told) == ["backward", "forward"]
    assert "does not repeat bit for bit when rerun, so its results are kept" in traveller.told[0]
    seen = dict(traveller.digests)
    thinned = [point for point in traveller.timeline.points.values() if point.checkpoint is None]
    assert len(thinned) > 20
    for point in (thinned[3], thinned[20], thinned[1], thinned[-1]):
        traveller.go(point.number)
        assert traveller.digest() == seen[point.number]


def test_over_its_time_budget_the_history_takes_no_new_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, batch = nn.Linear(64, 32), (torch.randn(2, 64), torch.randn(2, 32))
    monkeypatch.setattr(memory, "_NOTICED", model.weight.nbytes)
    traveller = Traveller.of(hold(model, [batch]), budget=1 << 30)
    timeline, pool = traveller.timeline, traveller.timeline.images.memory
    timeline.share = math.inf
    traveller.take("loop", 3)
    points = timeline.points
    assert all(point.checkpoint is not None for point in points.values())
    assert timeline.spent > 0
    timeline.share = 0.0
    traveller.take("loop", 1)
    kept = sum(point.checkpoint is not None for point in points.values())
    assert kept < len(points)
    allocated = pool._new
    for line in PHASES * 3:
        traveller.take("act", line)
        traveller.check()
    assert pool._new - allocated < model.weight.nbytes, "but for what is small"
    assert timeline.here().parent.checkpoint is not None, "a rollback and an undo need no rerun"
    for number in (2, 7, 14, 20):
        traveller.go(number)
        traveller.check()


def test_freed_graphs_that_kept_points_share_count_once_and_are_within_the_budget() -> None:
    model, graphs, layers = nn.Sequential(nn.Linear(4, 2), *(nn.Tanh() for _ in range(100))), [], 100
    traveller = Traveller.of(hold(model), budget=400_000)
    timeline = traveller.timeline
    for turn in range(20):
        before = timeline.bytes
        traveller.take("loop", 1)
        graphs.append(ref(traveller.held.point.watched))
        assert turn > 2 or 1.0 < (timeline.bytes - before) / (layers * 700) < 1.9
    assert timeline.bytes <= 400_000
    assert 0 < sum(graph() is not None for graph in graphs) < 400_000 / (layers * 700)


def test_a_kept_stop_is_few_objects_to_the_garbage_collector() -> None:
    traveller, found = Traveller("linear", budget=1 << 30), []
    for loops in (10, 40):
        traveller.take("loop", loops)
        gc.collect()
        found.append(len(gc.get_objects()))
    assert (found[1] - found[0]) / (40 * len(PHASES)) < 20, "with what the test keeps"


def test_a_command_over_the_budget_drops_about_as_much_as_it_adds() -> None:
    traveller = Traveller("linear", budget=400_000)
    kept = [0]
    while len(kept) < 120:
        traveller.take("act", PHASES[len(kept) % 4 - 1])
        kept.append(sum(point.checkpoint is not None for point in traveller.timeline.points.values()))
    assert max(kept) < 110, "the budget was reached"
    assert all(before - after <= 3 for before, after in pairwise(kept))


@pytest.mark.parametrize("seconds", [0.0, 1.0], ids=["checked", "too long to check"])
def test_after_forwards_without_a_backward_a_drop_costs_the_same_however_many(seconds: float) -> None:
    traveller, took = Traveller("linear", budget=100_000), []

    def forward() -> None:
        traveller.take("act", "forward")
        traveller.timeline.here().seconds = seconds

    for many in (100, 400):
        while traveller.timeline.number < many:
            forward()
        took.append(calls(forward))
    assert sum(point.checkpoint is not None for point in traveller.timeline.points.values()) < 50
    assert (Forward in traveller.timeline.repeats) == (seconds == 0)
    assert took[1] < 1.1 * took[0]


def test_what_takes_long_to_copy_is_not_rerun_before_it_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    reruns: dict[float, bool] = {}
    for seconds in (0.0, 1.0):
        monkeypatch.setattr(thinning, "COPYING", seconds)
        traveller = Traveller("linear", budget=100_000)
        traveller.take("loop", 40)
        reruns[seconds] = Step in traveller.timeline.repeats
        assert any(point.checkpoint is None for point in traveller.timeline.points.values())
        traveller.go(20)
        traveller.check()
    assert reruns == {0.0: True, 1.0: False}


def test_what_is_too_long_to_check_is_proved_by_running_on_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "SLICE", -1)
    monkeypatch.setattr(thinning, "HASHED", -1)
    traveller = Traveller("linear", budget=1)
    ran: list[object] = []
    carry_out = traveller.timeline.runner.carry_out

    def counted(command: PointCommand, scope: Scope) -> str:
        ran.append(command)
        return carry_out(command, scope)

    traveller.timeline.runner.carry_out = counted  # type: ignore[method-assign]
    for _ in range(3):
        traveller.take("loop", 1)
    assert len(ran) == 12, "nothing is rerun before it is needed"
    ran.clear()
    points = traveller.timeline.points
    assert [number for number, point in points.items() if point.checkpoint is not None] == [1, 12, 13]
    assert not any(point.digest for point in points.values())
    traveller.go(5)
    assert len(ran) == 11, "from stop 1 up to stop 5, and on to stop 12"
    traveller.check()
    traveller.go(13)
    ran.clear()
    traveller.go(5)
    assert not ran, "what was proved is kept"


class ForgetfulBackward(Forgetful):
    """Only its backward depends on that counter."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.inner(x)
        output.register_hook(lambda grad: grad * (1 + 0.1 * next(self.numbers)))
        return output


@pytest.mark.parametrize(("model", "stop"), [(Forgetful, 5), (ForgetfulBackward, 6)], ids=["forward", "backward"])
def test_a_rerun_of_what_a_later_phase_clears_is_compared_too(
    model: type[Forgetful], stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thinning, "SLICE", -1)
    monkeypatch.setattr(thinning, "HASHED", -1)
    torch.manual_seed(0)
    traveller = Traveller.of(hold(model()), budget=1)
    for line in ("forward", "backward", "zero_grad") * 3:
        traveller.take("act", line)
    with pytest.raises(GradstepError, match="did not give the same bits"):
        traveller.go(stop)


def test_what_is_not_checked_and_does_not_repeat_is_refused_and_checked_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(thinning, "SLICE", -1)
    monkeypatch.setattr(thinning, "HASHED", -1)
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Forgetful()), budget=200_000)
    traveller.take("loop", 20)
    assert not traveller.told
    there, memory = traveller.digest(), traveller.timeline.bytes
    thinned = next(number for number, point in traveller.timeline.points.items() if point.checkpoint is None)
    with pytest.raises(GradstepError, match=f"stop {thinned} can't be reached again"):
        traveller.go(thinned)
    assert (traveller.digest(), traveller.timeline.bytes) == (there, memory)
    last = traveller.timeline.number
    traveller.take("loop", 20)
    assert sorted(line.split()[0] for line in traveller.told) == ["backward", "forward"]
    later = [n for n, point in traveller.timeline.points.items() if point.checkpoint is None and n > last + 1]
    for number in (later[0], later[9], later[-1]):
        traveller.go(number)
        traveller.check()


def test_batches_that_do_not_repeat_are_noticed_and_kept() -> None:
    torch.manual_seed(0)
    own = torch.Generator().manual_seed(0)  # nobody is told of it

    def batches() -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(3, 4, generator=own), torch.ones(3, 2)

    traveller = Traveller.of(hold(nn.Linear(4, 2), batches), budget=200_000)
    for _ in range(12):
        traveller.take("act", "next_batch")
        traveller.check()
        traveller.take("loop", 1)
    assert traveller.told == ["next_batch does not repeat bit for bit when rerun, so its results are kept: the batch"]
    seen = dict(traveller.digests)
    thinned = [point for point in traveller.timeline.points.values() if point.checkpoint is None]
    assert len(thinned) > 8
    for point in (*thinned[::-1], *thinned):
        traveller.go(point.number)
        assert traveller.digest() == seen[point.number]


def test_what_does_not_repeat_and_does_not_fit_is_said_to_be_gone() -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Forgetful()), budget=1)
    for _ in range(4):
        traveller.take("loop", 1)
    assert any("can no longer be reached" in line for line in traveller.told)
    there = traveller.digest()
    with pytest.raises(GradstepError, match="can no longer be reached: the history was over its budget"):
        traveller.go(8)
    assert traveller.digest() == there


def test_a_graph_that_does_not_repeat_is_said_and_what_was_kept_is_used() -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Forgetful()), budget=1 << 30)
    traveller.take("act", "forward")
    there = traveller.digest()
    traveller.take("act", "backward")
    arrival = traveller.go(2)
    assert isinstance(traveller.timeline.here().command, Forward)
    assert traveller.digest() == there
    assert arrival.differ == ("forward: the loss",)


def test_a_step_that_changes_no_bit_and_is_run_again_fails_no_backward() -> None:
    traveller = Traveller("mlp", 1)
    for line in ("set lr = 0", "forward", "backward", "step", "zero_grad", "forward", "backward", "step"):
        assert traveller.take("act", line), traveller.refused
        traveller.check()


def test_an_undo_that_an_object_of_the_user_refuses_changes_nothing() -> None:
    class Moody:
        refuses = False

        def state_dict(self) -> dict[str, int]:
            return {}

        def load_state_dict(self, state: dict[str, int]) -> None:
            refuses, self.refuses = self.refuses, False
            if refuses:
                raise ArithmeticError

    moody = Moody()
    traveller = Traveller.of(hold(nn.Linear(4, 2), state={"moody": moody}), 1 << 30)
    traveller.take("loop", 3)
    held, here = traveller.held, traveller.timeline.here()
    losses, rates = list(held.losses), list(held.loss_rates)
    moody.refuses = True
    with pytest.raises(ArithmeticError):
        traveller.go(1)
    assert traveller.timeline.here() is here
    assert (held.losses, held.loss_rates) == (losses, rates)
    traveller.check()
    assert traveller.take("undo", 6)
