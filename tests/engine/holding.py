"""Held workloads for the engine's tests: small models with every kind of state, and ways to make a phase fail."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from running import runner_of
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem
from gradstep.workload import Workload

F, B, S, Z, N = Forward(), Backward(), Step(), ZeroGrad(), NextBatch()
ZEROS = ZeroGrad(set_to_none=False)
CPU = torch.device("cpu")


class Broken(Exception):
    """The exception of a fault that a test injects."""


class Fuse:
    """Raises once, at the nth time it is passed after being lit; draws from every generator first.

    It is no state of the model that has it: what it counts is not put back.
    """

    __slots__ = ("error", "left")

    def __init__(self) -> None:
        self.left = 0
        self.error: type[BaseException] = Broken

    def light(self, times: int = 1, error: type[BaseException] = Broken) -> None:
        self.left, self.error = times, error

    def __call__(self, value: Any = None) -> Any:
        if self.left:
            self.left -= 1
            if not self.left:
                torch.rand(1)
                random.random()
                np.random.rand()
                raise self.error("on purpose")
        return value


class Pass(torch.autograd.Function):
    """The identity, whose backward passes a fuse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fuse: Fuse) -> Tensor:
        ctx.fuse = fuse
        ctx.save_for_backward(x)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.saved_tensors  # noqa: B018 - raises when freed
        ctx.fuse()
        return grad * 1, None


class Net(nn.Module):
    """Batch norm, dropout, draws from python and numpy, a replaced buffer, and fuses everywhere."""

    def __init__(self, fuse: Fuse, back: Fuse) -> None:
        super().__init__()
        self.fuse, self.back = fuse, back
        self.first = nn.Linear(4, 8)
        self.norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(8, 2)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.fuse()
        h = Pass.apply(self.norm(self.first(x)), self.back)
        self.seen = self.seen + 1  # a new tensor in the buffer's place
        self.fuse()
        h = self.drop(h) * (1 + 0.01 * random.random()) + 0.01 * np.random.rand()
        h = Pass.apply(h, self.back)
        out = self.last(h.relu()) * self.frozen
        self.fuse()
        return Pass.apply(out, self.back)


class Fused:
    """A workload of `Net` with its three fuses: in forward, in backward, in a batch source."""

    def __init__(self, optimizer: Callable[[Any], torch.optim.Optimizer] | None = None, **more: Any) -> None:
        seed_everything(7)
        self.fuse, self.back, self.pull = Fuse(), Fuse(), Fuse()
        self.model = Net(self.fuse, self.back)
        data = [(torch.randn(4), torch.randn(2)) for _ in range(8)]

        class Rows(torch.utils.data.Dataset):
            def __len__(rows) -> int:
                return len(data)

            def __getitem__(rows, i: int) -> Any:
                return self.pull(data[i])

        given: dict[str, Any] = dict(  # noqa: C408
            model=self.model,
            loss=functional.mse_loss,
            optimizer=optimizer or (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
            batches=torch.utils.data.DataLoader(Rows(), batch_size=4, shuffle=True),
        )
        self.held = Held(Workload(**{**given, **more}), CPU)

    def digest(self) -> str:
        return digest(self.held)[0]


def hold(model: nn.Module, batches: Any = None, **more: Any) -> Held:
    """Hold a model, with simple defaults for the rest."""
    given: dict[str, Any] = dict(  # noqa: C408
        model=model,
        loss=functional.mse_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=batches if batches is not None else [(torch.randn(3, 4), torch.randn(3, 2))],
    )
    if "compute_loss" in more:
        del given["loss"]
    return Held(Workload(**{**given, **more}), CPU)


def failed(held: Held, act: Any) -> Problem:
    """Carry out an act that must fail; return its problem."""
    try:
        runner_of(held).run(act)
    except GradstepError as error:
        return error.problem
    raise AssertionError(f"{act} went through")


def run(held: Held, *acts: Any) -> Held:
    """Carry out acts that must succeed."""
    for act in acts:
        runner_of(held).run(act)
    return held


def bits(tensor: Tensor | None) -> bytes | None:
    """Return the bits of a tensor in row-major order."""
    return None if tensor is None else tensor.detach().contiguous().numpy().tobytes()
