"""A forward of a script as a list of calls, from the first module to the loss, that can be made again on a copy.

Kept are the calls of outermost modules and the operations between them, not what runs inside a module. What Python
computes with numbers between them, and which branches it takes, is as it was in this forward.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from functools import cache
from itertools import groupby
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._pytree import TreeSpec, tree_flatten, tree_leaves, tree_unflatten

from gradstep.engine.observe.stream import CallEntered, CallLeft, Consumer, FunctionEntered, FunctionLeft, OpRan

READS = frozenset({"backward", "__repr__", "__format__", "size", "dim", "item", "tolist", "register_hook"})
"""Operations whose result nothing is computed from, by name."""

_LOSSES = frozenset(name for name in vars(nn.functional) if name.endswith(("_loss", "cross_entropy", "_with_logits")))
"""The names of torch's loss functions: prediction and target are their first arguments."""


class Made(NamedTuple):
    """A tensor that an earlier call returned: the number of the call, and of the leaf in what it returned."""

    call: int
    leaf: int


class Given(NamedTuple):
    """A tensor that no call of the tape returned: the batch, or a parameter."""

    number: int


class Mode(NamedTuple):
    """Grad mode, and autocast by device type with its dtype."""

    grad: bool
    autocast: tuple[tuple[str, torch.dtype], ...]

    @classmethod
    def now(cls) -> Mode:
        """Return the modes of this thread."""
        kinds = [kind for kind in ("cpu", "cuda", "mps") if torch.is_autocast_enabled(kind)]
        return cls(torch.is_grad_enabled(), tuple([(kind, torch.get_autocast_dtype(kind)) for kind in kinds]))

    def enter(self, stack: ExitStack) -> None:
        """Enter them until the stack is closed."""
        stack.enter_context(torch.set_grad_enabled(self.grad))
        for kind, dtype in self.autocast:
            stack.enter_context(torch.autocast(kind, dtype))


