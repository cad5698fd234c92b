"""`sigmoid-before-bce-with-logits`: the input of binary_cross_entropy_with_logits is a sigmoid already."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import GraphCheck, before, name_of
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_SQUASHES = {"SigmoidBackward0": "sigmoid", "SoftmaxBackward0": "softmax"}


class SigmoidBeforeBceWithLogits(GraphCheck):
    """Finds in the graph a BCE with logits whose input is a sigmoid or a softmax."""

    rule = Rule(
        id="sigmoid-before-bce-with-logits",
        severity="error",
        title="sigmoid is applied twice",
        why="binary_cross_entropy_with_logits applies sigmoid itself: it maps probabilities to 0.5 to 0.73, so the "
        "loss can't fall below 0.31 for a positive and 0.69 for a negative target.",
        detects="In the graph of the loss, the input of binary_cross_entropy_with_logits comes from a sigmoid or a "
        "softmax, through views at most.",
        remedy="Pass the logits: F.binary_cross_entropy_with_logits(logits, target), without sigmoid in the model; "
        "or keep the sigmoid and use F.binary_cross_entropy.",
        source="torch.nn.BCEWithLogitsLoss documentation ('combines a Sigmoid layer and the BCELoss'); glue-factory#89",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the input of each BCE with logits."""
        for number, node in graph.named("BinaryCrossEntropyWithLogitsBackward0"):
            word = _SQUASHES.get(name_of(before(node)))
            if word is not None:
                what = f"The input of binary_cross_entropy_with_logits is the output of a {word}."
                yield Seen(what, moment.at(node=number, panel="graph"), {"applied": word})
