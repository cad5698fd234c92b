"""`loss-at-start`: a fresh classifier is more wrong than guessing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen
from gradstep.checks.data.inputs import few, labels
from gradstep.checks.patterns import NLL, GraphCheck, saved
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule


class LossAtStart(GraphCheck):
    """Compares the first cross entropy with ln C, that of guessing evenly among C classes."""

    rule = Rule(
        id="loss-at-start",
        severity="hint",
        title="the first loss is far above that of guessing",
        why="Fresh weights know nothing, so they should give each class about 1/C: a higher loss means that the "
        "initialisation, or inputs that are too large, make the model confidently wrong.",
        detects="In the first forward, the mean cross entropy of C classes is above the threshold times ln C.",
        remedy="Make the last layer's initial weights small: nn.init.normal_(head.weight, std=0.02); normalise the "
        "inputs.",
        source="cs231n, 'Look for correct loss at chance performance'; A Recipe for Training Neural Networks, 'verify "
        "loss @ init'; TheDeepChecker (off by ln C)",
        threshold=2.0,
        unit="times ln C",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the terms of the first loss."""
        for found in labels(graph) if moment.count == 0 else ():
            given, chance = saved(found.node, "self"), math.log(max(2, found.classes))
            if found.node.name() not in NLL or given is None or saved(found.node, "weight") is not None:
                continue
            labelled = found.value[(found.value >= 0)] if given.dim() == 2 else found.value.clamp_min(0)
            rows = given[found.value >= 0] if given.dim() == 2 else given
            loss = float(-few(rows.gather(1, labelled.unsqueeze(1))).float().mean()) if labelled.numel() else 0.0
            if math.isfinite(loss) and loss > self.threshold * chance:
                what = f"The first loss is {loss:.3g}; guessing among {found.classes} classes gives {chance:.3g}."
                yield Seen(what, moment.at(node=found.number, panel="loss"), {"loss": loss, "ln C": chance})
