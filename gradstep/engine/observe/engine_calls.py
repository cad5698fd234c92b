"""The backwards that a forward runs by itself, such as the `torch.autograd.grad` of a gradient penalty, call by call.

`torch.autograd` reaches its engine by one name, which every way to it goes through: functions that were bound before,
and a checkpoint's inner backward, too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import Any

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, Owners, leaf_tensor, record
from gradstep.engine.observe.compiled import REPLACED
from gradstep.engine.observe.functions import is_unobserved
from gradstep.engine.observe.source_lines import Lines

ENGINE_CALLS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward")
"""What the ops that call the engine are called."""


@dataclass(frozen=True)
class EngineCall:
    """One call of autograd's engine."""

    name: str
    """`torch.autograd.grad` or `torch.autograd.backward`."""
    outputs: tuple[Any, ...]
    """What is differentiated: tensors, or gradient edges."""
    gradients: tuple[Tensor | None, ...]
    """v for each of them."""
    inputs: tuple[Any, ...]
    """With respect to what; empty for every leaf."""

    @property
    def seen_through(self) -> bool:
        """True where the nodes that it runs can be stopped at: no vmap or other transform runs over them."""
        functorch = torch._C._functorch
        tensors = [each for each in (*self.outputs, *self.gradients) if isinstance(each, Tensor)]
        return (
            functorch.peek_interpreter_stack() is None
            and not any(functorch.is_legacy_batchedtensor(tensor) for tensor in tensors)
            and all(isinstance(each, Tensor) and each.grad_fn is not None for each in self.outputs)
        )

    def graph(self, owners: Owners, lines: Lines | None) -> GraphRecord:
        """Return the graph that it runs through; nodes that it leaves out are in it too, see `needed`."""
        return record(tuple(dict.fromkeys(output.grad_fn for output in self.outputs)), owners, lines)

    def needed(self, graph: GraphRecord) -> frozenset[int]:
        """Return the nodes that lead to an input: of a `grad` no others are run."""
        if not self.inputs:
            return frozenset(range(len(graph.nodes)))
        ends = {each.grad_fn for each in self.inputs if isinstance(each, Tensor)} - {None}
        ends |= {each.node for each in self.inputs if not isinstance(each, Tensor)}
        leaves = {id(each) for each in self.inputs if isinstance(each, Tensor)}
        found: set[int] = set()
        for number in range(len(graph.nodes) - 1, -1, -1):  # every node stands before those that it leads to
            node = graph.nodes[number]
            leads = any(target in found for target in graph.edges[number])
            if leads or node in ends or id(leaf_tensor(node)) in leaves:
                found.add(number)
        return frozenset(found)


Around = Callable[[EngineCall], AbstractContextManager[None]]


@contextmanager
def tap_engine(around: Around) -> Iterator[None]:
    """Have each call of the engine on this thread stand inside what `around` returns, for as long as the block lasts.

    A call that is made within another one is part of that.
    """
    autograd: Any = torch.autograd
    tap = _Tap(around, get_ident())
    try:
        if not _TAPS:
            _RUN[:] = [autograd._engine_run_backward]
            autograd._engine_run_backward = _tapped
            REPLACED.append((autograd, "_engine_run_backward", _RUN[0], _tapped))
        _TAPS.append(tap)
        yield
    finally:
        if tap in _TAPS:
            _TAPS.remove(tap)
        if not _TAPS and autograd._engine_run_backward is _tapped:
            autograd._engine_run_backward = _RUN[0]
            REPLACED[:] = [entry for entry in REPLACED if entry[3] is not _tapped]


@dataclass(eq=False)
class _Tap:
    """Who is told of the calls on one thread."""

    around: Around
    thread: int
    within: bool = False


_TAPS: list[_Tap] = []
"""Those that stand, of all threads: taps of two sessions may end in any order."""
_RUN: list[Callable[..., Any]] = []
"""What the taps stand in the place of."""


def _tapped(
    outputs: Sequence[Any], gradients: Any, retain: Any, create: Any, inputs: Any, *more: Any, **also: Any
) -> Any:
    taps = [tap for tap in _TAPS if tap.thread == get_ident() and not tap.within and not is_unobserved()]
    name = f"torch.autograd.{sys._getframe(1).f_code.co_name}"
    with ExitStack() as stack:
        for tap in taps:
            tap.within = True
            stack.callback(setattr, tap, "within", False)
            stack.enter_context(tap.around(EngineCall(name, tuple(outputs), tuple(gradients), tuple(inputs))))
        return _RUN[0](outputs, gradients, retain, create, inputs, *more, **also)
