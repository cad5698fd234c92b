"""The recorded stops of a script: looked at and compared, while the script is never written and never travels."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.state.registry import PARTS
from gradstep.session.script_session import ScriptSession
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values import commands as cmd
from gradstep.values.views import LookChanges, LookLoss, LookModel, LookTensor, LookWhy, NoView, Request, View
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookSource
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.timeline import LookCompare, LookTimeline, TimelineView
from gradstep.values.views.training import LookLayers, LookOptimizer
from gradstep.views.training.timeline import changed_words

VIEWS: tuple[Request, ...] = (
    LookModel(),
    LookTensor(),
    LookLoss(),
    LookLayers(),
    LookOptimizer(),
    LookLedger(),
    LookSource(),
    LookChanges(),
    LookWhy(),
)


def train(weights: list[Tensor], count: int = 3) -> Callable[[], None]:
    """Return a loop with a buffer, a tied weight, a frozen one, and an optimizer with state."""

    def loop() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 3))
        net[3].weight = net[0].weight
        net[4].bias.requires_grad_(False)
        opt = torch.optim.Adam(net.parameters(), lr=0.05)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for _ in range(count):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
        weights[:] = [p.detach().clone() for p in net.parameters()]

    return loop


def command(line: str) -> cmd.Command:
    """Return the command that a line says."""
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    return statement.command


def timeline(session: ScriptSession) -> TimelineView:
    """Return the Timeline view."""
    (view,) = session.look(LookTimeline())
    assert isinstance(view, TimelineView)
    return view


def shown_at_each_stop(session: ScriptSession, *requests: Request) -> dict[int, tuple[View, ...]]:
    """Step phase by phase to the end; return the views of each stop."""
    there = {session.stop.number: session.look(*requests)}
    while session.ended is None:
        number = session.execute(cmd.Over()).stop.number
        there[number] = session.look(*requests)
    return there


def test_every_view_of_a_past_stop_is_what_it_was_there() -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    train(alone)()
    with stepped(train(watched)) as session:
        session._past.shown = lambda *_: None  # type: ignore[method-assign]  # views are made from contents alone
        session.execute(command("show 0.weight[0:2]"))
        there = shown_at_each_stop(session, *VIEWS)
        assert len(there) > 9
        for number, views in there.items():
            assert session.look(*VIEWS, at=number) == views
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_two_models_two_optimizers_and_two_losses_are_recorded() -> None:
    def loop() -> None:
        torch.manual_seed(0)
        one, two = nn.Linear(2, 2), nn.Linear(2, 1)
        first, second = torch.optim.SGD(one.parameters(), lr=0.1), torch.optim.Adam(two.parameters(), lr=0.01)
        for _ in range(2):
            second.zero_grad()
            two(one(torch.randn(4, 2)).detach()).pow(2).mean().backward()
            second.step()
            first.zero_grad()
            one(torch.randn(4, 2)).pow(2).mean().backward()
            first.step()

    views = (LookModel(), LookTensor(), LookLoss(), LookLedger(), LookChanges())
    with stepped(loop) as session:
        session._past.shown = lambda *_: None  # type: ignore[method-assign]  # views are made from contents alone
        session.execute(cmd.Step())
        session.execute(command("show two.weight"))
        for number, there in shown_at_each_stop(session, *views).items():
            assert session.look(*views, at=number) == there


def test_what_is_selected_later_can_be_looked_at_too() -> None:
    with stepped(train([])) as session:
        session.execute(cmd.Step())
        session.execute(command("show 4.weight.grad"))
        (there,) = session.look(LookTensor())
        session.execute(command("show 0.weight"))
        number = session.stop.number
        session.execute(cmd.Step())
        session.execute(command("show 4.weight.grad"))
        (past,) = session.look(LookTensor(), at=number)
    assert past == there


def test_the_timeline_has_a_row_for_each_stop_and_shares_what_did_not_change() -> None:
    with stepped(train([])) as session:
        outcomes = phases(session)
        view = timeline(session)
        rows = {row.stop: row for row in view.rows}
    assert list(rows) == list(range(1, outcomes[-1].stop.number + 1))
    for outcome in outcomes:
        row = rows[outcome.stop.number]
        assert (row.phase, row.iteration, row.loss) == (outcome.stop.phase, outcome.stop.iteration, outcome.stop.loss)
    assert [row.changed for row in view.rows][:4] == ["", "3 buffers", "6 .grad", "6 weights, 18 of the state"]
    assert "test_looking_back.py:" in rows[2].line
    assert rows[5].memory < rows[4].memory
    assert [row.here for row in view.rows].count(True) == 1
    assert view.memory < view.budget


def test_two_stops_are_compared() -> None:
    with stepped(train([])) as session:
        first = session.execute(cmd.Step()).stop.number
        second = session.execute(cmd.Step()).stop.number
        text = session.execute(command(f"compare {first} {second}")).text
        assert f"stop {first} and stop {second} differ in" in text
        assert "0.weight.state.exp_avg" in text
        assert session.execute(command(f"compare {first} now")).text == text
        assert "identical" in session.execute(command(f"compare {first} {first}")).text
        (view,) = session.look(LookCompare(str(first), str(second)))
        assert not isinstance(view, NoView)
        wrong = session.execute(command(f"compare {first} 99"))
        assert wrong.problem is not None
        assert "no stop 99" in wrong.problem.title


def test_every_kind_of_state_has_words_for_what_a_command_changed() -> None:
    kinds = {kind for part in PARTS for kind in part.kinds}
    point = TimelinePoint(2, None, cmd.Forward(), "main", None, wrote=tuple((kind, "x") for kind in sorted(kinds)))
    words = "1 attribute, 2 of the batch, 1 buffer, 2 .grad, 1 hyper-parameter, 1 of the state, 1 weight"
    assert sorted(changed_words(point).split(", ")) == sorted(words.split(", "))


def test_a_changed_learning_rate_is_a_difference() -> None:
    def loop() -> None:
        net = nn.Linear(2, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            net(torch.ones(1, 2)).sum().backward()
            opt.step()
            opt.param_groups[0]["lr"] *= 0.5

    with stepped(loop) as session:
        first = session.execute(cmd.Step()).stop.number
        session.execute(cmd.Forward())
        assert "lr: 0.1 and 0.05" in session.execute(command(f"compare {first} now")).text


@pytest.mark.parametrize("line", ["undo", "redo 2", "goto 3", "back until loss < 1", "switch main", "try set lr = 1"])
def test_a_script_is_not_run_backwards(line: str) -> None:
    with stepped(train([])) as session:
        session.execute(cmd.Step())
        stop = session.stop
        problem = session.execute(command(line)).problem
        assert problem is not None
        assert problem.title == "a script can't be run backwards"
        assert "Timeline" in problem.remedy
        assert "`hold`" in problem.remedy
        assert session.stop == stop


@pytest.mark.parametrize("line", ["set 0.bias[0] = 1", "freeze 0.weight", "diff 1 2", "next_batch"])
def test_what_needs_a_held_workload_is_refused(line: str) -> None:
    with stepped(train([])) as session:
        session.execute(cmd.Step())
        problem = session.execute(command(line)).problem
        assert problem is not None
        assert line.split()[0] in f"{problem.what} {problem.title}"


def test_over_budget_the_oldest_contents_are_dropped_and_their_rows_stay() -> None:
    with stepped(train([], 8), history=16_000) as session:
        phases(session)
        rows = timeline(session).rows
        kept = [row.kept for row in rows]
        assert not kept[0]
        assert kept[-1]
        assert kept == sorted(kept)
        assert "over its budget" in rows[0].note
        assert rows[1].loss is not None
        (model,) = session.look(LookModel(), at=rows[0].stop)
        assert isinstance(model, NoView)
        assert "over its budget" in model.why
        problem = session.execute(command(f"compare {rows[0].stop} now")).problem
        assert problem is not None
        assert "over its budget" in problem.what


def test_a_state_larger_than_the_budget_is_not_copied() -> None:
    with stepped(train([]), history=100) as session:
        session.execute(cmd.Step())
        (row, *_) = timeline(session).rows
        assert not row.kept
        assert "--history" in row.note


def test_with_the_history_off_nothing_is_recorded() -> None:
    with stepped(train([]), history=0) as session:
        session.execute(cmd.Step())
        session.execute(cmd.Step())
        (past,) = session.look(LookModel(), at=1)
        assert isinstance(past, NoView)
        assert "--history" in past.why
        assert isinstance(session.look(LookTimeline())[0], NoView)
        problem = session.execute(command("compare 1 2")).problem
        assert problem is not None
        assert "--history" in problem.remedy


def test_what_is_not_recorded_is_there_as_it_was_shown_or_says_so() -> None:
    with stepped(train([])) as session:
        session.execute(cmd.Forward())
        number = session.stop.number
        (graph,) = session.look(LookGraph())
        assert not isinstance(graph, NoView)
        session.execute(cmd.Step())
        assert session.look(LookGraph(), at=number) == (graph,)
        (other,) = session.look(LookGraph(first=3, count=1), at=number)
        assert isinstance(other, NoView)
        assert "not recorded" in other.why


def test_a_stop_inside_a_phase_keeps_what_was_shown() -> None:
    with stepped(train([])) as session:
        session.execute(cmd.ZeroGrad())
        stop = session.execute(cmd.Into()).stop
        assert stop.position is not None
        (model,) = session.look(LookModel())
        session.execute(cmd.Out(phase=True))
        row = next(row for row in timeline(session).rows if row.stop == stop.number)
        assert not row.kept
        assert session.look(LookModel(), at=stop.number) == (model,)
        (ledger,) = session.look(LookLedger(), at=stop.number)
        assert isinstance(ledger, NoView)
        assert "inside a forward" in ledger.why


def test_nothing_that_the_script_drops_is_kept_alive() -> None:
    made: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def loop() -> None:
        net = nn.Linear(2, 1)
        opt = torch.optim.Adam(net.parameters())
        for _ in range(6):
            opt.zero_grad()
            loss = net(torch.ones(1, 2)).sum()
            loss.backward()
            opt.step()
            assert net.weight.grad is not None
            made.extend((weakref.ref(loss), weakref.ref(net.weight.grad)))
            gc.collect()
            alive.append(sum(ref() is not None for ref in made))

    with stepped(loop) as session:
        while session.ended is None:
            session.execute(cmd.Over())
            session.look(*VIEWS, LookGraph())
    assert len(alive) == 6
    assert alive[-1] == alive[2]


def test_a_row_between_two_breakpoints_says_that_what_was_before_is_unknown() -> None:
    with stepped(train([])) as session:
        session.execute(command("break when iteration == 2"))
        stop = session.execute(cmd.Continue()).stop
        (there,) = session.look(LookWhy())
        session.execute(cmd.Over())
        session._past._kept[stop.number].shown.clear()
        assert session.look(LookWhy(), at=stop.number) == (there,)


def test_inside_a_transform_of_torch_func_nothing_is_copied() -> None:
    results: list[Tensor] = []

    def loop() -> None:
        weight = torch.ones(2, requires_grad=True)
        for _ in range(2):

            def value(x: Tensor) -> Tensor:
                (grad,) = torch.autograd.grad((x * weight).pow(2).sum(), x, create_graph=True)
                return grad.sum()

            results.append(torch.func.grad(value)(torch.ones(2)).detach())

    loop()
    alone, results[:] = list(results), []
    with stepped(loop) as session:
        phases(session)
        rows = timeline(session).rows
    assert all(torch.equal(a, b) for a, b in zip(alone, results, strict=True))
    assert any("torch.func" in row.note for row in rows)
