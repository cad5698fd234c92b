"""A script's loop, stepped phase by phase and inside, with the results of running it alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from scripting import Function, phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.checks import checker
from gradstep.engine.script import losses
from gradstep.session.script_session import ScriptSession
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values import commands as cmd
from gradstep.values.expressions import Name
from gradstep.values.outcomes import Running
from gradstep.values.views import LookLoss, LookModel, LookWhy, LossView, ModelView, NoView, WhyView
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import LookSource, SourceView
from gradstep.values.views.stack import LookStack, StackView
from gradstep.values.views.training import BatchView, LookBatch


def parse(line: str) -> cmd.Command:
    """Return the command that a line says."""
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    return statement.command


def plain(weights: list[Tensor], count: int = 3) -> Callable[[], None]:
    """Return a loop as most scripts have it; it leaves its weights in `weights`."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for _ in range(count):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
        weights[:] = [p.detach().clone() for p in net.parameters()]

    return train


def test_it_stops_after_each_phase_and_ends_with_the_weights_of_a_run_alone() -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    plain(alone)()
    with stepped(plain(watched)) as session:
        found = [(each.stop.phase, each.stop.iteration) for each in phases(session)]
    once = ["forward", "backward", "step", "zero_grad"]
    assert [name for name, _ in found] == [*once, *once, "forward", "backward", "step", "step"]
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_inside_a_phase_it_stops_at_modules_ops_and_nodes() -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    plain(alone)()
    with stepped(plain(watched)) as session:
        session.execute(cmd.ZeroGrad())
        kinds = []
        for _ in range(20):
            stop = session.execute(cmd.Into()).stop
            if stop.position is not None:
                kinds.append((stop.position.phase, stop.position.kind))
        phases(session)
    assert ("forward", "module") in kinds
    assert ("forward", "op") in kinds
    assert ("backward", "node") in kinds
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def bare(optimizer: bool, into: list[Tensor]) -> Callable[[], None]:
    """Return a loop of bare operations, which an optimizer or the loop itself updates."""

    def train() -> None:
        w = torch.ones(3, requires_grad=True)
        opt = torch.optim.SGD([w], lr=0.1) if optimizer else None
        for _ in range(3):
            loss = (w * 0.5).square().sum()
            loss.backward()
            if opt is not None:
                opt.step()
                opt.zero_grad()
            else:
                assert w.grad is not None
                with torch.no_grad():
                    w -= 0.1 * w.grad
                w.grad.zero_()
        into.append(w.detach())

    return train


@pytest.mark.parametrize("optimizer", [False, True])
def test_into_stops_at_the_operations_of_a_forward_without_modules(optimizer: bool) -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    bare(optimizer, alone)()
    with stepped(bare(optimizer, watched)) as session:
        places = []
        while session.ended is None:
            position = session.execute(cmd.Into()).stop.position
            if position is not None and position.kind == "op":
                places.append((session.stop.iteration, position.name.rpartition(".")[2]))
    assert torch.equal(alone[0], watched[0])
    assert places == [(n, name) for n in (0, 1) for name in ("mul", "square", "sum")]


def test_the_model_is_named_as_its_state_dict_is() -> None:
    with stepped(plain([])) as session:
        (view,) = session.look(LookModel())
        session.execute(cmd.Forward())
        assert isinstance(view, ModelView)
        assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= {row.path for row in view.rows}
        assert session.execute(cmd.Print(Name("iteration"))).text == "0"


def line_of_text(text: str) -> str:
    """Return FILE:LINE of the line of this file that has a text."""
    lines = Path(__file__).read_text().splitlines()
    return f"{Path(__file__).name}:{next(i for i, line in enumerate(lines, 1) if text in line)}"


def test_a_line_breakpoint_stops_there_and_a_condition_reads_the_variables() -> None:
    with stepped(plain([], count=5)) as session:
        where = line_of_text("loss = F.cross_entropy(net(x), y)")
        assert session.execute(cmd.Break("line", where)).ok
        assert session.execute(parse(f"break {where} if count == 4")).ok
        stop = session.execute(cmd.Continue()).stop
        assert stop.hit == "breakpoint 1"
        (view,) = session.look(LookSource())
        assert isinstance(view, SourceView)
        assert f":{view.here}" in where
        session.execute(cmd.Delete())
        assert "ended" in session.execute(cmd.Continue()).text


