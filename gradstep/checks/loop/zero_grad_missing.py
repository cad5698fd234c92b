"""`zero-grad-missing`: a step uses gradients that an earlier step of the same optimizer has used already."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.values.findings import Rule

_UPDATES = 3
"""Updates of the script's own, in a row."""


class ZeroGradMissing(Check):
    """Reads the ledger: what was added to `.grad` since it was cleared, and how much of it a step has used."""

    rule = Rule(
        id="zero-grad-missing",
        severity="error",
        title="gradients are not cleared between steps",
        why="backward() adds to .grad, so the step follows the sum of this gradient and of all earlier ones.",
        detects="At a step, `.grad` holds a gradient that an earlier step has used, and one that was added since; for "
        "a script that updates the weights itself, in three updates in a row. "
        "Accumulation over micro-batches uses each gradient once and is not flagged.",
        remedy="Clear the gradients in every iteration: optimizer.zero_grad() before loss.backward().",
        source="torch.optim documentation, 'Taking an optimization step'; stackoverflow.com/q/60335387, "
        "wenet-e2e/wekws#73",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._added: dict[str, int] = {}
        """The backwards in each `.grad` at the script's last update of its own."""
        self._updates = 0
        """How many such updates in a row used a gradient that the one before had used."""

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        if moment.held.calls_closure:
            return
        entries = [(name, moment.held.ledger.entry(name)) for name, p in moment.optimized() if p.grad is not None]
        stale = [(name, entry) for name, entry in entries if 0 < entry.used < entry.added]
        if stale:
            entry = stale[0][1]
            what = (
                f"This step uses gradients of {entry.added} backwards in {len(stale)} of {len(entries)} parameters "
                f"({listed(each for each, _ in stale)}): {entry.used} of them were used by an earlier step already."
            )
            evidence = {"backwards": entry.added, "used": entry.used, "parameters": len(stale)}
            yield Seen(what, moment.at(panel="ledger"), evidence)

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients after an update of the script's own."""
        if not moment.held.point.unowned:
            return
        before, ledger = self._added, moment.held.ledger
        self._added = {name: ledger.entry(name).added for name in moment.held.point.written}
        stale = [name for name, added in self._added.items() if 0 < before.get(name, 0) < added]
        self._updates = self._updates + 1 if stale and not moment.order.written else 0
        if self._updates >= _UPDATES:
            added = self._added[stale[0]]
            what = (
                f"This update uses gradients of {added} backwards in {len(stale)} parameters ({listed(stale)}): the "
                "updates before have used them already."
            )
            remedy = "Clear the gradients after each update: model.zero_grad(), or w.grad = None."
            yield Seen(what, moment.at(panel="ledger"), {"backwards": added, "parameters": len(stale)}, remedy)
