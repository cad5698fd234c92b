"""`nan-or-inf`: the loss or a gradient is not finite, and what made it so."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen, at, listed, sampled
from gradstep.checks.numbers.birthplace import birthplace
from gradstep.checks.numbers.gradients import gradients, largest
from gradstep.checks.numbers.loss_not_finite import LossNotFinite, skips
from gradstep.engine.autograd.graph import leaf_tensor, node_name
from gradstep.values.findings import Rule

_STEEP = ("Sqrt", "Pow", "Norm", "Rsqrt", "Log", "Div", "Acos", "Asin", "Atan2", "Cdist", "Std", "Var", "Prod")
"""Operations whose derivative is infinite or undefined somewhere, most often at 0."""
_SMALL = 4096
"""Elements of a gradient that is looked at in every step."""


class NanOrInf(LossNotFinite):
    """Looks at each loss, and in front of each step at one small gradient, of some steps at all of them."""

    rule = Rule(
        id="nan-or-inf",
        severity="error",
        title="a loss or a gradient is not finite",
        why="Every weight with a NaN or infinite gradient becomes NaN at the next step, and stays NaN.",
        detects="The loss is NaN or inf and a step follows, or a gradient is, before a step that is not skipped. The "
        "place is the first node of the graph that has saved such a number.",
        remedy="Keep the argument inside the domain: torch.log(x.clamp_min(1e-8)), torch.sqrt(x + 1e-12), x / "
        "y.clamp_min(1e-8); with torch.where make both branches finite. `break nan` stops where it is made.",
        source="pytorch/pytorch#2421 (sqrt at 0), torch.autograd.set_detect_anomaly documentation",
    )

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        seen = list(super().begins(moment))
        yield from seen
        if not seen and not skips(moment) and math.isfinite(moment.value or 0.0):
            yield from self._gradients(moment)

    def explain(self, moment: Moment) -> Seen:
        """Name the node that made the loss NaN or infinite."""
        kind = "nan" if moment.value != moment.value else str(moment.value)
        text, node = birthplace(moment.graph, moment.held.names) if moment.graph is not None else ("", -1)
        what = f"The loss is {kind}" + (f": {text}." if text else ".")
        evidence: dict[str, float | int | str] = {"loss": kind, "node": node}
        return Seen(what, moment.at(node=node, panel="graph" if node >= 0 else "loss"), evidence)

    def _gradients(self, moment: Moment) -> Iterable[Seen]:
        if not sampled(moment.count) and not self._small_one(moment):
            return
        found = gradients(moment)
        bad = [each for each in found if not math.isfinite(each.most)]
        if bad:
            kind = "nan" if any(math.isnan(each.most) for each in bad) else "inf"
            names = listed(each.name for each in bad)
            steep = _steep_above(moment, {id(each.parameter) for each in bad})
            what = (
                f"The loss is finite, and {len(bad)} of {len(found)} gradients hold {kind} ({names}) as a step uses "
                f"them{steep}."
            )
            yield Seen(what, moment.at(panel="layers"), {"gradients": len(bad), "of": len(found), "kind": kind})

    @staticmethod
    def _small_one(moment: Moment) -> bool:
        """Return whether a small gradient of an early layer is not finite: a NaN goes back to all of them."""
        for _, parameter in moment.optimized():
            grad = parameter.grad
            if grad is not None and not grad.is_sparse and 0 < grad.numel() <= _SMALL:
                return not math.isfinite(grad.sum().item()) and not math.isfinite(largest([grad])[0])
        return False


def _steep_above(moment: Moment, bad: set[int]) -> str:
    """Return what may have made it: an operation with an infinite derivative that ran before the first bad leaf."""
    graph = moment.graph
    places = [n for n in graph.leaves if id(leaf_tensor(graph.nodes[n])) in bad] if graph is not None else []
    if graph is None or not places:
        return ""
    steep = [(n, node_name(graph.nodes[n]).split("Backward")[0]) for n in range(min(places))]
    named = [f"#{number} {name}" for number, name in steep if name.startswith(_STEEP) or "Norm" in name]
    return f"; on their way is {listed(named)}, whose derivative is infinite at 0" if named else ""
