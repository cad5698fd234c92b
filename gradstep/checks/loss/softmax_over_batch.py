"""`softmax-over-batch`: a softmax normalises over the batch in place of the classes."""

from __future__ import annotations

from collections.abc import Iterable

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import BCE, NLL, GraphCheck, name_of, shape_of, softmax_dim, terms
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_SOFTMAX = ("SoftmaxBackward0", "LogSoftmaxBackward0")


class SoftmaxOverBatch(GraphCheck):
    """Looks at the dimension of a softmax whose result is the input of a loss."""

    rule = Rule(
        id="softmax-over-batch",
        severity="error",
        title="softmax normalises over the batch",
        why="The probabilities of one class over all samples sum to 1, and those of one sample do not: what the model "
        "predicts for a sample depends on the others in its batch.",
        detects="In the graph of the loss, the input of nll_loss, binary_cross_entropy or mse_loss is the result of a "
        "softmax or log_softmax over dimension 0 of two or more.",
        remedy="Normalise over the classes: F.log_softmax(logits, dim=1), nn.Softmax(dim=-1).",
        source="torch.nn.NLLLoss documentation (input of shape (N, C)); world-models#10; torch.nn.functional.softmax "
        "without dim= takes dimension 0 of one- and three-dimensional inputs",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the input of the terms of the loss."""
        for number, node in terms(graph):
            found = _softmax_of(node)
            if found is not None and len(shape := shape_of(found)) > 1 and not softmax_dim(found) and shape[0] > 1:
                what = f"A softmax of shape {shape} normalises over dimension 0, its {shape[0]} samples."
                yield Seen(what, moment.at(node=number, panel="graph"), {"samples": shape[0]})


def _softmax_of(node: Node) -> Node | None:
    """Return the softmax whose result is the input of a loss, unchanged or after a log."""
    if node.name() not in NLL | BCE | {"MseLossBackward0"}:
        return None
    made = node.next_functions[0][0]
    if made is not None and made.name() == "LogBackward0":
        made = made.next_functions[0][0]
    return made if name_of(made) in _SOFTMAX else None
