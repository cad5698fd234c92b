"""`zero-grad-missing`: a step uses gradients that an earlier step of the same optimizer has used already."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, listed
from gradstep.values.findings import Rule


class ZeroGradMissing(Check):
    """Reads the ledger: what was added to `.grad` since it was cleared, and how much of it a step has used."""

    rule = Rule(
        id="zero-grad-missing",
        severity="error",
        title="gradients are not cleared between steps",
        why="backward() adds to .grad, so the step follows the sum of this gradient and of all earlier ones.",
        detects="At a step, `.grad` holds a gradient that an earlier step has used, and one that was added since. "
        "Accumulation over micro-batches uses each gradient once and is not flagged.",
        remedy="Clear the gradients in every iteration: optimizer.zero_grad() before loss.backward().",
        source="torch.optim documentation, 'Taking an optimization step'; stackoverflow.com/q/60335387, "
        "wenet-e2e/wekws#73",
    )

    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        if moment.phase != "step" or moment.held.calls_closure:
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
