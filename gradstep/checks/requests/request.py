"""The base class of checks on request, and the copy that they run."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.checks.check import Seen
from gradstep.engine.held import Held
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.errors import wrong
from gradstep.values.findings import Rule
from gradstep.workload import Workload


class Answer(NamedTuple):
    """What a check on request has found out."""

    text: str
    """What is printed."""
    seen: Seen | None = None
    """The fault; None where there is none."""


class Trial:
    """A copy of a model, its optimizer and one batch, to run as often as it takes."""

    def __init__(self, workload: Workload, held: Held) -> None:
        self._workload, self.held = workload, held
        self.model: nn.Module = workload.model
        optimizer: Any = workload.optimizer
        self.optimizer: Optimizer = optimizer
        batches: Any = workload.batches
        self.batch: Any = batches[0]

    def loss(self) -> Tensor:
        """Compute the loss of the batch."""
        with torch.enable_grad():
            if self._workload.compute_loss is not None:
                return self._workload.compute_loss(self.model, self.batch)
            assert self._workload.loss is not None
            return self._workload.loss(self.model(self.batch[0]), self.batch[1])

    def step(self) -> float:
        """Run one iteration on the batch; return the loss before it.

        Raises:
            GradstepError: the optimizer needs a closure.
        """
        if self.held.calls_closure:
            name = type(self.optimizer).__name__
            raise wrong(f"{name} is not stepped here", "it calls a closure", "use SGD or Adam for this check")
        self.optimizer.zero_grad()
        loss = self.loss()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the parameters that are trained, by name."""
        yield from ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def double(self) -> None:
        """Convert model and batch to float64, for derivatives that can be compared."""
        self.model.double()
        self.batch = _double(self.batch)


class Request:
    """One check on request."""

    rule: ClassVar[Rule]

    def run(self, trial: Trial) -> Answer:
        """Run it on a copy; return what it has found out.

        Raises:
            GradstepError: it can't be run on this.
        """
        raise NotImplementedError


def copied(held: Held) -> Workload:
    """Return a held workload's model, optimizer and current batch as copies.

    Raises:
        GradstepError: no batch was taken yet, or something can't be copied.
    """
    if not held.batches.taken:
        raise wrong("there is no batch yet", "the first forward takes one", "run `forward` first")
    memo: dict[int, Any] = {}
    work = held.workload
    try:
        model = copy.deepcopy(held.model, memo)
        return Workload(
            model,
            loss=copy.deepcopy(work.loss, memo) if isinstance(work.loss, nn.Module) else work.loss,
            compute_loss=work.compute_loss,
            optimizer=copy.deepcopy(held.optimizer, memo),
            batches=[copy.deepcopy(held.batches.batch, memo)],
        )
    except Exception as error:
        what = f"copying it raised {type(error).__name__}: {error}"
        raise wrong("this can't be copied", what, "checks on request run on a copy") from error


@contextmanager
def on_a_copy(held: Held, copies: Callable[[], Workload]) -> Iterator[Trial]:
    """Yield a trial; the random generators are afterwards as they were before."""
    before = held.keeper.capture()
    try:
        yield Trial(copies(), held)
    finally:
        held.keeper.restore(before)


def _double(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(map(_double, value))
    if isinstance(value, dict):
        return {key: _double(each) for key, each in value.items()}
    return value


def floats(batch: Any) -> list[Tensor]:
    """Return the floating point tensors of a batch."""
    return [tensor for _, tensor in tensors_in(batch, "batch", -1) if tensor.is_floating_point()]