def test_expressions_read_the_variables_of_the_script() -> None:
    with stepped(plain([])) as session:
        session.execute(cmd.Forward())
        assert session.execute(parse("print shape(x)")).text == "[16, 4]"
        assert session.execute(parse("expect count == 3")).ok
        assert session.execute(parse("print opt.defaults.lr")).text == "0.1"
        problem = session.execute(parse("print weights2")).problem
        assert problem is not None
        assert "weights" in problem.remedy
        assert not session.execute(parse("print F")).ok


def test_until_stops_at_the_first_phase_where_a_condition_holds() -> None:
    with stepped(plain([], count=9)) as session:
        assert session.execute(cmd.NextIteration()).stop.iteration == 1
        assert session.execute(parse("print iteration")).text == "1"
        assert session.execute(parse("until iteration == 4")).stop.iteration == 4
        assert session.execute(parse("break when iteration == 7")).ok
        assert session.execute(cmd.Continue()).stop.iteration == 7


def test_a_pause_stops_a_script_that_runs_on() -> None:
    """The script runs on the main thread, as in an engine process: CPython has that one take pending calls."""
    going, done = threading.Event(), list[bool]()

    def train() -> None:
        net = nn.Linear(2, 1)
        net(torch.ones(1, 2)).sum().backward()
        going.set()
        while not done:
            pass

    session = ScriptSession(lambda _: Function(train))
    found: list[Any] = []

    def drive() -> None:
        session.execute(cmd.Run("train.py"))
        pausing = threading.Thread(target=lambda: (going.wait(), session.pause()))
        pausing.start()
        found.append(session.execute(cmd.Continue()).stop.hit)
        found.extend(session.look(LookSource()))
        pausing.join()
        done.append(True)
        session.execute(cmd.Continue())
        session.pause()  # as a screen does that is quit
        session.close()

    driver = threading.Thread(target=drive)
    driver.start()
    session.run_script()
    driver.join()
    assert sys.gettrace() is None
    hit, view = found
    assert hit == "pause"
    assert isinstance(view, SourceView)
    assert view.lines[view.here - view.first].strip() in ("while not done:", "pass")


REFUSED = {
    "undo": "Timeline shows the recorded stops",
    "goto 1": "`hold` copies",
    "who wrote 0.weight[0, 1]": "`watch 0.weight[0, 1]` reports each change",
    "set lr = 0.2": "can be edited",
    "set set_to_none = false": "can be edited",
    "next_batch": "`next_iteration` runs on",
    "load mlp": "quit",
    "pause 3": "`break`",
    "checkpoint a.safetensors": "`hold` copies",
}
"""What a script can't do, and what is offered in its place."""


def test_what_a_script_cannot_do_is_refused_and_it_runs_on() -> None:
    with stepped(plain([])) as session:
        for line, remedy in REFUSED.items():
            problem = session.execute(parse(line)).problem
            assert problem is not None
            assert "script" in f"{problem.title}{problem.what}"
            assert remedy in problem.remedy
        assert session.execute(cmd.Forward()).ok


def test_inside_a_phase_no_way_back_is_offered() -> None:
    with stepped(plain([])) as session:
        session.execute(cmd.Into())
        problem = session.execute(parse("why 0.weight.grad")).problem
        assert problem is not None
        assert problem.remedy == "finish it with `out phase`"


def test_a_stop_shows_the_scripts_own_line_before_a_phase_and_inside_it() -> None:
    with stepped(plain([])) as session:
        lines = [session.stop.torch]
        lines.append(session.execute(cmd.Into()).stop.torch)
        lines.append(session.execute(cmd.Into()).stop.torch)
        session.execute(cmd.Out(phase=True))
        lines.append(session.execute(cmd.Into()).stop.torch)
    assert lines == [*["loss = F.cross_entropy(net(x), y)"] * 3, "loss.backward()"]


