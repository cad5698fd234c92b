"""`parameter-not-optimized`: a parameter gets gradients, and no optimizer has it."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.loop.ownership import AT, in_no_optimizer, parameters_of, untrained
from gradstep.values.findings import Rule


class ParameterNotOptimized(Check):
    """Compares the parameters that get gradients with those of all optimizers."""

    rule = Rule(
        id="parameter-not-optimized",
        severity="warning",
        title="a parameter is in no optimizer",
        why="backward computes its gradient, but no step ever uses it: the parameter keeps its initial value.",
        detects="After some steps, a parameter of a model that is trained otherwise has a gradient, is in no live "
        "optimizer, and has not been written. If these are the first layers of the model, or a whole model in train "
        "mode, it may be intended: a hint.",
        remedy="Give the optimizer all parameters: torch.optim.Adam(model.parameters()); or, if this is intended, "
        "freeze it: parameter.requires_grad_(False).",
        source="torch.optim documentation, 'Constructing it'; pytorch-openai-transformer-lm#6",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._versions: dict[int, int] = {}
        """The version counters at the last look, by the parameter's id."""

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the parameters after some steps."""
        if moment.count not in AT:
            return
        before, several = self._versions, untrained(moment)
        self._versions = {id(p): p._version for _, p in several}
        same = [(name, p) for name, p in several if before.get(id(p)) == p._version]
        missing = in_no_optimizer(same) if same else []
        if not missing or _has_foreign(moment):
            return
        known = {id(each) for each in parameters_of(moment.held.optimizers)}
        lost = {id(p): name for name, p in missing}
        for name, root in moment.roots():
            own = list(root.parameters())
            names = [lost[id(p)] for p in own if id(p) in lost]
            trained = [number for number, p in enumerate(own) if id(p) in known]
            if not names or not (trained or root.training):
                continue  # an untrained model in eval mode computes the loss: a perceptual loss, say
            first = not trained or all(number < trained[0] for number, p in enumerate(own) if id(p) in lost)
            what = f"{len(names)} parameters of {type(root).__name__} ({listed(names)}) get gradients, and no "
            what += f"optimizer has them; {len(trained)} others of it are in one."
            where = moment.at(parameter=names[0], module=name, panel="optimizer")
            yield Seen(what, where, {"parameters": len(names)}, severity="hint" if first else None)


def _has_foreign(moment: Moment) -> bool:
    """Return whether an optimizer has parameters of no model, or no gradient: that is another check's fault."""
    if all(p.grad is None for p in parameters_of([moment.optimizer])):
        return True
    own = {id(p) for _, root in moment.roots() for p in root.parameters()}
    return any(id(p) not in own and p.grad is None for p in parameters_of(moment.held.optimizers))
