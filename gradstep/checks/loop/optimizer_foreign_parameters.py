"""`optimizer-foreign-parameters`: the optimizer updates parameters that the model does not have any more."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.loop.ownership import AT, in_no_optimizer, parameters_of, untrained, without_module
from gradstep.values.findings import Rule


class OptimizerForeignParameters(Check):
    """Looks for parameters of an optimizer that are no model's, where the model has others that are in none."""

    rule = Rule(
        id="optimizer-foreign-parameters",
        severity="error",
        title="the optimizer has parameters of another model",
        why="It was created before the model, or a layer of it, was rebuilt: its steps update parameters that no "
        "forward uses, and the new ones never change.",
        detects="After a step, none of the optimizer's parameters has a gradient, or some have none and belong to no "
        "live module; and parameters of the model have one and are in no live optimizer.",
        remedy="Build the optimizer last: model.fc = nn.Linear(512, 10); optimizer = Adam(model.parameters()).",
        source="torch.optim documentation, 'Constructing it'; nni#4521",
    )

    @at("step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the parameters after some steps."""
        if moment.count not in AT:
            return
        several = list(parameters_of([moment.optimizer]))
        own = {id(p) for _, root in moment.roots() for p in root.parameters()}
        useless = all(p.grad is None for p in several)
        foreign = [p for p in several if p.grad is None and (useless or id(p) not in own)]
        missing = [(name, p) for name, p in untrained(moment) if id(p) in own] if foreign else []
        missing = in_no_optimizer(missing) if missing else []
        if not missing:
            return
        if useless or len(without_module(foreign)) == len(foreign):
            kind, names = type(moment.optimizer).__name__, [name for name, _ in missing]
            whose = "that no backward reaches" if useless else "that are in no model"
            what = f"{kind} has {len(foreign)} parameters {whose}, and {len(names)} that do get gradients "
            what += f"({listed(names)}) are in no optimizer."
            where = moment.at(parameter=names[0], panel="optimizer")
            yield Seen(what, where, {"foreign": len(foreign), "missing": len(names)})
