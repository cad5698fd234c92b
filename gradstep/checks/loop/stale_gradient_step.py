"""`stale-gradient-step`: a step uses the gradients of its last step once more."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen
from gradstep.checks.order import Order
from gradstep.values.findings import Rule


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
        """Of each optimizer's last step, by its id: identity and version of each `.grad`."""
        self._used_up = False
        """Whether earlier steps have used all gradients of the step that begins."""

    def begins(self, moment: Moment) -> tuple[()]:
        """Look at the gradients that a step is about to use."""
        if moment.phase == "step":
            names = [name for name, p in moment.optimized() if p.grad is not None]
            self._used_up = bool(names) and moment.held.ledger.used_up(names)
        return ()

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what a step has used."""
        if moment.phase != "step" or moment.held.point.skipped or moment.held.point.unowned:
            return
        optimizer, order = moment.optimizer, moment.order
        if self._order is not order:
            self._order, self._last = order, {}
        grads: list[Tensor] = [p.grad for _, p in moment.optimized() if p.grad is not None]
        now = [(id(grad), grad._version) for grad in grads]
        last, self._last[id(optimizer)] = self._last.get(id(optimizer)), now
        new = moment.within or order.fresh(order.names_of(optimizer))  # of a closure, inside the step
        if self._used_up and now == last and not new:
            kind = type(optimizer).__name__
            what = f"{kind}.step() used the gradients of {len(grads)} parameters a second time: no backward has added "
            what += "to them since its last step."
            yield Seen(what, moment.at(panel="ledger"), {"parameters": len(grads), "backwards": 0})
