"""What a forward computes from some tensors: each operation with its line, and those that its loss depends on.

What lies between the tensors and the loss is a slice: forward from the tensors, as the operations run, and backward
from the loss, when they have.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils.checkpoint import CheckpointFunction

from gradstep.engine.autograd.graph import Owners, record
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import SourcePlace, op_name, text_of, users_place
from gradstep.engine.observe.stream import (
    CompositeRan,
    Consumer,
    FunctionEntered,
    FunctionLeft,
    ModuleLeft,
    OpRan,
    OpStarts,
)
from gradstep.engine.tensor_trees import tensors_in

START = -1
"""Stands for the tensors that are followed, where an operation is meant."""

_TAKES_OUT = frozenset({"item", "tolist", "numpy", "__float__", "__int__", "__index__", "__complex__", "__array__"})
"""Methods whose result is a number of Python's or an array of numpy's: torch sees nothing of what is made of it."""
_SHAPES_ONLY = frozenset(
    {"new_zeros", "new_ones", "new_empty", "new_full", "zeros_like", "ones_like", "empty_like", "full_like"}
    | {"rand_like", "randn_like", "randint_like", "requires_grad_", "retain_grad"}
)
"""Operations that read no number of the tensor that they are given."""
_SHAPE_OF_OTHER = frozenset({"view_as", "expand_as", "reshape_as", "type_as", "to", "resize_as_"})
"""Operations that read numbers of their first tensor only."""


_SUMS = frozenset(
    {"add", "__add__", "__radd__", "__iadd__", "add_", "sub", "__sub__", "sub_", "__isub__"} | {"stack", "cat"}
)
"""Operations that put terms of a loss together."""


@dataclass
class Op:
    """One operation that was given something computed from the tensors that are followed."""

    name: str
    place: SourcePlace | None
    sources: frozenset[int]
    """The operations whose results it was given, by their places in `Dataflow.ops`; `START` for a followed tensor."""
    cut: str = ""
    """Why no gradient leads back through it; empty where one does."""
    whole: bool = False
    """True where the cut is that its result is whole numbers."""
    reruns: bool = False
    """True for a reentrant checkpoint that backward runs again: what it leads to is in no graph before that."""

    def line(self) -> str:
        """Return the operation with the line that it is written on."""
        return f"{self.name}{at(self.place)}"


def at(place: SourcePlace | None) -> str:
    """Return where something is, to be put behind its name: ` at model.py:12 `, and the text of the line."""
    if place is None:
        return ""
    name = place.file.replace("\\", "/").rpartition("/")[2]
    return f" at {name}:{place.line} `{text_of(place)}`"


class ConstantTerm(NamedTuple):
    """A number that an operation adds to others that have a graph, where it has none itself."""

    total: Node
    """The grad_fn of the sum."""
    op: int
    """The operation that gave it, by its place in `Dataflow.ops`."""
    added: int
    """The operation that adds it."""
    value: float


@dataclass
class _Inside:
    """A custom Function whose forward is running: one operation, whatever it calls."""

    first: int
    """Where the operations that it calls begin in `Dataflow.ops`."""
    reentrant: bool
    required: bool
    """Whether what is followed, of what it was given or what its operations read, requires grad."""
    sources: frozenset[int]
    """What made what it was given."""
    given: bool
    """Whether anything that it was given requires grad."""


class Dataflow:
    """Follows what is computed from some tensors through one forward.

    Args:
        starts: the tensors.
        nudged: which of the numbers that are taken out of torch are changed a little, counted from 0 as they come.
    """

    def __init__(self, starts: Sequence[Tensor], nudged: frozenset[int] = frozenset()) -> None:
        self.ops: list[Op] = []
        self.terms: list[ConstantTerm] = []
        self.taken_out: list[int] = []
        """The operations that take numbers out of torch, as they came."""
        self._known: list[Tensor] = list(starts)  # kept alive, so that no id and no memory is used twice
        self._made = dict.fromkeys(map(id, starts), START)
        self._own = frozenset(map(_address, starts))
        """The memory of the tensors that are followed: others may share it, as the weights of an LSTM on a GPU do."""
        self._memory: dict[int, tuple[int, bool]] = {}
        """For the memory of each known tensor, what wrote it last, and whether that has a history."""
        self._written: dict[int, int] = {}
        self._inside: list[_Inside] = []
        self._rerun: set[int] = set()
        """The operations inside of a reentrant checkpoint."""
        self._off_at: SourcePlace | None = None
        """Where grad mode was switched off last."""
        self._nudged = nudged
        self._reads: list[Tensor] = []
        self._given = self._sources(())
        """What the operation that runs was given, and what made that."""

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Follow what runs in the block, on this thread; what was compiled runs uncompiled."""
        told: Consumer = {
            OpStarts: self._op_starts,
            OpRan: self._op_ran,
            CompositeRan: self._composite,
            ModuleLeft: self._scripted,
            FunctionEntered: self._function_entered,
            FunctionLeft: self._function_left,
        }
        eager = sys.modules.get("torch._dynamo") is not None
        with torch.compiler.set_stance("force_eager") if eager else nullcontext(), observe(told, computes=True):
            yield

    # -- while the forward runs ----------------------------------------------------------------------------------------
    def _op_starts(self, event: OpStarts) -> None:
        own = getattr(event.func, "__name__", "")
        no_numbers = own in _SHAPES_ONLY or (own == "__get__" and op_name(event.func).endswith(".grad.__get__"))
        reads = [] if no_numbers else [t for _, t in (*tensors_in(event.args, ""), *tensors_in(event.kwargs, ""))]
        self._reads = reads[:1] if own in _SHAPE_OF_OTHER else reads
        self._given = self._sources(self._reads)

    def _op_ran(self, event: OpRan) -> Any:
        """Follow through an operation; return its result where that is a number that is to be changed a little."""
        func, args, result = event.func, event.args, event.result
        own, reads, (sources, required, lost) = getattr(func, "__name__", ""), self._reads, self._given
        if own == "_set_grad_enabled":
            self._off_at = None if args[0] else users_place(event.frame)
        if not sources:
            return None
        made = [t for _, t in tensors_in(result, "")]
        if own.endswith("__setitem__") and isinstance(args[0], Tensor):
            made = [args[0]]
        takes_out = not made and own in _TAKES_OUT
        if made or takes_out or own == "__bool__":
            ends = (made or takes_out) and (
                self._in_checkpoint or (required and not any(t.requires_grad for t in made))
            )
            cut, whole = self._cut(func, own, made) if ends else ("", False)
            cut = cut or lost
            if own in _SUMS and len(made) == 1 and made[0].grad_fn is not None:
                self._note_terms(made[0].grad_fn, reads, -1.0 if "sub" in own else 1.0)
            self._note(Op(op_name(func), users_place(event.frame), sources, cut, whole), made, required)
            for tensor in made:
                address = _address(tensor)
                if address and any(tensor is each for each in reads):  # in place: what shares its memory changed too
                    self._written[address] = len(self.ops) - 1
        if not takes_out:
            return None
        self.taken_out.append(len(self.ops) - 1)
        return _nudge(result) if len(self.taken_out) - 1 in self._nudged else None

    def _note_terms(self, total: Node, reads: list[Tensor], sign: float) -> None:
        """Note which of the numbers that are added up were computed from what is followed, and have no graph."""
        for place, tensor in enumerate(reads):
            if tensor.numel() == 1 and not tensor.requires_grad and id(tensor) in self._made:
                value = float(tensor.detach()) * (sign if place else 1.0)
                self.terms.append(ConstantTerm(total, self._made[id(tensor)], len(self.ops), value))

    @property
    def _in_checkpoint(self) -> bool:
        """True in a reentrant checkpoint: it runs without grad mode, and backward runs it again with it."""
        return bool(self._inside) and all(each.reentrant for each in self._inside)

    def _sources(self, tensors: Iterable[Tensor]) -> tuple[frozenset[int], bool, str]:
        """Return what tensors were made by, whether one of those requires grad, and how their graph was lost, if so."""
        found: set[int] = set()
        required, lost = False, ""
        for tensor in tensors:
            by, address = self._made.get(id(tensor)), _address(tensor)
            if by is not None:
                found.add(by)
                required = required or tensor.requires_grad
                if by in self._rerun and not self._inside and not tensor.requires_grad:
                    lost = _ESCAPED
            elif address in self._memory:  # made of a known one behind torch's back: nn.Parameter(h), numpy
                place, history = self._memory[address]
                found.add(place)
                lost = _ALIAS if history and tensor.is_leaf else lost
            if address in self._written:
                found.add(self._written[address])
                required = required or tensor.requires_grad
        return frozenset(found), required, lost

    def _note(self, op: Op, made: Iterable[Tensor], required: bool) -> None:
        self.ops.append(op)
        if self._in_checkpoint:
            self._rerun.add(len(self.ops) - 1)
        for each in self._inside:
            each.required = each.required or required
        for tensor in made:
            if id(tensor) not in self._made:
                self._known.append(tensor)
            self._made[id(tensor)] = len(self.ops) - 1
            address = _address(tensor)
            if address and address not in self._own:
                self._memory[address] = len(self.ops) - 1, tensor.requires_grad

    def _composite(self, event: CompositeRan | ModuleLeft) -> None:
        """Follow through a module that is one operation."""
        module = event.module
        reads = [t for _, t in tensors_in(event.given, "")]
        sources, required, _ = self._sources([*reads, *module.parameters(), *module.buffers()])
        made = [t for _, t in tensors_in(event.output, "")]
        if sources:
            ends = required and not any(t.requires_grad for t in made) and not self._inside
            cut = (self._off() or _NO_GRAD) if ends else ""
            self._note(Op(type(module).__name__, users_place(event.frame), sources, cut), made, required)

    def _scripted(self, event: ModuleLeft) -> None:
        if isinstance(event.module, torch.jit.ScriptModule) and not event.raised:
            self._composite(event)

    def _function_entered(self, event: FunctionEntered) -> None:
        reads = [t for _, t in tensors_in(event.args, "")]
        sources, required, _ = self._sources(reads)
        self._inside.append(
            _Inside(
                len(self.ops),
                event.function is CheckpointFunction,
                required,
                sources,
                any(t.requires_grad for t in reads),
            )
        )

    def _function_left(self, event: FunctionLeft) -> None:
        """Follow through a custom Function as through one operation."""
        inside = self._inside.pop()
        sources = inside.sources | frozenset(range(inside.first, len(self.ops)))
        if event.raised or not sources:
            return
        made = [t for _, t in tensors_in(event.result, "")]
        leads = any(t.requires_grad for t in made)
        cut = ""
        if inside.required and not leads and not self._inside:
            cut = self._off() or (_NO_GRAD if inside.given or not inside.reentrant else _REENTRANT)
        name = "checkpoint(use_reentrant=True)" if inside.reentrant else f"{event.function.__name__}.apply"
        op = Op(name, users_place(event.frame), sources, cut, reruns=inside.reentrant and leads)
        self._note(op, made, inside.required)

    def _cut(self, func: Any, own: str, made: list[Tensor]) -> tuple[str, bool]:
        """Return why no gradient flows back through an operation, and whether that is because it returns whole numbers.

        Inside a custom Function, whose forward runs without grad mode, only what would end the path with it counts.
        """
        if not made:
            return f"`{own}` takes the number out of torch: autograd does not see what is computed from it", False
        if "detach" in own:
            return f"`{own}` {_DETACHED}", False
        if op_name(func).endswith("data.__get__"):
            return f"`.data` {_DETACHED}", False
        if own == "tensor":
            return "`torch.tensor` copies the numbers into a new tensor, which is not part of the graph", False
        if own == "grad":
            return "without `create_graph=True` the gradient that it returns is not part of the graph", False
        if not any(t.is_floating_point() or t.is_complex() for t in made):
            kind = str(made[0].dtype).removeprefix("torch.")
            what = "true or false" if kind == "bool" else "whole numbers"
            return f"it returns {what} ({kind}), and only floating point numbers have a gradient", True
        return ("", False) if self._inside else (self._off() or _NO_GRAD, False)

    def _off(self) -> str:
        """Return that grad mode is off, and where it was switched off; empty where it is on."""
        if torch.is_grad_enabled():
            return ""
        if torch.is_inference_mode_enabled():
            return "grad mode is off here: torch.inference_mode()"
        return f"grad mode is off here: torch.no_grad(){at(self._off_at)}"

    # -- when it has run -----------------------------------------------------------------------------------------------
    def makers(self, loss: Tensor) -> frozenset[int]:
        """Return the operations that made the loss, by their places; empty where it depends on nothing followed."""
        found, _, _ = self._sources([loss])
        if not found and loss.grad_fn is not None:  # through what is not seen, such as a scripted function
            graph = record(loss.grad_fn, Owners())
            nodes = set(graph.nodes)
            found = frozenset(self._made[id(t)] for t in self._known if t.grad_fn in nodes)
        return found

    def before(self, places: Iterable[int]) -> list[Op]:
        """Return some operations, by their places, and those that they depend on, in the order in which they ran."""
        return [self.ops[place] for place in sorted(self._back(places, through_cuts=True)) if place != START]

    def leads_back(self, places: Iterable[int]) -> bool:
        """Return whether a gradient at some operations finds a way back to what is followed."""
        return START in self._back(places, through_cuts=False)

    def _back(self, places: Iterable[int], through_cuts: bool) -> set[int]:
        waiting, reached = list(places), set[int]()
        while waiting:
            place = waiting.pop()
            if place not in reached:
                reached.add(place)
                if place != START and (through_cuts or not self.ops[place].cut):
                    waiting.extend(self.ops[place].sources)
        return reached


