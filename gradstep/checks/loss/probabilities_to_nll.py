"""`probabilities-to-nll`: nll_loss or kl_div gets probabilities or logits, where it expects log-probabilities."""

from __future__ import annotations

from collections.abc import Iterable

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import NLL, GraphCheck, before, name_of, saved, shape_of, terms
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_PROBABILITIES = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
_SUMS = frozenset({"SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1"})
_LAYERS = ("AddmmBackward0", "MmBackward0", "ConvolutionBackward0", "LinearBackward0")


class ProbabilitiesToNll(GraphCheck):
    """Looks at what computed the input of nll_loss and kl_div."""

    rule = Rule(
        id="probabilities-to-nll",
        severity="error",
        title="the log is missing",
        why="nll_loss and kl_div don't take a logarithm: of probabilities the loss is minus a probability, whose "
        "gradient vanishes where the model is most wrong; of logits it falls without end.",
        detects="In the graph of the loss, the input of nll_loss comes from a softmax or a sigmoid, or straight from a "
        "layer and is positive; or the input of kl_div comes from a softmax.",
        remedy="Pass log-probabilities: F.nll_loss(F.log_softmax(logits, dim=1), target), which is "
        "F.cross_entropy(logits, target).",
        source="torch.nn.NLLLoss documentation ('the input is expected to contain log-probabilities of each class'); "
        "Text-Classification-Models-Pytorch#9, matchmaker#18",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the terms of the loss that are an nll_loss, and at what is summed to a kl_div."""
        faults = [(number, _of_nll(node)) for number, node in terms(graph) if node.name() in NLL]
        faults += [(number, _of_kl_div(node)) for number, node in graph.named(*_SUMS)]
        for number, what in faults:
            if what:
                yield Seen(what, moment.at(node=number, panel="graph"), {"loss": moment.value or 0.0})


def _of_nll(node: Node) -> str:
    made, given = name_of(before(node)), saved(node, "self")
    if made in _PROBABILITIES:
        return f"The input of nll_loss is the output of a {_PROBABILITIES[made]}: probabilities without a log."
    if made in _LAYERS and given is not None and given.numel() and (most := float(given.max())) > 0:
        return f"The input of nll_loss is logits, up to {most:.3g}: log-probabilities are never above 0."
    return ""


def _of_kl_div(node: Node) -> str:
    """Look at a sum over target * log target - target * input, as torch computes kl_div."""
    difference = node.next_functions[0][0]
    if name_of(difference) != "SubBackward0" or difference is None or difference.next_functions[0][0] is not None:
        return ""
    product = difference.next_functions[1][0]
    if name_of(product) != "MulBackward0" or product is None or len(shape_of(product)) < 1:
        return ""
    sides = [following for following, _ in product.next_functions]
    if sum(each is not None for each in sides) == 1 and name_of(before(product, sides[0] is None)) in _PROBABILITIES:
        return "The input of kl_div is a probability without a log."
    return ""
