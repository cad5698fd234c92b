"""`clip-scaled-gradients`: gradients are clipped while they are multiplied by the scale of a `GradScaler`."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.values.findings import Rule


class ClipScaledGradients(Check):
    """Finds a call of torch's clipping between the backward of a scaled loss and `unscale_`."""

    rule = Rule(
        id="clip-scaled-gradients",
        severity="error",
        title="scaled gradients are clipped",
        why="The clipping threshold is meant for unscaled gradients. Scaled ones nearly always exceed it, and once "
        "the step has unscaled them, almost nothing is left.",
        detects="clip_grad_norm_ or clip_grad_value_ is called on gradients of a loss that GradScaler.scale "
        "returned, before unscale_, and nothing else has written them.",
        remedy="Unscale first: scaler.unscale_(optimizer); clip_grad_norm_(model.parameters(), 1.0); "
        "scaler.step(optimizer).",
        source="torch documentation, 'Automatic Mixed Precision examples: gradient clipping'; lightning#9330",
    )

    @at("clip")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at what is clipped."""
        scaler, scaled = moment.order.scaler, moment.order.scaled
        if not scaled or scaler is None:
            return
        clipped = {id(grad) for grad in moment.of.gradients}
        touched = scaled - set(moment.written)
        wrong = [name for name, p in moment.parameters() if name in touched and id(p.grad) in clipped]
        scale = scaler.get_scale() if wrong else 1.0
        if scale != 1:
            what = f"The gradients of {len(wrong)} parameters ({listed(wrong)}) were clipped while they were "
            what += f"{scale:g} times too large."
            yield Seen(what, moment.at(panel="ledger"), {"scale": scale, "parameters": len(wrong)})
