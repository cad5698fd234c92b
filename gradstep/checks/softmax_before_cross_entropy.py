"""`softmax-before-cross-entropy`: the input of cross_entropy is a softmax already."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen
from gradstep.checks.patterns import through_views
from gradstep.values.findings import Rule


class SoftmaxBeforeCrossEntropy(Check):
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

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the graph of the loss."""
        graph = moment.graph if moment.phase == "forward" else None
        for number, node in enumerate(graph.nodes if graph is not None else ()):
            if node.name() == "LogSoftmaxBackward0":
                before = through_views(node.next_functions[0][0])
                if before is not None and before.name() == "SoftmaxBackward0":
                    classes = _classes(before)
                    what = f"The input of cross_entropy is a softmax already, over {classes} classes."
                    yield Seen(what, moment.at(node=number, panel="graph"), {"classes": classes})


def _classes(node: object) -> int:
    result, dim = getattr(node, "_saved_result", None), getattr(node, "_saved_dim", -1)
    return int(result.shape[dim - (1 << 64) if dim >= 1 << 63 else dim]) if result is not None else 0
