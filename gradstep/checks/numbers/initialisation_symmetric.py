"""`initialisation-symmetric`: hidden units that begin equal, and that gradients keep equal."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule


class InitialisationSymmetric(Check):
    """Compares the rows of each weight, and those of its gradient, after the first backward."""

    rule = Rule(
        id="initialisation-symmetric",
        severity="error",
        title="the units of a layer begin equal and stay equal",
        why="Units with equal weights get equal gradients, so the layer learns as if it had a single unit.",
        detects="After the first backward, all rows of a weight are bit-identical, and so are all rows of its "
        "gradient, which is not zero; or all columns of both are, as the units of the layer before are equal. A "
        "zero-initialised layer whose rows get different gradients (LoRA, the last layer of a classifier, a residual "
        "gate) is not flagged.",
        remedy="Break the symmetry: nn.init.kaiming_uniform_(layer.weight) instead of nn.init.constant_.",
        source="Goodfellow, Bengio, Courville 2016, 'Deep Learning', section 8.4 (break symmetry between units)",
    )

    @at("backward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the first backward."""
        if moment.count:
            return
        for name, parameter in moment.parameters():
            grad = parameter.grad
            if parameter.dim() < 2 or grad is None or grad.layout != parameter.layout or parameter.shape[0] < 2:
                continue
            if parameter.is_meta or not parameter.numel():
                continue
            kind = next((word for word in ("rows", "columns") if _equal(parameter, word) and _equal(grad, word)), "")
            if kind and bool(grad.ne(0).any()):
                number = parameter.shape[0] if kind == "rows" else parameter.shape[1]
                what = f"All {number} {kind} of {name} are equal, and so are all {number} {kind} of its gradient."
                yield Seen(what, moment.at(name, panel="tensor"), {kind: number})


def _equal(tensor: Tensor, kind: str) -> bool:
    """Return whether all rows, or all columns, are equal; of most tensors the first two elements differ."""
    whole = tensor.detach()
    flat = whole.flatten(1) if kind == "rows" else whole.transpose(0, 1).flatten(1)
    return len(flat) > 1 and bool(flat[0, 0] == flat[1, 0]) and bool((flat == flat[:1]).all())
