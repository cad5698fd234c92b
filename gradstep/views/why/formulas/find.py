"""The formula of each optimizer, and its inputs: a parameter's values before and after a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from gradstep.engine.debuggee.optimizers import is_torchs, writes_grad
from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.numbers.selection import Cut
from gradstep.engine.reads import Reading
from gradstep.engine.state.optimizer import OptimizerPart
from gradstep.views.why.formulas.adagrad import adagrad
from gradstep.views.why.formulas.adam import adam, adamw
from gradstep.views.why.formulas.rmsprop import rmsprop
from gradstep.views.why.formulas.sgd import sgd
from gradstep.views.why.formulas.term import Term
from gradstep.views.why.formulas.work import Work

FORMULAS: dict[type[torch.optim.Optimizer], Callable[[Work], Term]] = {
    torch.optim.SGD: sgd,
    torch.optim.Adam: adam,
    torch.optim.AdamW: adamw,
    torch.optim.RMSprop: rmsprop,
    torch.optim.Adagrad: adagrad,
}
"""By exact class: a subclass may step in another way."""


def why_none(held: Held, parameter: Tensor) -> str:
    """Return why there is no formula for a parameter with a `.grad`; empty when there is one."""
    optimizer = held.owner(parameter)
    places = sum(parameter is p for group in optimizer.param_groups for p in group["params"])
    grad = parameter.grad
    if not places:
        return "in no group of the optimizer: no step updates it"
    if type(optimizer) not in FORMULAS:
        return f"{type(optimizer).__name__} has no formula here"
    if places > 1:
        return "twice in the optimizer: a step updates it twice"
    if not parameter.dtype.is_floating_point:
        return f"no formula for {dtype_name(parameter)}"
    if parameter.layout is not torch.strided or (grad is not None and grad.layout is not torch.strided):
        return "no formula for a sparse tensor or gradient"
    return ""


def work_to_come(held: Held, parameter: Tensor, part: Cut) -> Reading[Work]:
    """Read the work of the coming step, from the present weight, `.grad` and state."""
    optimizer = held.owner(parameter)
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
    assert parameter.grad is not None
    hyper = {key: _number(value) for key, value in group.items() if key != "params"}
    state = _state(optimizer.state.get(parameter, {}), parameter, part)
    windows = [_window(parameter, part), _window(parameter.grad, part)]
    arrived = iter((yield [*windows, *state.values()]))
    work = Work(next(arrived), next(arrived), hyper, dict(zip(state, arrived, strict=True)))
    work.finish(FORMULAS[type(optimizer)](work))
    return work


def would_give(held: Held, parameter: Tensor, part: Cut) -> Reading[Tensor | None]:
    """Read the value that a step would give to a part of a parameter; None without a `.grad` or a formula."""
    if parameter not in held.names or parameter.grad is None or why_none(held, parameter):
        return None
    return (yield from work_to_come(held, parameter, part)).result


def work_done(held: Held, parameter: Tensor, part: Cut) -> Reading[Work | None]:
    """Read the work of the step that just ran, with its results; None when the values before it were not kept."""
    saved, copies, name = held.saved.captured.get(OptimizerPart.name), held.saved.copies.by_key(), held.names[parameter]
    if saved is None or parameter.grad is None:
        return None
    place, hyper = next(
        (i, were) for i, (_, were, params) in enumerate(saved.groups) if any(p is parameter for p in params)
    )
    before: dict[str, Any] = next((were for owner, _, were in saved.state if owner is parameter), {})
    state = {key: copies.get(("state", name, str(key)), value) for key, value in before.items()}
    used = {k: _number(copies.get(("group", str(place), k), v)) for k, v in hyper.items() if k != "params"}
    were = _state(state, parameter, part)
    now = _state(held.optimizer.state.get(parameter, {}), parameter, part)
    windows = [copies.get(("weight", name), parameter), _used(held, parameter), parameter]
    weight, gradient, after, *rest = yield [*(_window(each, part) for each in windows), *were.values(), *now.values()]
    arrived = iter(rest)
    work = Work(weight, gradient, used, {k: next(arrived) for k in were}, after, {k: next(arrived) for k in now})
    work.finish(FORMULAS[type(held.optimizer)](work))
    return work


def grad_before(held: Held, parameter: Tensor) -> Tensor | None:
    """Return `.grad` from before the last phase, when a copy was kept because the phase might write it."""
    return held.saved.before(held, ("grad", held.names[parameter]))


def _used(held: Held, parameter: Tensor) -> Tensor:
    """Return the gradient that the last step used: hooks change it before the step, Nesterov's kernel in it."""
    assert parameter.grad is not None
    before = grad_before(held, parameter)
    inside = before is not None and is_torchs(held.optimizer) and writes_grad(held.optimizer)
    return before if before is not None and inside else parameter.grad


def _window(tensor: Tensor, part: Cut) -> Tensor:
    return part.of(tensor.detach())


def _state(entries: Mapping[str, Any], parameter: Tensor, part: Cut) -> dict[str, Tensor]:
    """Return an optimizer's state for a parameter: windows of tensors of its shape, and scalars."""
    found: dict[str, Tensor] = {}
    for key, value in entries.items():
        if isinstance(value, (int, float)):
            found[key] = torch.tensor(float(value), dtype=torch.float64)
        elif isinstance(value, Tensor) and value.layout is torch.strided:
            if value.shape == parameter.shape:
                found[key] = _window(value, part)
            elif value.numel() == 1:
                found[key] = value.detach().reshape(())
    return found


def _number(value: object) -> object:
    """Return a hyper-parameter without tensors: newer torch accepts tensors for lr and betas."""
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else value
    return tuple(_number(each) for each in value) if isinstance(value, (tuple, list)) else value
