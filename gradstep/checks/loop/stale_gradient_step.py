"""`stale-gradient-step`: a step uses the gradients of its last step once more."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen
from gradstep.checks.order import Order
from gradstep.values.findings import Rule


class StaleGradientStep(Check):
    """Compares how many backwards had run at two steps of an optimizer, and whether `.grad` is the same."""

    rule = Rule(
        id="stale-gradient-step",
        severity="error",
        title="a step without a new gradient",
        why="The gradient was computed at the weights before the last step. Used again, it is not the gradient at "
        "the present weights.",
        detects="Between two steps of an optimizer no backward has run, and nothing has written or cleared .grad.",
        remedy="Call backward before each step: loss.backward(); optimizer.step().",
        source="torch.optim documentation, 'Taking an optimization step'",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._last: dict[int, tuple[int, list[tuple[int, int]]]] = {}
        """Of each optimizer's last step, by its id: the backwards before it, and identity and version of `.grad`."""

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what a step has used."""
        if moment.phase != "step" or moment.held.point.skipped:
            return
        if self._order is not moment.order:
            self._order, self._last = moment.order, {}
        optimizer = moment.optimizer
        grads: list[Tensor] = [p.grad for _, p in moment.optimized() if p.grad is not None]
        now = moment.order.backwards, [(id(grad), grad._version) for grad in grads]
        last, self._last[id(optimizer)] = self._last.get(id(optimizer)), now
        if grads and now == last and not moment.within:
            kind = type(optimizer).__name__
            what = f"{kind}.step() used the gradients of {len(grads)} parameters a second time: no backward has run "
            what += "since its last step."
            yield Seen(what, moment.at(panel="ledger"), {"parameters": len(grads), "backwards": 0})
