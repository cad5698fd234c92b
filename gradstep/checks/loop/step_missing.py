"""`step-missing`: gradients are computed and cleared, and no step ever uses them."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.engine.script.found import NoOptimizer
from gradstep.values.findings import Rule


class StepMissing(Check):
    """Counts backwards whose gradients were cleared unused, while no optimizer has made a step."""

    rule = Rule(
        id="step-missing",
        severity="warning",
        title="the optimizer never steps",
        why="backward() only computes gradients. Without optimizer.step() the weights stay as they are.",
        detects="The gradients of the threshold's number of backwards in a row were cleared, and the optimizer of "
        "these parameters has made no step, or the script ended like that. The script has not written the weights "
        "itself either.",
        remedy="Update after each backward: loss.backward(); optimizer.step(); optimizer.zero_grad().",
        source="torch.optim documentation, 'Taking an optimization step'",
        threshold=32,
        unit="backwards",
    )

    @at("zero_grad", "end")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at what is cleared, and at the end."""
        order = moment.order
        if moment.phase not in ("zero_grad", "end") or not order.whole or any(order.steps.values()):
            return
        several = [each for each in moment.held.optimizers if not isinstance(each, NoOptimizer)]
        names = set[str]().union(*(order.names_of(each) for each in several))
        lost = order.thrown_away(names)
        waiting = order.fresh(names) if moment.phase == "end" else []
        number = len(lost) + len(waiting)
        if number < (2 if moment.phase == "end" else self.threshold) or self._written(moment):
            return
        sites = {each.site for each in lost} | {each.site for each in waiting}
        if len(sites) > 1:
            return
        kind = type(several[-1]).__name__
        what = f"{number} backwards computed gradients of {len(names)} parameters, and {kind}.step() was never called."
        yield Seen(what, moment.at(panel="ledger"), {"backwards": number, "steps": 0})

    @staticmethod
    def _written(moment: Moment) -> bool:
        """Return whether the script updates weights itself, as version counters show."""
        known = {name: parameter._version for name, parameter in moment.parameters()}
        changed = (known.get(name, at) != at for each in moment.order.discarded for name, at in each.versions.items())
        return any(changed) or moment.held.point.unowned
