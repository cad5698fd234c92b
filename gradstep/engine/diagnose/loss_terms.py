"""Terms of the loss that have no graph: they change its value, and train nothing."""

from __future__ import annotations

from collections.abc import Iterator
from weakref import ref

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.diagnose.loss_dependencies import LossDependencies, cuts
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import at
from gradstep.values.errors import GradstepError
from gradstep.values.numbers import number

_SCALES = frozenset({"MulBackward0", "DivBackward0", "NegBackward0"})
_ADDS = frozenset({"AddBackward0", "SubBackward0", "StackBackward0", "CatBackward0"})
_REDUCES = frozenset({"SumBackward0", "MeanBackward0"})
_SHOWN = 2
"""How many places at most are named where the history of a term ends."""


class LossTerms:
    """Says which terms of the last loss have no graph; each loss is looked at once."""

    def __init__(self) -> None:
        self._loss: ref[Tensor] | None = None
        self._lines: list[str] = []

    def lines(self, held: Held) -> list[str]:
        """Return what each term is that depends on parameters and has no graph, and in further lines where and why.

        Where an operand of the sum has no grad_fn the forward is walked again, to see whether it is a number of the
        user's own or was computed from parameters.
        """
        loss = held.point.loss
        if loss is None or not any(True for _ in _sums_with_a_constant(loss)):
            return []
        if self._loss is None or self._loss() is not loss:
            self._loss, self._lines = ref(loss), list(_found(held))
        return self._lines


def _sums_with_a_constant(loss: Tensor) -> Iterator[Node]:
    """Yield the nodes that add up the terms of a loss, where one of these has no grad_fn."""
    waiting = [] if loss.grad_fn is None or loss.numel() != 1 else [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        following = [each for each, _ in node.next_functions]
        there = [each for each in following if each is not None]
        if node.name() in _ADDS:
            if len(there) < len(following):
                yield node
            waiting += there
        elif node.name() in _SCALES and len(there) == 1:
            waiting += there
        elif node.name() in _REDUCES:  # of a tensor that is no list of terms, an element is no term
            waiting += [each for each in there if each.name() in {"StackBackward0", "CatBackward0"}]


def _found(held: Held) -> Iterator[str]:
    parameters = [parameter for _, parameter in held.parameters if parameter.requires_grad]
    try:
        dependencies = LossDependencies(held, parameters)
    except GradstepError:  # it can't be run again: nothing is known
        return
    sums = set(_sums_with_a_constant(dependencies.loss))
    flow = dependencies.flow
    for term in flow.terms:
        if term.total in sums:
            added = flow.ops[term.added]
            where = at(added.place).partition(" `")[0]
            yield f"a term of the loss has no graph and trains nothing: {number(term.value)}, added{where}"
            yield f"it is added by {added.line()}"
            for end in cuts(flow.before([term.op]))[:_SHOWN]:
                yield f"the path from it to the parameters ends at {end.line()}: {end.cut}"