_NO_GRAD = "its result does not require grad: torch has no derivative for it"
_REENTRANT = (
    "a reentrant checkpoint computes no gradient for its parameters where none of its inputs requires grad: "
    "use checkpoint(..., use_reentrant=False)"
)
_ALIAS = (
    "it is given the numbers of a tensor that has a graph by a way that autograd does not see, "
    "such as nn.Parameter(h) or a NumPy array"
)
_ESCAPED = (
    "it is given a tensor from inside a reentrant checkpoint, which runs without a graph; only what the checkpoint "
    "returns is part of the graph: use checkpoint(..., use_reentrant=False)"
)
_DETACHED = "returns a tensor that is detached from the graph: no gradient flows back through it"


def _address(tensor: Tensor) -> int:
    """Return the address of a tensor's memory; 0 where it has none of its own."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse, nested, or wrapped by a vmap
        return 0


def _nudge(value: Any) -> Any:
    """Return a number, or all of a list or an array of them, changed a little; of the same type."""
    if isinstance(value, list):
        return [_nudge(each) for each in value]
    if isinstance(value, int):
        return value if isinstance(value, bool) else value + 1
    if isinstance(value, (float, complex)):
        return value + max(abs(value), 1.0) / 64
    return value + 1 if getattr(getattr(value, "dtype", None), "kind", "") in "iufc" else value
