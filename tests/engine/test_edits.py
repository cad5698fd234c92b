"""Edits do the same as plain torch, and one that fails changes nothing."""

from __future__ import annotations

import pytest
import torch
from holding import CPU, Fused, hold
from running import runner_of
from torch import nn
from travelling import Traveller

from gradstep.engine.held import Held
from gradstep.workload import Workload


def mlp() -> Traveller:
    traveller = Traveller("mlp", 1 << 30)
    for line in ("forward", "backward"):
        assert traveller.take("act", line)
    return traveller


def cnn() -> Traveller:
    traveller = Traveller("cnn", 1 << 30)
    traveller.take("loop", 1)
    traveller.take("act", "forward")
    traveller.take("act", "backward")
    return traveller


def weight(traveller: Traveller, name: str = "") -> nn.Parameter:
    return traveller.held.parameter(name or traveller.weight)


def test_a_part_of_a_weight_is_written_in_place() -> None:
    traveller = mlp()
    parameter, before = weight(traveller), weight(traveller).detach().clone()
    assert traveller.take("act", "set W[0, 3] = 0.5")
    before[0, 3] = 0.5
    assert weight(traveller) is parameter
    assert torch.equal(parameter, before)


def test_the_right_side_may_be_an_expression_over_what_is_written() -> None:
    traveller = mlp()
    before = weight(traveller).detach().clone()
    assert traveller.take("act", "set W = 10 * W - W[1]")
    assert torch.equal(weight(traveller), 10 * before - before[1])


def test_a_gradient_is_written_and_cleared() -> None:
    traveller = mlp()
    grad = weight(traveller).grad
    assert traveller.take("act", "set W.grad = 0")
    assert weight(traveller).grad is grad
    assert not torch.count_nonzero(grad)
    assert traveller.held.ledger.state(traveller.weight, weight(traveller)) == "zero"
    assert traveller.take("act", "set W.grad = none")
    assert weight(traveller).grad is None
    assert traveller.take("act", "set W.grad[0] = 2")
    made = weight(traveller).grad
    assert made is not None
    assert float(made.sum()) == 2 * made.shape[1]


def test_a_graph_that_saved_a_written_weight_refuses_its_backward() -> None:
    traveller = Traveller("mlp", 1 << 30)
    traveller.take("act", "forward")
    assert traveller.take("act", "set 2.weight[0, 0] = 0")
    assert "inplace operation" in traveller.refusal("backward")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("set lr = none", "it is none, the present value is a number"),
        ("set lr = true", "it is true, the present value is a number"),
        ("set lr = [1, 2]", "it is a list of 2, the present value is a number"),
        ("set nesterov = 1", "it is a number, the present value is false"),
    ],
)
def test_a_hyper_parameter_takes_only_what_torch_would_take(line: str, words: str) -> None:
    traveller = Traveller("mlp", 1 << 30)
    assert words in traveller.refusal(line)
    assert traveller.take("act", "optimizer adamw betas=[0.8, 0.9]")
    assert "it is a list of 1, the present value is a list of 2" in traveller.refusal("set betas = [0.5]")
    assert traveller.take("act", "set betas = [0.5, 0.6]")
    assert traveller.held.optimizer.param_groups[0]["betas"] == (0.5, 0.6)


def test_hyper_parameters_of_all_groups_or_of_one() -> None:
    model = nn.Linear(4, 2)
    held = hold(model, optimizer=lambda p: torch.optim.SGD([{"params": [q]} for q in p], lr=0.1, momentum=0.9))
    traveller = Traveller.of(held, 1 << 30)
    groups = held.optimizer.param_groups
    assert traveller.take("act", "set lr = 0.02")
    assert [g["lr"] for g in groups] == [0.02, 0.02]
    assert traveller.take("act", "set lr[1] = 0.5")
    assert [g["lr"] for g in groups] == [0.02, 0.5]
    assert traveller.take("act", "set nesterov = true")
    assert [g["nesterov"] for g in groups] == [True, True]
    assert "no such group" in traveller.refusal("set lr[2] = 1")


def test_clipping_is_torchs() -> None:
    traveller, twin = mlp(), mlp()
    assert traveller.take("act", "clip grad norm=0.5")
    nn.utils.clip_grad_norm_(twin.held.model.parameters(), 0.5)
    assert traveller.digest() == twin.digest()
    assert traveller.take("act", "clip grad value=0.001")
    nn.utils.clip_grad_value_(twin.held.model.parameters(), 0.001)
    assert traveller.digest() == twin.digest()


def test_a_frozen_weight_gets_no_gradient_until_it_is_unfrozen() -> None:
    traveller = Traveller("mlp", 1 << 30)
    assert traveller.take("act", "freeze 0.*")
    traveller.take("act", "forward")
    traveller.take("act", "backward")
    assert [p.grad is None for _, p in traveller.held.parameters] == [True, True, False, False]
    assert traveller.take("act", "unfreeze *")
    assert all(p.requires_grad for _, p in traveller.held.parameters)
    assert "no parameter matches" in traveller.refusal("freeze 1.*")


