"""The optimizers and schedulers of a workload: create them, and find out what their `step` needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from gradstep.engine.observe.hooks import loop
from gradstep.values.errors import wrong
from gradstep.values.expressions import Expression
from gradstep.values.nearest import did_you_mean
from gradstep.workload import Workload


def optimizer_of(workload: Workload) -> torch.optim.Optimizer:
    """Return the workload's optimizer, or the one that its function returns for the model's parameters.

    Raises:
        GradstepError: that is not an optimizer.
    """
    made: object = workload.optimizer
    if callable(made) and not isinstance(made, torch.optim.Optimizer):
        made = made(workload.model.parameters())
    if isinstance(made, torch.optim.Optimizer):
        return made
    raise wrong(
        "this is not an optimizer",
        f"`optimizer` is or returned a {type(made).__name__}",
        "give a torch.optim.Optimizer, or a function from parameters to one",
    )


def schedulers_of(workload: Workload, optimizer: torch.optim.Optimizer) -> list[Any]:
    """Return the workload's schedulers; a function is called with the optimizer to create one."""
    given = () if workload.schedulers is None else workload.schedulers
    several: Sequence[Any] = given if isinstance(given, (list, tuple)) else [given]
    return [each if hasattr(each, "state_dict") else each(optimizer) for each in several]


def step_scheduler(scheduler: Any, loss: float | None) -> None:
    """Step one scheduler; one that watches a metric is passed the last loss."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(float("nan") if loss is None else loss)
    else:
        scheduler.step()


def needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether `step` needs a closure, as that of LBFGS does."""
    parameter = inspect.signature(type(optimizer).step).parameters.get("closure")
    return parameter is not None and parameter.default is inspect.Parameter.empty


def is_torchs(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether it is torch's own, without hooks: its `step` writes no buffers and draws no random numbers."""
    tables = (
        optimizer._optimizer_step_pre_hooks,
        optimizer._optimizer_step_post_hooks,
        _global_optimizer_pre_hooks,
        _global_optimizer_post_hooks,
    )
    hooks = [hook for table in tables for hook in table.values() if getattr(hook, "__module__", "") != loop.__name__]
    return type(optimizer).__module__.startswith("torch.optim") and not hooks


def writes_grad(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether torch's own `step` may write `.grad`.

    `_multi_tensor_sgd` adds the momentum to `.grad` in place for Nesterov; it is the default on accelerators.
    """
    return any(group.get("nesterov") and group.get("foreach") is not False for group in optimizer.param_groups)


def optimizer_named(
    name: str,
    options: Sequence[tuple[str, Expression]],
    old: torch.optim.Optimizer,
    value_of: Callable[[Expression], Any],
) -> tuple[torch.optim.Optimizer, str]:
    """Return a new optimizer over the parameter groups of an old one, and the line of PyTorch that creates it.

    Args:
        name: its class, upper or lower case.
        options: the keyword arguments of its class.
        old: the optimizer whose parameter groups it takes, without their hyper-parameters.
        value_of: evaluates an option.

    Raises:
        GradstepError: torch has no such optimizer, or the optimizer has no such option.
    """
    kinds = {
        key.lower(): kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    kind = kinds.get(name.lower())
    if kind is None:
        remedy = did_you_mean(name.lower(), kinds) or f"torch has {', '.join(sorted(kinds))}"
        raise wrong(f"torch has no optimizer {name}", "", remedy, name)
    known = [key for key in inspect.signature(kind).parameters if key != "params"]
    for key, _ in options:
        if key not in known:
            remedy = did_you_mean(key, known) or f"its options are {', '.join(known)}"
            raise wrong(f"{kind.__name__} has no option {key}", "", remedy, key)
    given = {key: value_of(value) for key, value in options}
    made: Any = kind
    optimizer: torch.optim.Optimizer = made([{"params": list(group["params"])} for group in old.param_groups], **given)
    words = "".join(f", {key}={value!r}" for key, value in given.items())
    return optimizer, f"optimizer = torch.optim.{kind.__name__}(model.parameters(){words})"


def remade_schedulers(workload: Workload, optimizer: torch.optim.Optimizer) -> tuple[list[Any], str]:
    """Return the schedulers of a workload, recreated for another optimizer, and a note on them for the user.

    Schedulers that were not given as functions belong to the old optimizer, and are left out.
    """
    given = () if workload.schedulers is None else workload.schedulers
    several: Sequence[Any] = given if isinstance(given, (list, tuple)) else [given]
    if not several:
        return [], ""
    makers = [each for each in several if not hasattr(each, "state_dict")]
    word = "; the schedule starts over" if makers else ""
    if len(makers) < len(several):
        word += "; a scheduler of the old optimizer is left out"
    return [each(optimizer) for each in makers], word
