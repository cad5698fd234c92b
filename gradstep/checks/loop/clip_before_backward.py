"""`clip-before-backward`: gradients are clipped before the backward that computes them."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule

_TWICE = 2
"""Steps in a row: a loop may clip once before its first backward."""


class ClipBeforeBackward(Check):
    """Finds clipping without a gradient, and a step on gradients that were not clipped."""

    rule = Rule(
        id="clip-before-backward",
        severity="error",
        title="gradients are clipped before the backward",
        why="There is no gradient yet, so clipping has no effect, and the step uses unclipped gradients.",
        detects="In two steps in a row, clip_grad_norm_ or clip_grad_value_ is called while every .grad is None or "
        "zero, then a backward runs, and the step follows without another call.",
        remedy="Clip between backward and step: loss.backward(); clip_grad_norm_(model.parameters(), 1.0); "
        "optimizer.step().",
        source="torch.nn.utils.clip_grad_norm_ documentation; FAMO#4, nano-world-model#22",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._empty = False
        """True after a call that found no gradient."""
        self._late = False
        """True once a backward has followed it."""
        self._steps = 0

    @at("clip", "backward", "step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at what is clipped, and at the step."""
        if moment.phase == "clip":
            clipped, entry = {id(grad) for grad in moment.of.gradients}, moment.held.ledger.entry
            self._empty = all(not entry(name).added for name, p in moment.parameters() if id(p.grad) in clipped)
            self._late = False
        elif moment.phase == "backward" and moment.of.accumulates:
            self._late = self._empty
        elif moment.phase == "step" and not moment.held.calls_closure:
            self._steps = self._steps + 1 if self._late else 0
            self._empty = self._late = False
            if self._steps >= _TWICE:
                what = f"In {self._steps} steps in a row the gradients were clipped before the backward, and not "
                what += "after it."
                yield Seen(what, moment.at(panel="ledger"), {"steps": self._steps})