def test_a_new_optimizer_begins_with_a_state_of_its_own() -> None:
    traveller = cnn()
    assert traveller.take("act", "optimizer adamw lr=0.003 betas=[0.8, 0.9]")
    optimizer = traveller.held.optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"]) == (0.003, (0.8, 0.9))
    assert not optimizer.state
    before = weight(traveller).detach().clone()
    assert traveller.take("act", "step")
    # the first step of Adam is about lr in the direction of the sign
    moved = weight(traveller).detach() - before
    assert float(moved.abs().max()) == pytest.approx(0.003, rel=0.05)
    traveller.take("undo", 2)
    assert type(traveller.held.optimizer) is torch.optim.SGD
    assert "no optimizer" in traveller.refusal("optimizer adamx")
    assert "no option" in traveller.refusal("optimizer adam momentum=1")


def test_schedulers_are_made_anew_for_a_new_optimizer() -> None:
    held = hold(nn.Linear(4, 2), schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5))
    traveller = Traveller.of(held, 1 << 30)
    traveller.take("loop", 1)
    assert held.rates() == (0.05,)
    assert traveller.take("act", "optimizer sgd lr=0.8")
    traveller.take("loop", 1)
    assert held.rates() == (0.4,)
    assert held.schedulers[0].optimizer is held.optimizer


def test_lbfgs_is_given_its_closure_after_the_swap() -> None:
    traveller = Traveller("xor", 1 << 30)
    assert traveller.take("act", "optimizer lbfgs lr=0.1")
    assert traveller.take("act", "step")
    there = traveller.digest()
    traveller.take("undo", 1)
    assert traveller.take("act", "step")
    assert traveller.digest() == there


def test_modes_and_seeds() -> None:
    traveller = cnn()
    assert traveller.take("act", "eval")
    assert not any(module.training for module in traveller.held.modules)
    traveller.take("act", "forward")
    first = traveller.held.point.value
    traveller.take("act", "forward")
    assert traveller.held.point.value == first  # no dropout
    assert traveller.take("act", "train")
    values = []
    for _ in range(2):
        assert traveller.take("act", "seed 7")
        traveller.take("act", "forward")
        values.append(traveller.held.point.loss)
    assert torch.equal(values[0], values[1])
    assert float(values[0].detach()) != first


def test_a_batch_that_is_edited_is_another_batch_until_that_is_undone() -> None:
    traveller = cnn()
    before = traveller.digest()
    images = traveller.held.batches.batch[0]
    first = images[0].clone()
    assert traveller.take("act", "set input[0] = 1 * input[1]")
    assert torch.equal(images[0], images[1])
    assert traveller.digest() != before
    for line in ("next_batch",) * 4:  # once round: it is still edited
        traveller.take("act", line)
    assert torch.equal(traveller.held.batches.batch[0][0], images[1])
    edited = traveller.digest()
    traveller.take("undo", 5)
    assert traveller.digest() == before
    assert torch.equal(images[0], first)
    traveller.take("redo", 5)
    assert traveller.digest() == edited


class Greedy(nn.Module):
    """Writes its input in place, as a first `ReLU(inplace=True)` does."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(nn.functional.relu(x, inplace=True))


def test_a_batch_that_the_forward_writes_is_put_back() -> None:
    torch.manual_seed(0)
    held = hold(Greedy())
    traveller = Traveller.of(held, 1 << 30)
    traveller.take("act", "next_batch")
    before = held.batches.batch[0].clone()
    traveller.take("act", "forward")
    assert not torch.equal(held.batches.batch[0], before)
    traveller.take("undo", 1)
    assert torch.equal(held.batches.batch[0], before)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("set foo = 3", "there is no foo to set"),
        ("set loss = 3", "can't be written"),
        ("set W[0, 99999] = 3", "out of range"),
        ("set W = none", "this can't be assigned"),
        ('set W = "x"', "this can't be assigned"),
        ("set W = input", "set 0.weight = input"),
        ("clip grad norm=1", "no gradient to clip"),
    ],
)
def test_what_cannot_be_done_says_so_and_changes_nothing(line: str, title: str) -> None:
    traveller = Traveller("mlp", 1 << 30)
    traveller.take("act", "forward")
    before, alive = traveller.digest(), traveller.held.point.loss
    assert title in traveller.refusal(line)
    assert traveller.digest() == before
    assert traveller.held.point.loss is alive
    assert traveller.take("act", "backward")


def test_a_phase_that_raises_leaves_state_and_timeline_as_they_were() -> None:
    fused = Fused()
    traveller = Traveller.of(fused.held, 1 << 30)
    traveller.take("act", "next_batch")
    for acts, fuse, most in ((["forward"], fused.fuse, 3), (["forward", "backward"], fused.back, 3)):
        for times in range(1, most + 1):
            for line in acts[:-1]:
                assert traveller.take("act", line)
            before, points = traveller.digest(), dict(traveller.timeline.points)
            fuse.light(times)
            assert "on purpose" in traveller.refusal(acts[-1])
            assert traveller.digest() == before
            assert traveller.timeline.points == points
            traveller.check()
            assert traveller.take("act", acts[-1])
            traveller.check()
    first = traveller.digests[1]
    traveller.go(1)
    assert traveller.digest() == first


def test_edits_need_no_history() -> None:
    traveller = Traveller.of(Held(_plain(), CPU), 0)
    runner_of(traveller.held).observed = False
    assert traveller.take("act", "set W = 0")
    assert not torch.count_nonzero(weight(traveller))


def _plain() -> Workload:
    return Workload(
        nn.Linear(2, 2), nn.functional.mse_loss, lambda p: torch.optim.SGD(p), [(torch.ones(1, 2), torch.ones(1, 2))]
    )
