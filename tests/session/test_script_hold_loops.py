"""Loops of many kinds, held: what was copied computes what the script computes, and the script goes on as if alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd
from gradstep.values.outcomes import Outcome
from gradstep.values.views import LookModel, ModelView

Loop = Callable[[list[Any]], Callable[[], None]]
"""Returns a training loop that leaves its results in a list."""


def plain(results: list[Any]) -> Callable[[], None]:
    """Dropout, a buffer, Adam."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
        opt = torch.optim.Adam(net.parameters(), lr=0.05)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for _ in range(3):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            results.append(loss.item())
            loss.backward()
            opt.step()

    return train


def accumulation(results: list[Any]) -> Callable[[], None]:
    """Two backwards for each step."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            opt.zero_grad()
            for _ in range(2):
                loss = net(torch.randn(8, 4)).pow(2).mean() / 2
                results.append(loss.item())
                loss.backward()
            opt.step()

    return train


def gan(results: list[Any]) -> Callable[[], None]:
    """Two models, two optimizers, two losses for each iteration."""

    def train() -> None:
        torch.manual_seed(0)
        gen, disc = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(), nn.Linear(8, 1))
        opt_g, opt_d = torch.optim.SGD(gen.parameters(), lr=0.1), torch.optim.Adam(disc.parameters(), lr=0.01)
        one, zero = torch.ones(8, 1), torch.zeros(8, 1)
        for _ in range(3):
            opt_d.zero_grad()
            fake = gen(torch.randn(8, 2))
            real = torch.randn(8, 4)
            loss_d = F.binary_cross_entropy_with_logits(disc(real), one) + F.binary_cross_entropy_with_logits(
                disc(fake.detach()), zero
            )
            results.append(loss_d.item())
            loss_d.backward()
            opt_d.step()
            opt_g.zero_grad()
            loss_g = F.binary_cross_entropy_with_logits(disc(gen(torch.randn(8, 2))), one)
            results.append(loss_g.item())
            loss_g.backward()
            opt_g.step()

    return train


@dataclass
class Output:
    """What a model of Hugging Face returns."""

    loss: Tensor
    logits: Tensor


class Languages(nn.Module):
    """A model that is given keyword arguments and returns its loss in an object."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(10, 8), nn.Linear(8, 10)

    def forward(self, input_ids: Tensor, labels: Tensor) -> Output:
        """Compute logits and loss."""
        logits = self.head(self.embed(input_ids))
        return Output(F.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits)


def keyword_model(results: list[Any]) -> Callable[[], None]:
    """A model called with keywords, whose output has `.loss`."""

    def train() -> None:
        torch.manual_seed(0)
        net = Languages()
        opt = torch.optim.AdamW(net.parameters(), lr=0.05)
        for _ in range(3):
            batch = {"input_ids": torch.randint(0, 10, (4, 5)), "labels": torch.randint(0, 10, (4, 5))}
            out = net(**batch)
            results.append(out.loss.item())
            out.loss.backward()
            opt.step()
            opt.zero_grad()

    return train


class Doubled(torch.autograd.Function):
    """Twice its input, with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return twice the input."""
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return a gradient that is not the derivative."""
        return grad * 3


def own_function(results: list[Any]) -> Callable[[], None]:
    """A custom autograd.Function in the loss."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            loss = Doubled.apply(net(torch.randn(8, 4))).pow(2).mean()
            results.append(loss.item())
            loss.backward()
            opt.step()

    return train


def autocast(results: list[Any]) -> Callable[[], None]:
    """Mixed precision with a GradScaler."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(3):
            x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
            opt.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(x), y)
            results.append(loss.item())
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()

    return train


def recurrent(results: list[Any]) -> Callable[[], None]:
    """An LSTM whose hidden state is carried over."""

    def train() -> None:
        torch.manual_seed(0)
        net, head = nn.LSTM(3, 5), nn.Linear(5, 1)
        opt = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=0.05)
        state = None
        for _ in range(3):
            opt.zero_grad()
            out, state = net(torch.randn(6, 2, 3), state)
            state = tuple(each.detach() for each in state)
            loss = head(out).pow(2).mean()
            results.append(loss.item())
            loss.backward()
            opt.step()

    return train


def closure(results: list[Any]) -> Callable[[], None]:
    """LBFGS, which calls a closure."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        opt = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=3)
        x, y = torch.randn(16, 4), torch.randn(16, 1)

        def again() -> Tensor:
            opt.zero_grad()
            loss = F.mse_loss(net(x), y)
            results.append(loss.item())
            loss.backward()
            return loss

        for _ in range(3):
            opt.step(again)

    return train


