"""Who owns a parameter: models, optimizers, and what is alive without having been seen yet."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator

from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.checks.check import Moment
from gradstep.engine.script.found import NoOptimizer

AT = frozenset({2, 5, 20, 100, 1000, 10_000})
"""The steps at which parameters are compared with optimizers: it takes a pass over all of them."""


def parameters_of(optimizers: Iterable[Optimizer]) -> Iterator[Tensor]:
    """Yield the parameters of some optimizers."""
    for optimizer in optimizers:
        if not isinstance(optimizer, NoOptimizer):
            for group in optimizer.param_groups:
                yield from group["params"]


def untrained(moment: Moment) -> list[tuple[str, Tensor]]:
    """Return the parameters that have a gradient from a backward, and that no known optimizer has."""
    known = {id(each) for each in parameters_of(moment.held.optimizers)}
    found = []
    for name, parameter in moment.parameters():
        waits = parameter.requires_grad and parameter.grad is not None and isinstance(parameter, nn.Parameter)
        if waits and id(parameter) not in known and moment.held.ledger.entry(name).added:
            found.append((name, parameter))
    return found


def in_no_optimizer(several: list[tuple[str, Tensor]]) -> list[tuple[str, Tensor]]:
    """Return those that no optimizer has of all that are alive, seen or not. It takes a tenth of a second."""
    alive = [each for each in gc.get_objects() if issubclass(type(each), Optimizer) and hasattr(each, "param_groups")]
    known = {id(each) for each in parameters_of(alive)}
    return [(name, parameter) for name, parameter in several if id(parameter) not in known]


def without_module(several: Iterable[Tensor]) -> set[int]:
    """Return the ids of those that no module has of all that are alive, seen or not. It takes a tenth of a second."""
    alone = {id(each) for each in several}
    for each in gc.get_objects():
        if isinstance(each, nn.Module) and "_parameters" in vars(each):
            alone -= {id(parameter) for parameter in each._parameters.values()}
    return alone
