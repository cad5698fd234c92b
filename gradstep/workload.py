"""Workload: the model, loss, optimizer and batches that gradstep steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    from torch.optim import Optimizer


@dataclass
class Workload:
    """A model with everything that its training loop needs.

    Give either `loss`, called as `loss(output, target)` with `output = model(input)` and a batch `(input, target)`,
    or `compute_loss`, called as `compute_loss(model, batch)` with whatever a batch is.

    Attributes:
        model: the `torch.nn.Module`.
        loss: `(output, target) -> scalar tensor`.
        compute_loss: `(model, batch) -> scalar tensor`, in place of `loss`.
        optimizer: a `torch.optim.Optimizer`, or a function from the model's parameters to one.
        batches: a list of batches (cycled), a DataLoader or other iterable (restarted when it ends), or a function:
            `f()` or `f(i)`, where `i` is the number of batches taken before.
        schedulers: learning rate schedulers, or functions from the optimizer to one.
        schedule: when the schedulers step: after every optimizer `step`, or at the end of each `epoch` of batches.
        state: further objects with `state_dict` and `load_state_dict`, by name; they are saved and restored too.
        name: its name in the status line.
        show: the slice that the Tensor panel opens on, e.g. `2.weight[0, 0:10]`.
    """

    model: torch.nn.Module
    loss: Callable[[Any, Any], torch.Tensor] | None = None
    optimizer: Optimizer | Callable[[Iterable[torch.nn.Parameter]], Optimizer] | None = None
    batches: Sequence[Any] | Iterable[Any] | Callable[..., Any] | None = None
    compute_loss: Callable[[torch.nn.Module, Any], torch.Tensor] | None = None
    schedulers: Any | Sequence[Any] = ()
    schedule: Literal["step", "epoch"] = "step"
    state: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    show: str = ""
