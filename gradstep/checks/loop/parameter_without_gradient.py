"""`parameter-without-gradient`: the optimizer has a parameter that no backward reaches."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.loop.ownership import untrained
from gradstep.checks.order import Order
from gradstep.values.findings import Rule

_UNUSED = 12
"""Steps in a row without a gradient of parameters that a batch may have left out, as experts or skipped layers."""


class ParameterWithoutGradient(Check):
    """Follows the parameters of an optimizer whose `.grad` is None at every one of its first steps."""

    rule = Rule(
        id="parameter-without-gradient",
        severity="warning",
        title="no gradient reaches a parameter",
        why="A parameter without a gradient is never updated. Its path to the loss is cut, or nothing uses it.",
        detects="At the threshold's number of steps in a row, parameters of the optimizer have .grad None and others "
        "have one. If they are the first of a model in train mode, the path is cut on the way (no_grad, .detach(), "
        ".data, numpy): a warning; others may simply be unused: a hint, after twelve steps. Or none of the parameters "
        "of an optimizer had a gradient in its first twelve steps.",
        remedy="Look for what cuts the path between them and the loss: torch.no_grad(), .detach(), .data, .numpy(); "
        "`why PARAMETER.grad is none` names the line.",
        source="torch documentation, 'Autograd mechanics'; cic#5",
        threshold=4,
        unit="steps in a row",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._without: dict[int, tuple[int, set[int]]] = {}
        """By the optimizer's id, steps, and the ids of the parameters that had no gradient at any of them."""

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        if moment.held.calls_closure:
            return
        if self._order is not moment.order:
            self._order, self._without = moment.order, {}
        optimizer, several = moment.optimizer, list(moment.optimized())
        steps, before = self._without.get(id(optimizer), (0, {id(p) for _, p in several}))
        if not before or steps >= _UNUSED:
            return
        lost = {id(p): name for name, p in several if p.grad is None and p.requires_grad and id(p) in before}
        if len(lost) == len(several):
            yield from self._never(moment, list(lost.values()))
            return
        self._without[id(optimizer)] = steps + 1, set(lost)
        if lost and steps + 1 in (self.threshold, _UNUSED):
            yield from self._found(moment, lost, steps + 1)

    def _never(self, moment: Moment, names: list[str]) -> Iterable[Seen]:
        """Look at a step without any gradient, of an optimizer that never had one."""
        optimizer, order = moment.optimizer, moment.order
        if id(optimizer) in self._without or not order.whole or order.thrown_away(set(names)):
            return
        number = order.steps[id(optimizer)] + 1
        if number == _UNUSED <= order.backwards and not untrained(moment):  # else they are another model's
            what = f"{type(optimizer).__name__} has made {number} steps, and none of its {len(names)} parameters "
            what += f"({listed(names)}) ever had a gradient."
            yield Seen(what, moment.at(parameter=names[0], panel="model"), {"parameters": len(names), "steps": number})

    @staticmethod
    def _found(moment: Moment, lost: dict[int, str], steps: int) -> Iterable[Seen]:
        for name, root in moment.roots():
            own = [lost[id(p)] for p in root.parameters() if id(p) in lost]
            cut = bool(own) and _is_cut(root, set(lost))
            if own and cut is (steps < _UNUSED):
                what = f"{len(own)} parameters ({listed(own)}) had no gradient in {steps} steps; "
                what += "all of the layers after them had one." if cut else "nothing seems to use them."
                where = moment.at(parameter=own[0], module=name, panel="model")
                yield Seen(what, where, {"parameters": len(own)}, severity=None if cut else "hint")


def _is_cut(root: nn.Module, lost: set[int]) -> bool:
    """Return whether a model's first layers have no gradient, all the others have one, and none of it is in eval."""
    trained = [p for p in root.parameters() if p.requires_grad]
    without = [id(p) in lost for p in trained]
    number = sum(without)
    modules = (each for each in root.modules() if any(id(p) in lost for p in each.parameters(recurse=False)))
    return 0 < number < len(trained) and all(without[:number]) and all(each.training for each in modules)
