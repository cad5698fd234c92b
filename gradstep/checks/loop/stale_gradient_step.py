"""`stale-gradient-step`: a step uses the gradients of its last step once more."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.order import Order
from gradstep.values.findings import Rule

_FIRST = 2
"""Gradients of which is compared whether the script has written them."""


class StaleGradientStep(Check):
    """Finds a step whose gradients are those of the last one, and to which no backward has added since."""

    rule = Rule(
        id="stale-gradient-step",
        severity="error",
        title="a step without a new gradient",
        why="The gradient was computed at the weights before the last step. Used again, it is not the gradient at "
        "the present weights.",
        detects="Between two steps of an optimizer no backward has added to the .grad of its parameters, and nothing "
        "has written or cleared them.",
        remedy="Call backward before each step: loss.backward(); optimizer.step().",
        source="torch.optim documentation, 'Taking an optimization step'",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._last: dict[int, list[tuple[int, int]]] = {}
        """Of each optimizer's last step, by its id: identity and version of its first gradients."""
        self._used_up = False
        """Whether earlier steps have used all gradients of the step that begins."""

    @at("step")
    def begins(self, moment: Moment) -> tuple[()]:
        """Look at the gradients that a step is about to use."""
        ledger = moment.held.ledger
        used = (ledger.used_up((name,)) for name, p in moment.optimized() if p.grad is not None)
        self._used_up = next(used, False) and all(used)
        return ()

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what a step has used."""
        if moment.held.point.skipped or moment.held.point.unowned:
            return
        optimizer, order = moment.optimizer, moment.order
        if self._order is not order:
            self._order, self._last = order, {}
        grads = (p.grad for _, p in moment.optimized() if p.grad is not None)
        now = [(id(grad), grad._version) for grad in islice(grads, _FIRST)]
        last, self._last[id(optimizer)] = self._last.get(id(optimizer)), now
        if not self._used_up or now != last or moment.within:
            return
        names = order.names_of(optimizer)
        if not order.fresh(names):  # of a closure, inside the step
            kind = type(optimizer).__name__
            what = f"{kind}.step() used the gradients of {len(names)} parameters a second time: no backward has added "
            what += "to them since its last step."
            yield Seen(what, moment.at(panel="ledger"), {"parameters": len(names), "backwards": 0})
