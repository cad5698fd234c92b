"""`softmax-over-batch`: a softmax normalises over the batch in place of the classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import BCE, NLL, GraphCheck, name_of, setting, shape_of, softmax_dim, terms
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_SUMS = frozenset({"LogsumexpBackward0", "SumBackward1", "MeanBackward1"})
_ELEMENTWISE = frozenset(
    f"{name}Backward0" for name in ("Add", "Sub", "Mul", "Div", "Neg", "Log", "Exp", "Pow", "Clamp", "ClampMin")
)
_KEEPING = frozenset(
    f"{name}Backward0"
    for name in ("View", "UnsafeView", "ReshapeAlias", "Unsqueeze", "Expand", "Clone", "ToCopy", "Mul", "Div")
)
_SAMPLES = 8
"""Samples of a batch, at least."""
_SOFTMAX = ("SoftmaxBackward0", "LogSoftmaxBackward0")


class SoftmaxOverBatch(GraphCheck):
    """Looks at the dimension of a softmax whose result is the input of a loss, or attention weights."""

    rule = Rule(
        id="softmax-over-batch",
        severity="error",
        title="softmax normalises over the batch",
        why="The results for one class, or one key, sum to 1 over all samples, and those for one sample do not: what "
        "the model predicts for a sample depends on the others in its batch.",
        detects="In the graph of the loss, the input of nll_loss, binary_cross_entropy or mse_loss is the result of a "
        "softmax or log_softmax over dimension 0 of two or more. A warning, where only element-wise operations and "
        "sums over other dimensions are between such a softmax and the mean over the samples, or where a batched "
        "matrix product multiplies by attention weights that sum to 1 over its batch dimension.",
        remedy="Normalise over the classes: F.log_softmax(logits, dim=1), nn.Softmax(dim=-1).",
        source="torch.nn.NLLLoss documentation (input of shape (N, C)); world-models#10; PyTorch-NLP#2; "
        "torch.nn.functional.softmax without dim= takes dimension 0 of one- and three-dimensional inputs",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the input of the terms of the loss."""
        for number, node in terms(graph):
            found = _softmax_of(node)
            if found is not None and len(shape := shape_of(found)) > 1 and not softmax_dim(found) and shape[0] > 1:
                what = f"A softmax of shape {shape} normalises over dimension 0, its {shape[0]} samples."
                yield Seen(what, moment.at(node=number, panel="graph"), {"samples": shape[0]})
        for found in _kept_apart(graph):
            rows, columns = shape_of(found)
            what = f"A softmax of shape ({rows}, {columns}) normalises over dimension 0, and the loss is a mean over "
            what += f"the same {rows} samples."
            where = moment.at(node=graph.nodes.index(found), panel="graph")
            yield Seen(what, where, {"samples": rows}, severity="warning")
        for found in _weights_over_batch(graph):
            shape = shape_of(found)
            what = f"A softmax of shape {shape} normalises over dimension 0, the batch dimension of the matrix product "
            what += "that uses it as attention weights."
            where = moment.at(node=graph.nodes.index(found), panel="graph")
            yield Seen(
                what, where, {"samples": shape[0]}, "Normalise over the keys: F.softmax(scores, dim=-1).", "warning"
            )


def _kept_apart(graph: GraphRecord) -> Iterator[Node]:
    """Yield softmaxes over the rows of a matrix whose rows no operation but the mean of the loss brings together."""
    mean = graph.nodes[0]
    if mean.name() == "NegBackward0":
        mean = mean.next_functions[0][0] or mean
    below = mean.next_functions[0][0] if mean.name() == "MeanBackward0" else None
    rows = shape_of(below)[:1]
    waiting, seen = [] if below is None or not rows or rows[0] < _SAMPLES else [below], {below}
    while waiting:
        node = waiting.pop()
        shape = shape_of(node)
        if shape[:1] != rows or (node.name() in _SUMS and 0 in _reduced(node)):
            continue
        if node.name() == "SoftmaxBackward0" and len(shape) == 2 and not softmax_dim(node):
            if shape[1] not in (1, shape[0]):  # a column of weights for the samples; a matrix of their similarities
                yield node
        elif node.name() in _ELEMENTWISE | _SUMS:
            new = [each for each, _ in node.next_functions if each is not None and each not in seen]
            waiting += new
            seen.update(new)


def _weights_over_batch(graph: GraphRecord) -> Iterator[Node]:
    """Yield softmaxes over the batch dimension of a batched product that sums their results over another one."""
    for _, product in graph.named("BmmBackward0"):
        for place, summed in ((0, 2), (1, 1)):
            node, number = product.next_functions[place]
            if node is None or shape_of(node, number)[summed : summed + 1] in ((), (1,)):
                continue
            while node is not None and _keeps_batch(node):
                node = next(each for each, _ in node.next_functions if each is not None)
            if node is None or node.name() != "SoftmaxBackward0" or softmax_dim(node):
                continue
            if len(shape := shape_of(node)) > 1 and shape[0] > 1:
                yield node


def _keeps_batch(node: Node) -> bool:
    """Return whether a node passes values on with dimension 0 in its place, at most merged with the next one."""
    several = [each for each, _ in node.next_functions if each is not None]
    inner, shape = shape_of(several[0]) if len(several) == 1 else (), shape_of(node)
    if not inner or not shape:
        return False
    if node.name() == "TransposeBackward0":
        return 0 not in (setting(node, "dim0") % len(shape), setting(node, "dim1") % len(shape))
    if node.name() == "PermuteBackward0":
        return bool(setting(node, "dims")[0] == 0)
    merged = len(inner) > len(shape) and shape[0] == inner[0] * inner[1]
    return node.name() in _KEEPING and (shape[0] == inner[0] or merged)


def _reduced(node: Node) -> set[int]:
    """Return the dimensions that a sum is over, 0 among them where it is unknown."""
    dims, inner = setting(node, "dim"), shape_of(node.next_functions[0][0])
    if not isinstance(dims, (tuple, list)) or not dims or not inner:
        return {0}
    return {(dim - (1 << 64) if dim >= 1 << 63 else dim) % len(inner) for dim in dims}


def _softmax_of(node: Node) -> Node | None:
    """Return the softmax whose result is the input of a loss, unchanged or after a log."""
    if node.name() not in NLL | BCE | {"MseLossBackward0"}:
        return None
    made = node.next_functions[0][0]
    if made is not None and made.name() == "LogBackward0":
        made = made.next_functions[0][0]
    return made if name_of(made) in _SOFTMAX else None
