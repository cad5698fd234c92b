"""`accumulation-not-averaged`: the gradients of micro-batches are added up, and not divided by their number."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.optim import SGD

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.order import Order
from gradstep.checks.patterns import setting, shape_of, through_views
from gradstep.values.findings import Rule

_MEANS = frozenset({"NllLossBackward0", "NllLoss2DBackward0", "MseLossBackward0", "SmoothL1LossBackward0"})
_MEANS |= {"HuberLossBackward0", "BinaryCrossEntropyWithLogitsBackward0"}
_MEAN = 1
"""torch's number for reduction='mean'."""
_TWICE = 2


class AccumulationNotAveraged(Check):
    """Counts the backwards of a step that come from one line, and looks for a division in front of them."""

    rule = Rule(
        id="accumulation-not-averaged",
        severity="warning",
        title="accumulated gradients are not averaged",
        why="Each loss is a mean over its micro-batch, so their gradients add up to that of the whole batch times "
        "the number of micro-batches: the step is that many times too large.",
        detects="In two SGD steps in a row, the same number of backwards at one line were added up, each of an "
        "unscaled mean over several samples. Adam does not depend on the scale and is not flagged.",
        remedy="Divide each loss: (loss / accumulation_steps).backward(). `check accumulation` compares the gradient "
        "with that of one large batch.",
        source="torch documentation, 'Automatic Mixed Precision examples: gradient accumulation'; fastai#3023, "
        "transformers#34191",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._order: Order | None = None
        self._last: dict[int, tuple[int, int]] = {}
        """By the optimizer's id, how many backwards a step used, and how many times in a row."""
        self._plain: dict[tuple[object, ...], bool] = {}
        """By call site of a backward, whether its last loss was an unscaled mean."""

    @at("backward", "step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the loss of a backward, and at a step."""
        if not moment.script:
            return
        if self._order is not moment.order:
            self._order, self._last = moment.order, {}
        if moment.phase == "backward":
            outputs = moment.of.outputs
            self._plain[moment.find_site()] = len(outputs) == 1 and _is_plain_mean(outputs[0])
        elif moment.phase == "step" and isinstance(moment.optimizer, SGD):
            order, optimizer = moment.order, moment.optimizer
            fresh = order.fresh(order.names_of(optimizer))
            sites = {ran.site for ran in fresh}
            number, times = len(fresh), 0
            own = order.written
            if number > 1 and len(sites) == 1 and not own and self._plain.get(next(iter(sites))):
                last, times = self._last.get(id(optimizer), (0, 0))
                times = times + 1 if last == number else 1
            self._last[id(optimizer)] = number, times
            if times >= _TWICE:
                what = f"This step uses the sum of {number} gradients, each of a mean over a micro-batch: "
                what += f"{number} times that of the whole batch."
                yield Seen(what, moment.at(panel="ledger"), {"micro_batches": number})


def _is_plain_mean(loss: object) -> bool:
    """Return whether a loss is a mean over several samples as torch's functions return it, with nothing after it."""
    node = through_views(loss.grad_fn) if isinstance(loss, Tensor) else None
    if node is None or node.name() not in _MEANS or setting(node, "reduction") != _MEAN:
        return False
    shape = shape_of(node.next_functions[0][0])
    return bool(shape) and shape[0] > 1