class Call(NamedTuple):
    """One call: of a module, an operation, or the `apply` of a custom Function."""

    function: Any
    leaves: tuple[Any, ...]
    """The leaves of arguments and keyword arguments: `Made`, `Given`, or a value."""
    spec: Any
    mode: Mode
    """The modes of torch that it ran in."""


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
        self.opaque: list[str] = []
        """The classes of arguments that hold such tensors inside: a copy would flow into the script's graph."""
        self._made: dict[int, Made] = {}
        self._given: dict[int, Given] = {}
        self._alive: list[Any] = []
        self._depth = 0
        """The calls of modules and Functions that run: what they call is theirs."""
        self._pending: list[tuple[Any, Any, Mode]] = []

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
            self._pending.append((function, self._arguments(args, kwargs), Mode.now()))

    def end(self, result: Any, raised: bool) -> None:
        """Note that it has ended."""
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self._pending:
            function, (leaves, spec), mode = self._pending.pop()
            if not raised:
                self._add(Call(function, leaves, spec, mode), result)

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
        tensors = any(isinstance(leaf, Tensor) for leaf in leaves_of(event.result))
        if self._depth or name in READS or not (tensors or name == "__setitem__"):
            return
        call = Call(event.func, *self._arguments(event.args, event.kwargs), Mode.now())
        if _writes(name) and call.leaves and isinstance(call.leaves[0], Given):
            self.written.add(call.leaves[0].number)
        self._add(call, event.result)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Any]:
        if not kwargs and all(isinstance(each, (Tensor, *_PLAIN)) for each in args):
            return tuple([self._argument(each) for each in args]), _flat(len(args))
        leaves, spec = tree_flatten((args, dict(kwargs)))
        return tuple([self._argument(leaf) for leaf in leaves]), spec

    def _argument(self, leaf: Any) -> Any:
        made = None if _is_plain(leaf) else self._made.get(id(leaf))
        if made is not None:
            return made
        if not isinstance(leaf, Tensor):
            if any(isinstance(each, Tensor) and each.grad_fn is not None for each in leaves_of(leaf)):
                self.opaque.append(type(leaf).__name__)
            return leaf
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
        for i, leaf in enumerate(leaves_of(result)):
            if not _is_plain(leaf):
                self._made[id(leaf)] = Made(number, i)

    def copied(self, memo: dict[int, Any]) -> Tape:
        """Return a copy on copies of its modules and tensors; `memo` is that of `copy.deepcopy`, with the models."""
        other = Tape()
        other.loss, other.lost, other.written = self.loss, self.lost, self.written
        other.given = [_copy(tensor, memo) for tensor in self.given]
        for function, leaves, spec, mode in self.calls:
            fresh = tuple(leaf if _is_fixed(leaf) else copy.deepcopy(leaf, memo) for leaf in leaves)
            bound = copy.deepcopy(function, memo) if isinstance(function, nn.Module) else function
            other.calls.append(Call(bound, fresh, spec, mode))
        return other

    def unscale(self, scales: Sequence[float]) -> bool:
        """Take as the loss what a `GradScaler` has multiplied with one of these scales; return whether it has.

        Call it on a copy: the script's tape keeps its loss.
        """
        if self.loss is None:
            return False
        call = self.calls[self.loss.call]
        factors = [value for leaf in call.leaves if (value := self._factor(leaf)) in scales]
        made = [leaf for leaf in call.leaves if isinstance(leaf, Made) and self._factor(leaf) not in scales]
        if "mul" not in getattr(call.function, "__name__", "") or not factors or len(made) != 1:
            return False
        self.loss = made[0]
        return True

    def _factor(self, leaf: Any) -> float | None:
        """Return the value of a given tensor of one element, also one that `to` has moved or `full` has made."""
        while isinstance(leaf, Made):
            call = self.calls[leaf.call]
            name = getattr(call.function, "__name__", "")
            if name not in ("to", "full"):
                return None
            leaf = next((each for each in call.leaves if name == "to" or isinstance(each, float)), None)
        given = self.given[leaf.number] if isinstance(leaf, Given) else None
        if given is None:
            return leaf if isinstance(leaf, float) else None
        return float(given.detach()) if given.numel() == 1 else None

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
            if isinstance(leaf, Given):
                return given[leaf.number]
            return leaf if _is_fixed(leaf) or isinstance(leaf, nn.Module) else copy.deepcopy(leaf)  # a cache grows

        for mode, calls in groupby(self.calls, lambda call: call.mode):
            with ExitStack() as stack:
                mode.enter(stack)
                for function, leaves, spec, _ in calls:
                    args, kwargs = tree_unflatten([leaf_of(leaf) for leaf in leaves], spec)
                    results.append(leaves_of(function(*args, **kwargs)))
        assert self.loss is not None
        loss: Tensor = results[self.loss.call][self.loss.leaf]
        return loss


def _writes(name: str) -> bool:
    """Return whether an operation writes its first argument in place, by its name."""
    in_place = name.endswith("_") and not name.endswith("__")
    return in_place or name == "__setitem__" or (name.startswith("__i") and name not in ("__invert__", "__index__"))


@cache
def _flat(count: int) -> TreeSpec:
    """Return the structure of so many positional arguments that are leaves."""
    spec: TreeSpec = tree_flatten(((None,) * count, {}))[1]
    return spec


_PLAIN = (int, float, complex, str, bytes, type(None), type(...), slice, torch.dtype, torch.device, torch.layout, Enum)


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN)


def _is_fixed(leaf: object) -> bool:
    """Return whether a leaf of the arguments is used as it is: no call can change it."""
    return isinstance(leaf, (*_PLAIN, Made, Given, torch.memory_format, FunctionType, BuiltinFunctionType, type))


def leaves_of(value: object) -> list[Any]:
    """Return the leaves of what a call returned; of an object such as a Hugging Face model's output, those in it too.

    Nothing of the object is called.
    """
    if isinstance(value, (Tensor, *_PLAIN)):
        return [value]
    found: list[Any] = []
    for leaf in tree_leaves(value):
        found.append(leaf)
        if isinstance(leaf, (Tensor, nn.Module, *_PLAIN, FunctionType, type)):
            continue
        items = list(dict.values(leaf)) if isinstance(leaf, dict) else []
        own = [*items, *getattr(leaf, "__dict__", {}).values()]
        found += [each for each in tree_leaves(own) if isinstance(each, Tensor)]
    return found


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    """Return a copy; of a tensor with a graph, one without."""
    if isinstance(value, Tensor) and value.grad_fn is not None and id(value) not in memo:
        return value.detach().clone()
    return copy.deepcopy(value, memo)