def scheduled(results: list[Any]) -> Callable[[], None]:
    """A learning rate that changes with each step."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.5)
        x = torch.randn(8, 4)
        for _ in range(4):
            opt.zero_grad()
            loss = net(x).pow(2).mean()
            results.append(loss.item())
            loss.backward()
            opt.step()
            schedule.step()

    return train


LOOPS: tuple[Loop, ...] = (
    plain,
    accumulation,
    gan,
    keyword_model,
    own_function,
    autocast,
    recurrent,
    scheduled,
)


def forward(session: ScriptSession, count: int) -> Outcome:
    """Step to the end of a forward."""
    outcome = session.execute(cmd.Forward())
    for _ in range(count - 1):
        outcome = session.execute(cmd.Forward())
    return outcome


@pytest.mark.parametrize("made", LOOPS, ids=lambda made: made.__name__)
@pytest.mark.parametrize("count", [1, 2])
def test_the_copy_gives_the_loss_of_the_script_and_the_script_goes_on_as_if_alone(made: Loop, count: int) -> None:
    alone: list[Any] = []
    watched: list[Any] = []
    made(alone)()
    with stepped(made(watched)) as session:
        stop = forward(session, count).stop
        held = session.execute(cmd.Hold())
        assert held.ok, held.problem
        assert "bit for bit" in held.text
        assert held.stop.held
        assert session.execute(cmd.Forward()).stop.loss == pytest.approx(alone[count - 1], abs=0)
        for act in (cmd.Backward(), cmd.Step(), cmd.Forward(), cmd.Undo(4)):
            outcome = session.execute(act)
            assert outcome.ok, outcome.problem
        back = session.execute(cmd.Release())
        assert back.stop == stop
        phases(session)
    assert watched == alone


def test_lbfgs_is_held_at_the_end_of_its_step_and_refused_in_the_middle() -> None:
    alone: list[Any] = []
    watched: list[Any] = []
    closure(alone)()
    with stepped(closure(watched)) as session:
        forward(session, 2)
        problem = session.execute(cmd.Hold()).problem
        assert problem is not None
        assert "middle of its step" in problem.what
        session.execute(cmd.Step())
        count = len(watched)
        held = session.execute(cmd.Hold())
        assert held.ok, held.problem
        losses = [session.execute(cmd.Step()).stop.loss for _ in range(2)]
        session.execute(cmd.Release())
        phases(session)
    assert watched == alone
    assert losses[0] == watched[count:][2]


def test_the_copy_has_the_gradients_that_were_accumulated() -> None:
    with stepped(accumulation([])) as session:
        forward(session, 2)
        (script,) = session.look(LookModel())
        assert session.execute(cmd.Hold()).ok
        (held,) = session.look(LookModel())
    assert isinstance(script, ModelView)
    assert isinstance(held, ModelView)
    assert [row.grad_norm for row in script.rows] == [row.grad_norm for row in held.rows]
    assert any(row.grad_norm for row in held.rows)


@pytest.mark.parametrize(("count", "optimizer"), [(1, "Adam"), (2, "SGD"), (3, "Adam")])
def test_of_several_optimizers_the_one_whose_step_comes_next_is_held(count: int, optimizer: str) -> None:
    with stepped(gan([])) as session:
        forward(session, count)
        held = session.execute(cmd.Hold())
        assert held.stop.optimizer == optimizer
        if count > 1:
            assert "other optimizers are not in it" in held.text


def test_a_scheduler_that_steps_with_the_optimizer_is_held_and_another_is_named() -> None:
    with stepped(scheduled([])) as session:
        forward(session, 3)
        assert session.stop.lr == (0.025,)
        assert session.execute(cmd.Hold()).ok
        session.execute(cmd.Forward())
        session.execute(cmd.Backward())
        assert session.execute(cmd.Step()).stop.lr == (0.0125,)
        assert session.execute(cmd.Release()).stop.lr == (0.025,)


def test_the_scale_of_a_grad_scaler_is_left_out_and_that_is_said() -> None:
    with stepped(autocast([])) as session:
        forward(session, 1)
        assert "GradScaler is left out" in session.execute(cmd.Hold()).text


class Taking(nn.Module):
    """A loss that is given an object."""

    def forward(self, given: Output) -> Tensor:
        """Return a loss."""
        return given.logits.pow(2).mean()


def test_an_object_that_the_script_made_of_tensors_with_a_graph_is_refused() -> None:
    def train() -> None:
        net, loss = nn.Linear(2, 1), Taking()
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(2):
            out = net(torch.ones(3, 2))
            loss(Output(out, out)).backward()
            opt.step()

    with stepped(train) as session:
        forward(session, 1)
        problem = session.execute(cmd.Hold()).problem
        assert problem is not None
        assert "Output" in problem.what


def test_breakpoints_and_the_selection_are_taken_over_and_stop_inside_the_copy() -> None:
    with stepped(plain([])) as session:
        forward(session, 1)
        session.execute(cmd.Break("module", "2", "exit"))
        assert session.execute(cmd.Hold()).ok
        stop = session.execute(cmd.Forward()).stop
        assert stop.position is not None
        assert stop.position.path == "2"
        assert stop.held
        assert session.execute(cmd.Undo(phase=True)).ok
        assert session.execute(cmd.Release()).stop.script


class Slow(nn.Module):
    """A model that runs until it is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.slow = nn.Linear(2, 1), False
        self.began = threading.Event()

    def __deepcopy__(self, memo: dict[int, Any]) -> Slow:
        made = Slow()
        made.slow, made.began = True, self.began
        memo[id(self)] = made
        for mine, its in zip(self.parameters(), made.parameters(), strict=True):
            memo[id(mine)] = its
        memo[id(self.inner)] = made.inner
        return made

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        while self.slow:
            self.began.set()
        return self.inner(x)


def test_a_phase_of_the_copy_is_interrupted_and_rolled_back_and_the_script_is_not_paused() -> None:
    net = Slow()

    def train() -> None:
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            opt.zero_grad()
            net(torch.ones(3, 2)).pow(2).mean().backward()
            opt.step()

    def interrupts() -> None:
        net.began.wait(30)
        session.pause()

    with stepped(train) as session:
        session.execute(cmd.Step())
        session._loop._forward.began = None  # type: ignore[union-attr]  # its forward is not compared: it would not end
        forward(session, 1)
        session._loop._forward.began = None  # type: ignore[union-attr]
        assert session.execute(cmd.Hold()).ok
        other = threading.Thread(target=interrupts)
        other.start()
        problem = session.execute(cmd.Forward()).problem
        other.join()
        assert problem is not None
        assert problem.kind == "interrupted"
        assert session.execute(cmd.Release()).ok
        assert session.execute(cmd.Over()).stop.phase == "backward"
