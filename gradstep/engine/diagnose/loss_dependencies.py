"""The operations between some tensors and the last loss, and where the paths between them end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import Dataflow, Op
from gradstep.engine.stepping.rerun import forward_again, same_way
from gradstep.values.errors import GradstepError, wrong

_COMPILED = "CompiledFunction"
"""Part of the name of a compiled region's node (torch/_functorch/_aot_autograd/runtime_wrappers.py)."""
_TRIED = 8
"""Maximum number of lines with `.item()` or similar that are tried one by one: each takes a forward."""


class LossDependencies:
    """The forward of the last loss, run again to find what the loss depends on between some tensors and itself."""

    def __init__(self, held: Held, starts: Sequence[Tensor]) -> None:
        """Run the forward again.

        Raises:
            GradstepError: it can't run again, or does not repeat.
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
        """True when a path leads from the loss back to the tensors without a break."""
        self.ops = self.flow.before([*made_by, *self._taken_out()])
        """The operations between the tensors and the loss."""

    @property
    def cuts(self) -> list[Op]:
        """The operations at which paths to the loss end."""
        return cuts(self.ops)

    def _run(self, nudged: Iterable[int] = ()) -> tuple[Dataflow, Tensor]:
        """Run the forward; `nudged` are the indices of the numbers read out of torch to change slightly."""
        flow = Dataflow(self._starts, frozenset(nudged))
        loss, _ = forward_again(self._held, flow.watch, _anything if nudged or is_compiled(self._held) else same_way)
        return flow, loss

    def _taken_out(self) -> list[int]:
        """Return the operations that read a number out of torch (`.item()`) that the loss depends on.

        torch does not see what is computed from such a number: the forward runs again with it changed slightly, and if
        the loss stays the same to the last bit it does not depend on it.
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
        except Exception:  # a shape may be computed from it
            return True


def is_compiled(held: Held) -> bool:
    """Return whether a compiled region made a node of the loss's graph."""
    graph = held.graph()
    return graph is not None and any(_COMPILED in node.name() for node in graph.nodes)


def cuts(ops: Iterable[Op]) -> list[Op]:
    """Return the operations at which paths end, one for each source line; those that only choose a branch last."""
    found = {op.line(): op for op in ops if op.cut}
    return sorted(found.values(), key=lambda op: op.whole)


def _anything(_: Tensor, __: Tensor) -> bool:
    return True
