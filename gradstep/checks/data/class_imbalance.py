"""`class-imbalance`: one class has many more samples than another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.data.inputs import inputs, labels
from gradstep.checks.patterns import GraphCheck, saved
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_ENOUGH = 100
"""Labels that have to be seen."""
_CLASSES = 20
"""More classes than this are words or the like, of which some are rare."""


class ClassImbalance(GraphCheck):
    """Counts the labels of the batches that it sees."""

    rule = Rule(
        id="class-imbalance",
        severity="hint",
        title="one class has many more samples than another",
        why="A model that always predicts the most frequent class has a low loss and a high accuracy, and has learnt "
        "nothing about the others.",
        detects="Among 100 labels or more of cross_entropy, one for each sample and of at most 20 classes, the most "
        "frequent class is the threshold times as frequent as the rarest one present, and the loss has no class "
        "weights.",
        remedy="Weight the classes: F.cross_entropy(logits, target, weight=1 / counts), or draw them evenly: "
        "WeightedRandomSampler. Report the accuracy of each class.",
        source="SageMaker Debugger, rule ClassImbalance (10 : 1)",
        threshold=10.0,
        unit="times",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._counts: Counter[int] = Counter()

    @at("forward", first=40)
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at more forwards than usual."""
        return super().ended(moment)

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Add the labels of this batch."""
        samples = {len(each.value) for each in inputs(graph) if each.value.dim()}
        for found in labels(graph):
            one_each = found.value.dim() == 1 and len(found.value) in samples
            if not one_each or not 2 <= found.classes <= _CLASSES or saved(found.node, "weight") is not None:
                continue
            self._counts.update(found.value.tolist())
            (most, many), (least, few) = (self._counts.most_common()[place] for place in (0, -1))
            if self._counts.total() >= _ENOUGH and len(self._counts) > 1 and many >= self.threshold * few:
                what = f"Of {self._counts.total()} labels, {many} are class {most} and {few} are class {least}."
                yield Seen(what, moment.at(node=found.number, panel="batch"), {"most": many, "least": few})
