"""Terms of the loss without a graph: they change its value, and train nothing."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import ref

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.diagnose.loss_dependencies import LossDependencies, cuts
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import at
from gradstep.values import numbers
from gradstep.values.errors import GradstepError

SCALES = frozenset({"MulBackward0", "DivBackward0", "NegBackward0"})
ADDS = frozenset({"AddBackward0", "SubBackward0", "StackBackward0", "CatBackward0"})
REDUCES = frozenset({"SumBackward0", "MeanBackward0"})
_SHOWN = 2
"""Maximum number of places named where the path of a term ends."""


class LossTerms:
    """Finds terms of the last loss without a graph, once for each loss."""

    def __init__(self) -> None:
        self._loss: ref[Tensor] | None = None
        self._lines: list[str] = []

    def lines(self, held: Held) -> list[str]:
        """Return lines on each term that depends on parameters and has no graph, with where and why.

        When an operand of the sum has no grad_fn the forward runs again, to find whether the operand was computed from
        parameters.
        """
        loss = held.point.loss
        if loss is None or not any(True for _ in _sums_with_a_constant(loss)):
            return []
        if self._loss is None or self._loss() is not loss:
            self._loss, self._lines = ref(loss), list(_found(held))
        return self._lines


def _sums_with_a_constant(loss: Tensor) -> Iterator[Node]:
    """Yield the nodes that sum terms of a loss, one of which has no grad_fn."""
    waiting = [] if loss.grad_fn is None or loss.numel() != 1 else [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        following = [each for each, _ in node.next_functions]
        there = [each for each in following if each is not None]
        if node.name() in ADDS:
            if len(there) < len(following):
                yield node
            waiting += there
        elif node.name() in SCALES and len(there) == 1:
            waiting += there
        elif node.name() in REDUCES:  # elements are terms only of a tensor made from a list of them
            waiting += [each for each in there if each.name() in {"StackBackward0", "CatBackward0"}]


def _found(held: Held) -> Iterator[str]:
    parameters = [parameter for _, parameter in held.parameters if parameter.requires_grad]
    try:
        dependencies = LossDependencies(held, parameters)
    except GradstepError:  # the forward can't run again
        return
    sums = set(_sums_with_a_constant(dependencies.loss))
    flow = dependencies.flow
    for term in flow.terms:
        if term.total in sums:
            added = flow.ops[term.added]
            where = at(added.place).partition(" `")[0]
            yield f"a term of the loss has no graph and trains nothing: {numbers.loss(term.value)}, added{where}"
            yield f"it is added by {added.line()}"
            for end in cuts(flow.before([term.op]))[:_SHOWN]:
                yield f"the path from it to the parameters ends at {end.line()}: {end.cut}"
