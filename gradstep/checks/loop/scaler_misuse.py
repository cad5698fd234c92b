"""`scaler-misuse`: the calls of a `GradScaler` do not belong together."""

from __future__ import annotations

from collections.abc import Iterable

from torch.optim import Optimizer

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.order import stage_of
from gradstep.values.findings import Rule


class ScalerMisuse(Check):
    """Follows scale, unscale_, step and update, and whose gradients are scaled."""

    rule = Rule(
        id="scaler-misuse",
        severity="error",
        title="calls of GradScaler are missing or in the wrong order",
        why="A scaled loss gives gradients that are thousands of times too large; scaler.step divides them, and "
        "scaler.update ends the iteration. Without one of them the step is wrong, or torch raises.",
        detects="optimizer.step() is called on gradients of a scaled loss that were not unscaled; scaler.step() "
        "without a scaled loss since the last update(), or on gradients to which a loss was added that was not scaled; "
        "scaler.step() or unscale_() twice without update().",
        remedy="scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update().",
        source="torch documentation, 'Automatic Mixed Precision examples'; torch/amp/grad_scaler.py",
    )

    @at("scaler", "step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at a call of the scaler, and at a step."""
        if moment.phase == "scaler":
            yield from self._called(moment)
        elif moment.phase == "step" and moment.order.scaler is not None:
            order = moment.order
            scaled = order.scaled & order.names_of(moment.optimizer)
            scale = order.scaler.get_scale() if scaled and not order.written and order.scaler is not None else 1.0
            if scale != 1:
                kind = type(moment.optimizer).__name__
                what = f"{kind}.step() used gradients of {len(scaled)} parameters that are still multiplied by the "
                what += f"scale, {scale:g}."
                remedy = "Step through the scaler: scaler.step(optimizer); scaler.update(). Call unscale_() once, "
                remedy += "after the last backward."
                yield Seen(what, moment.at(panel="ledger"), {"scale": scale, "parameters": len(scaled)}, remedy)

    @staticmethod
    def _called(moment: Moment) -> Iterable[Seen]:
        call, order = moment.of, moment.order
        stage = stage_of(call.scaler, call.of) if isinstance(call.of, Optimizer) else "READY"
        if call.name == "step" and stage == "STEPPED":
            what = "scaler.step() was called twice for an optimizer without scaler.update() between."
            yield Seen(what, moment.at(panel="optimizer"), remedy="Call scaler.update() once, after scaler.step().")
        elif call.name == "unscale_" and stage == "UNSCALED":
            what = "scaler.unscale_() was called twice for an optimizer without scaler.update() between."
            remedy = "Call scaler.unscale_(optimizer) once a step, after the backward of the last micro-batch."
            yield Seen(what, moment.at(panel="ledger"), remedy=remedy)
        elif call.name == "step" and not order.scales and not moment.written:
            what = "scaler.step() divides the gradients by the scale, and no loss was scaled since the last update."
            remedy = "Scale the loss: scaler.scale(loss).backward(), not loss.backward()."
            yield Seen(what, moment.at(panel="ledger"), remedy=remedy)
        elif call.name in ("step", "unscale_") and stage == "READY":
            yield from ScalerMisuse._mixed(moment)

    @staticmethod
    def _mixed(moment: Moment) -> Iterable[Seen]:
        """Look for gradients of which a part was scaled, and a part was not."""
        call, order = moment.of, moment.order
        entry = moment.held.ledger.entry
        mixed = [name for name in sorted(order.mixed & order.names_of(call.of)) if entry(name).added > 1]
        scale = call.scaler.get_scale() if mixed and not order.written else 1.0
        if scale != 1:
            what = f"The gradients of {len(mixed)} parameters ({listed(mixed)}) sum those of a scaled loss and of "
            what += f"one that was not scaled: the latter will be divided by the scale, {scale:g}."
            remedy = "Scale each loss: scaler.scale(other_loss).backward()."
            yield Seen(what, moment.at(panel="ledger"), {"scale": scale, "parameters": len(mixed)}, remedy)
