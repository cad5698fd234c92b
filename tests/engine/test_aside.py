"""A forward that is rerun, for a look or to rebuild a graph, has no side effects."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from holding import B, F, Fuse, Pass, S, failed, hold, run
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.rerun import backward_again
from gradstep.engine.stepping.stop_places import StopPlace


class Average:
    """Averages a model's weights whenever the loss is computed."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.kept, self.count = model, [p.detach().clone() for p in model.parameters()], 0

    def update(self) -> None:
        self.count += 1
        for kept, parameter in zip(self.kept, self.model.parameters(), strict=True):
            kept.lerp_(parameter.detach(), 0.1)

    def state_dict(self) -> dict[str, Any]:
        return {"kept": self.kept, "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        for kept, value in zip(self.kept, state["kept"], strict=True):
            kept.copy_(value)


class Restless(nn.Module):
    """Its forward toggles dropout and requires_grad, replaces a buffer and writes its input."""

    seen: Tensor

    def __init__(self, back: Fuse) -> None:
        super().__init__()
        self.first, self.drop, self.last, self.back = nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2), back
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.drop.train(not self.drop.training)
        self.first.bias.requires_grad_(not self.first.bias.requires_grad)
        self.seen = self.seen + 1
        hidden = Pass.apply(self.drop(self.first(x.mul_(0.5))), self.back)  # type: ignore[no-untyped-call]
        out: Tensor = self.last(hidden) * self.seen
        return out


def restless() -> tuple[Held, Fuse]:
    torch.manual_seed(0)
    back = Fuse()
    model = Restless(back)
    average = Average(model)

    def loss(model: nn.Module, batch: Any) -> Tensor:
        average.update()
        return functional.mse_loss(model(batch[0]), batch[1])

    return hold(model, compute_loss=loss, state={"average": average}), back


def marks(held: Held) -> tuple[object, ...]:
    buffers = tuple(id(buffer) for _, buffer in held.buffers())
    return digest(held)[0], buffers, tuple(id(p.grad) for _, p in held.parameters)


@pytest.mark.parametrize("acts", [(F,), (F, B), (F, B, S), (F, B, F, B)])
def test_a_look_that_runs_the_backward_again_leaves_no_mark(acts: tuple[Any, ...]) -> None:
    held, _ = restless()
    run(held, *acts)
    before = marks(held)
    seen: list[StopPlace] = []
    backward_again(held, seen.append)
    assert seen
    assert marks(held) == before


def test_a_backward_that_raises_leaves_no_mark_and_its_graph_is_there_again() -> None:
    held, back = restless()
    run(held, F)
    before = marks(held)
    back.light()
    failed(held, B)
    assert marks(held) == before
    assert not held.point.freed
    run(held, B)
    control, _ = restless()
    run(control, F, B)
    for (_, one), (_, other) in zip(held.parameters, control.parameters, strict=True):
        assert one.requires_grad == other.requires_grad
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or other.grad is None or torch.equal(one.grad, other.grad)
