"""`weight-decay-on-norm-or-bias`: strong weight decay pulls biases and the scales of norms to zero."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.values.findings import Rule


class WeightDecayOnNormOrBias(Check):
    """Looks at the parameter groups in front of the first step."""

    rule = Rule(
        id="weight-decay-on-norm-or-bias",
        severity="hint",
        title="weight decay is applied to biases and norms",
        why="Weight decay is meant for weights that multiply inputs; it pulls the scale of a norm and a bias to zero "
        "without making the model simpler.",
        detects="A parameter group has a weight_decay of the threshold or more, and holds both weights and "
        "parameters of one dimension.",
        remedy="Two groups: [{'params': [p for p in model.parameters() if p.dim() > 1], 'weight_decay': 0.1}, "
        "{'params': [p for p in model.parameters() if p.dim() < 2], 'weight_decay': 0.0}].",
        source="He et al., Bag of Tricks for Image Classification (2019), 'no bias decay'; nanoGPT, "
        "configure_optimizers; the defaults of torch's optimizers are below the threshold",
        threshold=0.05,
        unit="weight_decay",
    )

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the groups of the optimizer that steps for the first time."""
        if moment.count > 1:
            return
        names = moment.held.names
        for group in moment.optimizer.param_groups:
            decay = float(group.get("weight_decay") or 0.0)
            flat = [names.get(p, "") for p in group["params"] if p.dim() < 2]
            if decay >= self.threshold and flat and len(flat) < len(group["params"]):
                what = f"weight_decay is {decay:g} for {len(flat)} biases and norms too ({listed(flat)})."
                yield Seen(what, moment.at(panel="optimizer"), {"weight_decay": decay, "parameters": len(flat)})
