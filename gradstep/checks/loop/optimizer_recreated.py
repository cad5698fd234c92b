"""`optimizer-recreated`: the optimizer is recreated again and again, and loses its state."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import ref

from torch.optim import Optimizer

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule

_TIMES = 4
"""Optimizers of the same parameters: fewer may be stages of a training."""


class OptimizerRecreated(Check):
    """Follows the optimizers of the same parameters, one after the other."""

    rule = Rule(
        id="optimizer-recreated",
        severity="hint",
        title="the optimizer is recreated",
        why="A new optimizer starts without state: momentum and Adam's averages are lost. A scheduler still changes "
        "the lr of the old one.",
        detects="Four optimizers with state have made steps on the same parameters.",
        remedy="Create the optimizer once, before the loop over epochs.",
        source="torch.optim documentation, 'Constructing it'; deepsensor#47",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._built: dict[frozenset[int], list[ref[Optimizer]]] = {}
        """By the ids of the parameters, the optimizers that have stepped."""
        self._last: ref[Optimizer] | None = None

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at an optimizer's step."""
        optimizer = moment.of
        if not isinstance(optimizer, Optimizer) or optimizer is (self._last and self._last()):
            return
        self._last = ref(optimizer)
        own = frozenset(id(p) for group in optimizer.param_groups for p in group["params"])
        built = self._built.setdefault(own, [])
        if not optimizer.state or any(each() is optimizer for each in built):
            return
        built.append(self._last)
        if len(built) == _TIMES:
            what = f"{type(optimizer).__name__} is optimizer number {_TIMES} of the same {len(own)} parameters: each "
            what += "started without the state of the one before."
            yield Seen(what, moment.at(panel="optimizer"), {"optimizers": _TIMES, "parameters": len(own)})
