"""`zero-grad-before-step`: gradients are cleared before the step could use them."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.order import Discarded, Order
from gradstep.values.findings import Rule

_TWICE = 2
"""Steps in a row that throw away gradients of the backward that they use: one may have had a reason, such as a NaN."""


_BY_HAND = 3
"""Such steps of a held workload: a single one is made by hand, to see that it changes nothing."""


class ZeroGradBeforeStep(Check):
    """Finds a step without gradients whose backward was cleared, or that gets one micro-batch of several."""

    rule = Rule(
        id="zero-grad-before-step",
        severity="error",
        title="gradients are cleared before the step uses them",
        why="The step uses what .grad holds when it is called, so a gradient cleared before that is lost.",
        detects="At a step every .grad is None or zero, and the gradients of a backward were cleared since the last "
        "step. Or, in two steps in a row, the gradients of other backwards at the same line were cleared before the "
        "one that the step uses.",
        remedy="Clear after the step, or before the backward: loss.backward(); optimizer.step(); "
        "optimizer.zero_grad(). With accumulation, clear once a step, not once a micro-batch.",
        source="torch.optim documentation, 'Taking an optimization step'; bytetriper/RAE#67",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._partial: dict[int, int] = {}
        """Steps in a row, by the id of the optimizer."""
        self._empty: dict[int, int] = {}
        """Steps without any gradient, by the id of the optimizer."""
        self._began: dict[int, tuple[bool, int]] = {}
        """For a step that runs, whether weights were written since a clear, and how many backwards had run."""

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look whether weights were written between a clear and a step: a step may write a weight several times."""
        moved = self._moved(moment, self._lost(moment))
        self._began[id(moment.optimizer)] = moved, moment.order.backwards
        return ()

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what a step has used."""
        if self._order is not moment.order:
            self._order, self._partial = moment.order, {}
        optimizer, order = moment.optimizer, moment.order
        key, before = id(optimizer), self._partial.pop(id(optimizer), 0)
        moved, backwards = self._began.pop(key, (False, order.backwards))
        lost = self._lost(moment)
        by_closure = order.backwards > backwards and self._moved(moment, lost, writes=1)
        if not lost or moved or by_closure or order.written or not all(each.finite for each in lost):
            return
        names = order.names_of(optimizer)
        fresh = order.fresh(names)
        if not fresh:
            if all(_is_empty(moment, name, p.grad is None) for name, p in moment.optimized()):
                self._empty[key] = self._empty.get(key, 0) + 1
                if moment.script or self._empty[key] >= _BY_HAND:
                    what = (
                        f"This step found no gradient in any of {len(names)} parameters: {_count(len(lost))} had put "
                    )
                    what += "gradients there, and they were cleared before the step."
                    yield Seen(what, moment.at(panel="ledger"), {"cleared": len(lost), "parameters": len(names)})
            return
        same = [each for each in lost if any(each.site and each.site == ran.site for ran in fresh)]
        if same:
            self._partial[key] = before + 1
            if before + 1 >= _TWICE:
                every = len(same) + len(fresh)
                what = f"This step uses {len(fresh)} of {every} backwards at the same line: the gradients of the other "
                what += f"{len(same)} were cleared before it."
                remedy = "Call optimizer.zero_grad() once a step, before the first micro-batch: not in each of them."
                yield Seen(what, moment.at(panel="ledger"), {"used": len(fresh), "cleared": len(same)}, remedy)

    @staticmethod
    def _lost(moment: Moment) -> list[Discarded]:
        """Return what was cleared unused since the last step of the optimizer's parameters."""
        order = moment.order
        return order.thrown_away(order.names_of(moment.optimizer)) if order.discarded else []

    @staticmethod
    def _moved(moment: Moment, lost: list[Discarded], writes: int = 0) -> bool:
        """Return whether a weight was written more than `writes` times since its gradient was cleared."""
        known = {name: parameter._version for name, parameter in moment.parameters()} if lost else {}
        return any(known.get(name, at) > at + writes for each in lost for name, at in each.versions.items())


def _is_empty(moment: Moment, name: str, none: bool) -> bool:
    entry = moment.held.ledger.entry(name)
    return none or (entry.zeroed and not entry.added)


def _count(number: int) -> str:
    return "a backward" if number == 1 else f"{number} backwards"
