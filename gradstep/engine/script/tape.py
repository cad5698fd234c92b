"""A forward of a script as a list of calls, from the first module to the loss, that can be made again on a copy.

Kept are the calls of outermost modules and the operations between them, not what runs inside a module. What Python
computes with numbers between them, and which branches it takes, is as it was in this forward.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from gradstep.engine.observe.stream import CallEntered, CallLeft, Consumer, FunctionEntered, FunctionLeft, OpRan

_READS = frozenset({"backward", "__repr__", "__format__", "size", "dim", "item", "tolist", "register_hook"})

_LOSSES = frozenset(name for name in vars(nn.functional) if name.endswith(("_loss", "cross_entropy", "_with_logits")))
"""The names of torch's loss functions: prediction and target are their first arguments."""


class Made(NamedTuple):
    """A tensor that an earlier call returned: the number of the call, and of the leaf in what it returned."""

    call: int
    leaf: int


class Given(NamedTuple):
    """A tensor that no call of the tape returned: the batch, or a parameter."""

    number: int


class Call(NamedTuple):
    """One call: of a module, an operation, or the `apply` of a custom Function."""

    function: Any
    leaves: tuple[Any, ...]
    """The leaves of arguments and keyword arguments: `Made`, `Given`, or a value."""
    spec: Any


class Tape:
    """Records the calls of one forward."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.given: list[Tensor] = []
        self.loss: Made | None = None
        """Where the loss is among what the calls returned; None until it is known."""
        self.written: set[int] = set()
        """The numbers of given tensors that a call writes in place."""
        self.lost: list[str] = []
        """Tensors with a graph that no call of the tape returned, in words."""
        self._made: dict[int, Made] = {}
        self._given: dict[int, Given] = {}
        self._alive: list[Any] = []
        self._depth = 0
        """The calls of modules and Functions that run: what they call is theirs."""
        self._pending: list[tuple[Any, Any]] = []

    def consumer(self) -> Consumer:
        """Return what is to be subscribed."""
        return {
            CallEntered: lambda event: self.begin(event.module, event.args, event.kwargs),
            CallLeft: lambda event: self.end(event.output, event.raised),
            FunctionEntered: lambda event: self.begin(event.function.apply, event.args, {}),
            FunctionLeft: lambda event: self.end(event.result, event.raised),
            OpRan: self._ran,
        }

    def begin(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Note a call that begins."""
        self._depth += 1
        if self._depth == 1:
            self._pending.append((function, self._arguments(args, kwargs)))

    def end(self, result: Any, raised: bool) -> None:
        """Note that it has ended."""
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self._pending:
            function, (leaves, spec) = self._pending.pop()
            if not raised:
                self._add(Call(function, leaves, spec), result)

    def made(self, node: Node) -> tuple[str, Tensor] | None:
        """Return the operation or module that returned the tensor of a node, and the tensor; before `finish`."""
        for call, result in zip(self.calls, self._alive, strict=True):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.grad_fn is node:
                    function = call.function
                    own = type(function).__name__ if isinstance(function, nn.Module) else function.__name__
                    return own, leaf
        return None

    def target(self) -> Tensor | None:
        """Return the target of the last loss function that was called; None where none of torch's was."""
        for call in reversed(self.calls):
            own = type(call.function).__module__ if isinstance(call.function, nn.Module) else ""
            if own == nn.modules.loss.__name__ or getattr(call.function, "__name__", "") in _LOSSES:
                second = call.leaves[1] if len(call.leaves) > 1 else None
                return self.given[second.number] if isinstance(second, Given) else None
        return None

    def finish(self, loss: Tensor | None) -> None:
        """Note the loss, and let go of what was only kept to recognise it."""
        self.loss = None if loss is None else self._made.get(id(loss))
        self._made, self._given, self._alive, self._pending = {}, {}, [], []

    def _ran(self, event: OpRan) -> None:
        name = getattr(event.func, "__name__", "")
        tensors = any(isinstance(leaf, Tensor) for leaf in tree_leaves(event.result))
        if self._depth or name in _READS or not (tensors or name == "__setitem__"):
            return
        call = Call(event.func, *self._arguments(event.args, event.kwargs))
        if _writes(name) and call.leaves and isinstance(call.leaves[0], Given):
            self.written.add(call.leaves[0].number)
        self._add(call, event.result)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
        leaves, spec = tree_flatten((args, dict(kwargs)))
        return tuple(self._argument(leaf) for leaf in leaves), spec

    def _argument(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        made = self._made.get(id(leaf))
        if made is not None:
            return made
        if id(leaf) not in self._given:
            if leaf.grad_fn is not None:
                self.lost.append(
                    f"a tensor of {'×'.join(map(str, leaf.shape)) or 'one number'} with a graph of its own"
                )
            self._given[id(leaf)] = Given(len(self.given))
            self.given.append(leaf)
        return self._given[id(leaf)]

    def _add(self, call: Call, result: Any) -> None:
        number = len(self.calls)
        self.calls.append(call)
        self._alive.append(result)
        for i, leaf in enumerate(tree_leaves(result)):
            if isinstance(leaf, Tensor):
                self._made[id(leaf)] = Made(number, i)

    def copied(self, memo: dict[int, Any]) -> Tape:
        """Return a copy on copies of its modules and tensors; `memo` is that of `copy.deepcopy`, with the models."""
        other = Tape()
        other.loss, other.lost, other.written = self.loss, self.lost, self.written
        other.given = [_copy(tensor, memo) for tensor in self.given]
        for function, leaves, spec in self.calls:
            fresh = tuple(_copy(leaf, memo) if isinstance(leaf, nn.Module) else leaf for leaf in leaves)
            bound = copy.deepcopy(function, memo) if isinstance(function, nn.Module) else function
            other.calls.append(Call(bound, fresh, spec))
        return other

    def play(self, given: Sequence[Tensor]) -> Tensor:
        """Make the calls again; return the loss.

        Args:
            given: what stands for `Tape.given`.
        """
        results: list[list[Any]] = []
        given = [each.clone() if number in self.written else each for number, each in enumerate(given)]

        def leaf_of(leaf: Any) -> Any:
            if isinstance(leaf, Made):
                return results[leaf.call][leaf.leaf]
            return given[leaf.number] if isinstance(leaf, Given) else leaf

        for function, leaves, spec in self.calls:
            args, kwargs = tree_unflatten([leaf_of(leaf) for leaf in leaves], spec)
            results.append(tree_leaves(function(*args, **kwargs)))
        assert self.loss is not None
        loss: Tensor = results[self.loss.call][self.loss.leaf]
        return loss


def _writes(name: str) -> bool:
    """Return whether an operation writes its first argument in place, by its name."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or (name.startswith("__i") and name not in ("__invert__", "__index__"))


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    """Return a copy; of a tensor with a graph, one without."""
    if isinstance(value, Tensor) and value.grad_fn is not None and id(value) not in memo:
        return value.detach().clone()
    return copy.deepcopy(value, memo)