def test_of_a_forward_that_was_run_past_the_modules_and_lines_of_its_nodes_are_unknown() -> None:
    with stepped(plain([])) as session:
        session.execute(parse("break when loss < 10 ignore=1"))
        session.execute(cmd.Continue())
        graph, source = session.look(LookGraph(), LookSource(number=0))
        assert isinstance(graph, GraphView)
        assert isinstance(source, SourceView)
        assert not graph.recorded
        assert {row.module for row in graph.rows if not row.parameter} == {""}
        assert source.lines[source.here - source.first].strip() == "loss.backward()"
        session.execute(cmd.Delete())
        session.execute(cmd.Forward())
        graph, source = session.look(LookGraph(), LookSource(number=0))
        assert isinstance(graph, GraphView)
        assert isinstance(source, SourceView)
        assert graph.recorded
        assert "2 Linear" in {row.module for row in graph.rows if not row.parameter}
        assert source.made == "#0"


def test_an_error_before_the_first_forward_is_looked_at_in_its_frames() -> None:
    def load(columns: int) -> Tensor:
        x = torch.ones(4, columns)
        return x[:, 9]

    with stepped(lambda: load(3)) as session:
        assert session.stop.ended == "ended with exit code 1"
        (view,) = session.look(LookStack())
    assert isinstance(view, StackView)
    assert view.frames[0].source.text == "return x[:, 9]"
    assert [row.name for row in view.rows] == ["x", "columns"]


def test_a_script_that_trains_nothing_ends_and_says_so() -> None:
    with stepped(lambda: None) as session:
        (view,) = session.look(LookModel())
        assert session.stop.ended == "ended with exit code 0"
        assert session.execute(cmd.Forward()).problem is not None
    assert view == NoView(1, "No backward was seen: it ran as `python` runs it.")


def second_backward() -> None:
    loss = nn.Linear(2, 1)(torch.ones(1, 2)).pow(2).sum()
    loss.backward()
    loss.backward()


def other_dtype() -> None:
    nn.Linear(2, 1)(torch.ones(1, 2, dtype=torch.float64))


def written_in_place() -> None:
    hidden = nn.Linear(2, 1)(torch.ones(1, 2)).exp()
    loss = hidden.sum()
    hidden += 1
    loss.backward()


RAISES: dict[Callable[[], None], str] = {
    second_backward: "pass retain_graph=True to the first one",
    other_dtype: "convert one, e.g. x.float()",
    written_in_place: "write `h = h + 1`, not `h += 1`",
}


@pytest.mark.parametrize("train", RAISES)
def test_what_a_script_raises_has_a_remedy_in_its_own_code(train: Callable[[], None]) -> None:
    with stepped(train) as session:
        problem = session.execute(cmd.Continue()).problem
    assert problem is not None
    assert problem.title == "the script raised"
    assert RAISES[train] in problem.remedy
    assert any(frame.user for frame in problem.frames)


def test_a_script_that_trains_on_another_thread_says_on_which() -> None:
    def train() -> None:
        thread = threading.Thread(target=plain([]), name="trainer")
        thread.start()
        thread.join()

    with stepped(train) as session:
        (view,) = session.look(LookModel())
    assert view == NoView(1, "It trains on the thread trainer, and gradstep steps the main thread only.")


def test_a_breakpoint_on_a_line_without_code_is_on_the_next_line_that_has_some() -> None:
    with stepped(plain([])) as session:
        name, number = line_of_text("    return train").split(":")
        made = session.execute(parse(f"break {name}:{int(number) + 1}"))  # a blank line
        assert made.text == f"breakpoint 1: {name}:{int(number) + 3}"


def two_models() -> None:
    """Train two models in turn, as a GAN does."""
    torch.manual_seed(0)
    net_d, net_g = nn.Linear(2, 1), nn.Linear(3, 2)
    opt_d, opt_g = torch.optim.SGD(net_d.parameters(), lr=0.1), torch.optim.SGD(net_g.parameters(), lr=0.1)
    for _ in range(2):
        opt_d.zero_grad()
        net_d(net_g(torch.ones(4, 3)).detach()).sum().backward()
        opt_d.step()
        opt_g.zero_grad()
        net_d(net_g(torch.ones(4, 3))).sum().backward()
        opt_g.step()


