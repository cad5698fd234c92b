"""The Optimizer view: groups and their hyper-parameters, the learning rate's history, the state of one parameter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from gradstep.engine.expressions.describe import describe
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norms
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.reads import Reading, gather
from gradstep.values.expressions import name_line
from gradstep.values.views.training import GroupRow, OptimizerView, OtherOptimizer, RatePoint, SlotRow


def optimizer_view(held: Held, stop: int, selected: str, points: int) -> Reading[OptimizerView]:
    """Read the optimizer at a stop.

    Args:
        held: the held workload.
        stop: the number of the stop.
        selected: the path of the selection; `.grad` and `.state` select their parameter.
        points: how many points of each learning rate's history to return at most.
    """
    path, parameter = _parameter(held, selected)
    optimizer = held.optimizer if parameter is None else held.owner(parameter)
    groups = [_group(held, i, group, parameter, points) for i, group in enumerate(optimizer.param_groups)]
    several = [optimizer, *(each for each in held.optimizers if each is not optimizer)]
    counts = Counter(id(p) for group in optimizer.param_groups for p in group["params"])
    trained = {id(p) for each in several for group in each.param_groups for p in group["params"]}
    seen = [each for each in held.schedulers_of_script if vars(each).get("optimizer") is optimizer]
    schedulers = seen if held.script else held.schedulers
    slots, note = yield from _slots(held, optimizer, path, parameter, selected)
    if held.script and not trained:
        return OptimizerView(stop, "none", (), note="the script has used no optimizer so far")
    return OptimizerView(
        stop,
        type(optimizer).__name__,
        tuple(groups),
        tuple(type(scheduler).__name__ for scheduler in schedulers),
        held.workload.schedule if held.schedulers else "",
        path,
        slots,
        missing=tuple(name for name, p in held.parameters if p.requires_grad and id(p) not in trained),
        twice=tuple(name for name, p in held.parameters if counts[id(p)] > 1),
        note=note,
        others=tuple(_other(held, each) for each in several[1:]),
    )


def _parameter(held: Held, selected: str) -> tuple[str, Tensor | None]:
    """Return the parameter that is selected, also by its `.grad` or its state, with its name."""
    for path in (selected, selected.removesuffix(".grad"), selected.rpartition(".state.")[0]):
        tensor = held.tensor(path) if path else None
        if tensor is not None:
            return (path, tensor) if tensor in held.names else ("", None)
    return "", None


def _group(held: Held, number: int, group: Mapping[str, Any], selected: Tensor | None, points: int) -> GroupRow:
    parameters: Sequence[Tensor] = group["params"]
    rate = float(group["lr"]) if "lr" in group else None
    return GroupRow(
        number,
        len(parameters),
        sum(p.numel() for p in parameters),
        rate,
        () if rate is None else (*_history(held, number, points - 1), RatePoint(held.point.iteration, rate)),
        tuple((key, _words(value)) for key, value in group.items() if key not in ("params", "lr")),
        selected=any(p is selected for p in parameters),
    )


def _history(held: Held, number: int, points: int) -> tuple[RatePoint, ...]:
    """Return a group's learning rate at each forward: at most `points`, evenly spread, the ends among them."""
    last = len(held.loss_rates) - 1
    places = range(last + 1) if last < points else [round(last * i / max(points - 1, 1)) for i in range(points)]
    rates = ((held.losses[i][0], held.loss_rates[i]) for i in places)
    return tuple(RatePoint(iteration, each[number]) for iteration, each in rates if number < len(each))


def _other(held: Held, optimizer: Optimizer) -> OtherOptimizer:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    first = next((held.names[p] for p in parameters if p in held.names), "")
    rates = tuple(float(group["lr"]) for group in optimizer.param_groups if "lr" in group)
    return OtherOptimizer(type(optimizer).__name__, len(parameters), first, rates)


def _words(value: object) -> str:
    """Return a hyper-parameter as it is written in code: `0.9`, `True`, `None`, `(0.9, 0.999)`."""
    if isinstance(value, Tensor):
        return repr(value.tolist()) if value.numel() <= 4 and not value.is_meta else f"a tensor of {value.numel():,}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_words, value))})" if len(value) <= 8 else f"{len(value)} values"
    return repr(value) if value is None or isinstance(value, (bool, int, float, str)) else f"a {type(value).__name__}"


def _slots(
    held: Held, optimizer: Optimizer, path: str, parameter: Tensor | None, selected: str
) -> Reading[tuple[tuple[SlotRow, ...], str]]:
    if parameter is None:
        return (), "select a parameter to see its state"
    entries = optimizer.state.get(parameter, {})
    if isinstance(entries, Mapping) and entries:
        rows = [_slot(path, str(key), value, selected) for key, value in entries.items()]
        return tuple((yield from gather(rows))), ""
    name = type(optimizer).__name__
    if any(parameter is p for group in optimizer.param_groups for p in group["params"]):
        if held.point.iteration and parameter.grad is not None:
            return (), f"{name} keeps no state for it"
        return (), f"no state yet: {name} creates it in its first step with a .grad"
    return (), "it is not in a parameter group, so it has no state"


def _slot(path: str, key: str, value: object, selected: str) -> Reading[SlotRow]:
    name = f"{name_line(path)}.state.{key}"
    chosen = selected == f"{path}.state.{key}"
    if isinstance(value, Tensor):
        number = (yield [value])[0] if value.dim() == 0 and not value.is_meta else None
        text = "" if number is None else describe(number)
        [norm] = (yield from norms([value])) if value.dim() else [None]
        return SlotRow(name, key, tuple(value.shape), dtype_name(value), norm, text, chosen)
    return SlotRow(name, key, text=describe(value))
