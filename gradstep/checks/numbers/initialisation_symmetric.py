"""`initialisation-symmetric`: hidden units that begin equal, and that gradients keep equal."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen
from gradstep.values.findings import Rule


class InitialisationSymmetric(Check):
    """Compares the rows of each weight, and those of its gradient, after the first backward."""

    rule = Rule(
        id="initialisation-symmetric",
        severity="error",
        title="the units of a layer begin equal and stay equal",
        why="Units with equal weights get equal gradients, so the layer learns as if it had a single unit.",
        detects="After the first backward, all rows of a weight are bit-identical, and so are all rows of its "
        "gradient, which is not zero. A zero-initialised layer whose rows get different gradients (LoRA, the last "
        "layer of a classifier, a residual gate) is not flagged.",
        remedy="Break the symmetry: nn.init.kaiming_uniform_(layer.weight) instead of nn.init.constant_.",
        source="Goodfellow, Bengio, Courville 2016, 'Deep Learning', section 8.4 (break symmetry between units)",
    )

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the first backward."""
        if moment.phase != "backward" or moment.count:
            return
        for name, parameter in moment.parameters():
            grad = parameter.grad
            if parameter.dim() < 2 or grad is None or grad.layout != parameter.layout or parameter.shape[0] < 2:
                continue
            if parameter.is_meta or not (_equal_rows(parameter) and _equal_rows(grad) and bool(grad.ne(0).any())):
                continue
            rows = parameter.shape[0]
            what = f"All {rows} rows of {name} are equal, and so are all {rows} rows of its gradient."
            yield Seen(what, moment.at(name, panel="tensor"), {"rows": rows})


def _equal_rows(tensor: Tensor) -> bool:
    """Return whether all rows are equal; most tensors are told by their first two elements."""
    flat = tensor.detach().flatten(1)
    return bool(flat[0, 0] == flat[1, 0]) and bool((flat == flat[:1]).all())
