"""`softmax-before-cross-entropy`: the input of cross_entropy is a softmax already."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import GraphCheck, before, name_of, shape_of, softmax_dim
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule


class SoftmaxBeforeCrossEntropy(GraphCheck):
    """Finds in the graph a log_softmax whose input is a softmax."""

    rule = Rule(
        id="softmax-before-cross-entropy",
        severity="error",
        title="softmax is applied twice",
        why="cross_entropy applies log_softmax itself: of probabilities it gives nearly the same loss for every class, "
        "so gradients are tiny and the loss can't fall below ln(1 + (C - 1)/e).",
        detects="In the graph of the loss, the input of a log_softmax comes from a softmax, through views at most.",
        remedy="Pass the logits: loss = F.cross_entropy(logits, target), without softmax in the model.",
        source="torch.nn.CrossEntropyLoss documentation ('input is expected to contain the unnormalized logits'); "
        "llama-from-scratch#5",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the input of each log_softmax."""
        for number, node in graph.named("LogSoftmaxBackward0"):
            if name_of(found := before(node)) == "SoftmaxBackward0":
                assert found is not None
                classes = shape_of(found)[softmax_dim(found)]
                what = f"The input of cross_entropy is a softmax already, over {classes} classes."
                yield Seen(what, moment.at(node=number, panel="graph"), {"classes": classes})
