"""The dependencies of the last loss on some tensors: the operations between them, and where paths end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import Dataflow, Op
from gradstep.engine.observe.rerun import forward_again, same_way
from gradstep.values.errors import GradstepError, wrong

_COMPILED = "CompiledFunction"
"""Stands in the name of the node of a compiled region (torch/_functorch/_aot_autograd/runtime_wrappers.py)."""
_TRIED = 8
"""Maximum number of lines with `.item()` or the like that are tried one by one: each takes a forward."""


class LossDependencies:
    """The forward of the last loss, walked again: what its loss depends on of what was computed from some tensors."""

    def __init__(self, held: Held, starts: Sequence[Tensor]) -> None:
        """LossDependencies it.

        Raises:
            GradstepError: it can't be run again, or takes another way now.
        """
        self._held, self._starts = held, starts
        try:
            self.flow, self.loss = self._run()
        except GradstepError:
            raise
        except Exception as error:
            raise wrong("the forward can't be run again", f"{type(error).__name__}: {error}") from error
        made_by = self.flow.makers(self.loss)
        self.leads = self.flow.leads_back(made_by)
        """True where a path from the loss back to the tensors ends nowhere."""
        self.ops = self.flow.before([*made_by, *self._taken_out()])
        """The operations between the tensors and the loss."""

    @property
    def cuts(self) -> list[Op]:
        """The operations at which paths to the loss end."""
        return cuts(self.ops)

    def _run(self, nudged: Iterable[int] = ()) -> tuple[Dataflow, Tensor]:
        """LossDependencies once; `nudged` are the numbers, of those that are taken out of torch, to change a little."""
        flow = Dataflow(self._starts, frozenset(nudged))
        loss, _ = forward_again(self._held, flow.watch, _anything if nudged or is_compiled(self._held) else same_way)
        return flow, loss

    def _taken_out(self) -> list[int]:
        """Return the operations that take a number out of torch that the loss depends on.

        Torch does not see what is computed from such a number: the forward runs again with it changed a little, and
        where the loss stays the same to the last bit it does not depend on it.
        """
        every = self.flow.taken_out
        by_line: dict[str, list[int]] = {}
        for number, place in enumerate(every):
            by_line.setdefault(self.flow.ops[place].line(), []).append(number)
        if not every or not self._changes(range(len(every))):
            return []
        groups = list(by_line.values())
        tried = len(groups) > 1 and len(groups) <= _TRIED
        count = [group for group in groups if not tried or self._changes(group)]
        return [every[number] for group in count for number in group]

    def _changes(self, nudged: Iterable[int]) -> bool:
        try:
            return not same_bits(self._run(nudged)[1], self.loss)
        except Exception:  # a shape that is computed from it, say
            return True


def is_compiled(held: Held) -> bool:
    """Return whether a compiled region made a node of the graph of the loss; a walk runs it uncompiled."""
    graph = held.graph()
    return graph is not None and any(_COMPILED in node.name() for node in graph.nodes)


def cuts(ops: Iterable[Op]) -> list[Op]:
    """Return the operations at which paths end, one for each line; those that are only a choice last."""
    found = {op.line(): op for op in ops if op.cut}
    return sorted(found.values(), key=lambda op: op.whole)


def _anything(_: Tensor, __: Tensor) -> bool:
    return True