def test_of_two_models_the_one_that_a_loss_does_not_depend_on_misses_no_gradient() -> None:
    with stepped(two_models) as session:
        for sentence, more, opening in (
            ("backward() wrote the .grad of net_d and nothing else.", "does not depend on net_g", "net_d.weight"),
            ("wrote the .grad of net_g, and added to that of net_d: it is now the sum of 2", "", "net_"),
        ):
            opened = session.execute(cmd.Backward()).stop.opening
            (why,) = session.look(LookWhy())
            assert isinstance(why, WhyView)
            assert sentence in why.sentence
            assert more in " ".join(why.more)
            assert opened.startswith(opening)
            assert why.element.startswith(opening)
        assert session.execute(cmd.Step()).stop.opening == "net_g.weight"


def test_while_it_runs_on_it_is_reported_where_it_is() -> None:
    reports: list[Running] = []
    enough = threading.Event()

    def report(running: Running) -> None:
        reports.append(running)
        if len(reports) == 2:
            enough.set()

    def train() -> None:
        net = nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        while not enough.is_set():
            net(torch.ones(2, 4)).square().sum().backward()
            opt.step()
            opt.zero_grad()

    with stepped(train, on_running=report) as session:
        session.execute(cmd.Forward())
        session.look(LookLoss(points=16))
        before = session.stop
        session.execute(cmd.Continue())
        first, second, *_ = reports
        assert 0 < first.stop.iteration < second.stop.iteration <= session.stop.iteration
        assert first.stop.number == before.number
        assert first.stop.loss is not None
        assert first.stop.lr == (0.1,)
        assert second.losses is not None
        assert second.losses.points[-1].iteration >= second.stop.iteration - 1  # after a step, its forward is the last
        assert len(second.losses.points) == 16
        view, *_ = session.look(LookLoss(points=16))
        assert isinstance(view, LossView)
        assert view.forwards >= second.losses.forwards > 16


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, rows: Tensor, scale: float = 1.0) -> Tensor:
        out: Tensor = self.inner(rows) * scale
        return out


def test_batch_names_what_the_model_was_given_as_its_forward_does() -> None:
    def train() -> None:
        net, x, y = Scaled(), torch.ones(5, 4), torch.zeros(5, 3)
        F.mse_loss(net(x, scale=2.0), y).backward()

    with stepped(train) as session:
        session.execute(cmd.Forward())
        (view,) = session.look(LookBatch())
        assert isinstance(view, BatchView)
        assert [row.name for row in view.parts][:2] == ["input.rows", "target"]
        assert view.input == "input.rows"
        assert session.execute(parse(f"show {view.input}[3]")).ok


def test_losses_that_are_far_away_are_read_at_the_next_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    value_of = losses.value_of
    monkeypatch.setattr(losses, "is_far", lambda _: True)
    monkeypatch.setattr(checker, "FREE", -1e9)  # the checks read the loss of every iteration that they look at
    monkeypatch.setattr(losses, "value_of", lambda loss: read.append(len(kept)) or value_of(loss))
    kept: list[Tensor] = []

    def train() -> None:
        net = nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.01)
        for _ in range(20):
            loss = net(torch.ones(2, 4)).square().sum()
            loss.backward()
            kept.append(loss.detach().clone())
            loss.detach().fill_(0)
            opt.step()
            opt.zero_grad()

    with stepped(train) as session:
        session.execute(cmd.Continue())
        assert session.ended is not None
        (view,) = session.look(LookLoss(points=100))
        assert isinstance(view, LossView)
        assert [point.loss for point in view.points] == [float(each) for each in kept]
        assert [point.iteration for point in view.points] == list(range(20))
        assert session.stop.loss == view.points[-1].loss
        assert read.count(20) == 20 - checker.ALWAYS
