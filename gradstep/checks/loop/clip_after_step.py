"""`clip-after-step`: gradients are clipped after the step has used them."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.values.findings import Rule


class ClipAfterStep(Check):
    """Finds a write to gradients that a step has used already, and that are cleared next."""

    rule = Rule(
        id="clip-after-step",
        severity="error",
        title="gradients are clipped after the step",
        why="The step has used them already and they are cleared next, so the clipping changes nothing.",
        detects="After a step, every .grad that it used is written, then cleared before the next backward.",
        remedy="Clip between backward and step: loss.backward(); clip_grad_norm_(model.parameters(), 1.0); "
        "optimizer.step().",
        source="torch.nn.utils.clip_grad_norm_ documentation; VGRNN#4, graphstorm#1366, FAMO#4",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._written: tuple[str, ...] = ()
        """What was written since the last step, while no backward has run."""

    @at("forward", "backward", "step", "zero_grad", "clip")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at what the script has written, and at what is cleared."""
        if moment.phase == "zero_grad":
            entries = {name: moment.held.ledger.entry(name) for name in (*self._written, *moment.written)}
            cleared = moment.order.names_of(moment.of) if entries else set[str]()
            late = [name for name, each in entries.items() if 0 < each.added == each.used and name in cleared]
            self._written = ()
            if late:
                what = f"The gradients of {len(late)} parameters ({listed(late)}) were written after the step that "
                what += "used them, and are cleared now."
                yield Seen(what, moment.at(panel="ledger"), {"parameters": len(late)})
        elif moment.phase in ("backward", "step"):
            self._written = ()
        elif moment.phase == "clip":
            clipped = {id(grad) for grad in moment.of.gradients}
            self._written += tuple([name for name, p in moment.parameters() if id(p.grad) in clipped])
        elif moment.phase == "forward":
            self._written += moment.written

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:  # noqa: ARG002
        """Forget what was clipped inside a step, in front of its update: a closure does that, as Lightning's."""
        self._written = ()
        return ()
