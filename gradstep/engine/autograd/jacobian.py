"""J^T v of one node, as the engine passes it on, and the node's Jacobian J: all of it, some rows, or one column."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.buffers import is_freed, is_written
from gradstep.engine.autograd.graph import leaf_tensor, node_name
from gradstep.engine.autograd.nested_shapes import is_ragged
from gradstep.engine.autograd.saved_values import has_hooks, is_function

Reason = Literal[
    "leaf",
    "freed",
    "written",
    "hooked",
    "custom",
    "checkpoint",
    "compiled",
    "nothing",
    "complex",
    "nested",
    "failed",
    "infinite",
]

CAP = 1 << 20
"""Elements up to which all of J is computed unasked."""
WORK = 1 << 22
"""Elements that a node may compute for a window of J: each row of J costs one run of the node."""


@dataclass(frozen=True)
class Refusal:
    """The reason why J^T v or J is not computed."""

    kind: Reason
    why: str


_HOOKED = Refusal("hooked", "a hook packed its saved tensors (checkpoint, offloading): reading them would run the hook")


class _RanPythonError(Exception):
    """Raised instead of running a node's Python code."""


def refusal(node: Node, asked: bool = False) -> Refusal | None:
    """Return why a node must not run again; None if it may.

    Args:
        node: the node.
        asked: True if the user asked for it: a custom Function may then run.
    """
    name = node_name(node)
    if leaf_tensor(node) is not None:
        return Refusal("leaf", "adds v to .grad")
    if name == "CheckpointFunctionBackward":
        return Refusal("checkpoint", "an activation checkpoint: its backward runs its forward again")
    if has_hooks(node):
        return _HOOKED
    if is_freed(node):
        return Refusal("freed", "backward freed its saved tensors when it ran")
    if is_written(node):
        return Refusal("written", "a saved tensor was modified in place since: torch will refuse to run this node")
    if name == "CompiledFunctionBackward":
        return Refusal("compiled", "a compiled region: its backward may reuse the saved memory, and runs only once")
    if is_function(node) and not asked:
        return Refusal("custom", "a custom Function: its backward runs again only on request")
    return None


def vjp(
    node: Node, arrived: Sequence[Tensor | None] | Tensor, asked: bool = False
) -> tuple[Tensor | None, ...] | Refusal:
    """Return J^T v for each of the node's `next_functions`, bit for bit what the engine passes on.

    No hook runs and nothing is freed. An edge without a next node gets None, whatever the node computes for it.

    Args:
        node: the node.
        arrived: v for each output of the forward operation, None where no gradient arrives. Pass the engine's own
            tensors: a copy may have other strides, with which sums differ in their last bits.
        asked: run the backward of a custom Function, too; random generators are restored after it.
    """
    refused = refusal(node, asked)
    if refused is not None:
        return refused
    given = (arrived,) if isinstance(arrived, Tensor) else tuple(arrived)
    try:
        with torch.no_grad():
            return _passed_on(node, _run(node, given))
    except _RanPythonError:
        return _HOOKED
    except Exception as error:
        return Refusal("freed" if "second time" in str(error) else "failed", str(error).splitlines()[0])


class Jacobian:
    """J of one output and one input of a node's operation: J[r, c] is ∂ output r / ∂ input c.

    The elements of both are indexed flat, as by `flatten`. Only what is requested is computed.
    """

    def __init__(self, node: Node, edge: int, output: int) -> None:
        self.node, self.edge, self.output = node, edge, output
        following, place = node.next_functions[edge]
        here, there = node._input_metadata, following._input_metadata[place]  # type: ignore[union-attr]
        self.out_shape = tuple(int(size) for size in here[output].shape)
        self.in_shape = tuple(int(size) for size in there.shape)
        self.dtype: torch.dtype = here[output].dtype
        self.device: torch.device = here[output].device
        self.in_dtype: torch.dtype = there.dtype
        self._outputs = len(here)
        self.shape = (math.prod(self.out_shape), math.prod(self.in_shape))
        every = sum(math.prod(f._input_metadata[p].shape) for f, p in node.next_functions if f is not None)
        self.row_cost = every + self.shape[0]
        """Elements that the node computes for one row of J."""

    @property
    def elements(self) -> int:
        """Number of elements of J."""
        return self.shape[0] * self.shape[1]

    def times(self, v: Tensor) -> Tensor:
        """Return J^T v, of the input's shape, for v of the output's shape."""
        with torch.no_grad():
            return self._times(v)

    def rows(self, first: int, count: int) -> Tensor:
        """Return rows of J: (count, elements of the input)."""
        made = []
        chunk = max(1, WORK // max(1, self.row_cost))
        for start in range(first, first + count, chunk):
            here = torch.arange(start, min(start + chunk, first + count), device=self.device)
            units = torch.zeros(len(here), self.shape[0], dtype=self.dtype, device=self.device)
            units[torch.arange(len(here), device=self.device), here] = 1
            made.append(self._times_each(units.reshape(len(here), *self.out_shape)))
        return torch.cat(made) if made else torch.zeros(0, self.shape[1], dtype=self.in_dtype, device=self.device)

    def along(self, u: Tensor) -> Tensor | None:
        """Return J u, of the output's shape, for u of the input's shape; None when torch can't compute it.

        J^T v is linear in v, so the gradient of u · (J^T v) with respect to v is J u.
        """
        start = torch.zeros(self.out_shape, dtype=self.dtype, device=self.device)
        with torch.no_grad():
            try:
                back = torch.func.vjp(self._times, start)[1]
                (made,) = back(u)
            except RuntimeError:  # the node has no double backward
                return None
        found: Tensor = made.detach()
        return found

    def column(self, number: int) -> Tensor | None:
        """Return one column of J: (elements of the output,); None when torch can't compute it."""
        unit = torch.zeros(self.shape[1], dtype=self.in_dtype, device=self.device)
        unit[number] = 1
        column = self.along(unit.reshape(self.in_shape))
        return None if column is None else column.flatten()

    def whole(self) -> Tensor:
        """Return all of J; check `fits` first."""
        return self.rows(0, self.shape[0])

    @property
    def fits(self) -> bool:
        """True when J is small enough to be computed unasked."""
        return self.elements <= CAP and self.row_cost * self.shape[0] <= WORK

    def rows_that_fit(self, count: int) -> int:
        """Return how many of `count` rows can be computed unasked."""
        return int(min(count, self.shape[0], WORK // max(1, self.row_cost)))

    def _times(self, v: Tensor) -> Tensor:
        arrived = [v if i == self.output else None for i in range(self._outputs)]
        made = _passed_on(self.node, _run(self.node, arrived))[self.edge]
        if made is None:
            return torch.zeros(self.in_shape, dtype=self.in_dtype, device=self.device)
        return made if made.layout is torch.strided else made.to_dense()

    def _times_each(self, units: Tensor) -> Tensor:
        """Return J^T v for each v of a batch, flat."""
        with torch.no_grad():
            if not is_function(self.node) and len(units) > 1:
                try:
                    with warnings.catch_warnings():  # vmap warns when it falls back to a loop
                        warnings.simplefilter("ignore")
                        made: Tensor = torch.func.vmap(self._times)(units)
                    return made.reshape(len(units), self.shape[1])
                except RuntimeError:  # an operation that can't be batched
                    pass
            return torch.stack([self.times(unit).flatten() for unit in units])


def jacobian(node: Node, edge: int, output: int = 0, asked: bool = False) -> Jacobian | Refusal:
    """Return the Jacobian of a node for one of its `next_functions`; nothing is computed yet.

    Args:
        node: the node.
        edge: the index in `next_functions`.
        output: which output of the forward operation.
        asked: run the backward of a custom Function, too.
    """
    refused = refusal(node, asked)
    if refused is not None:
        return refused
    if edge >= len(node.next_functions) or node.next_functions[edge][0] is None:
        return Refusal("nothing", "this input does not require grad")
    if is_ragged(node) or is_ragged(node.next_functions[edge][0]):  # type: ignore[arg-type]
        return Refusal("nested", "nested tensors: rows of different lengths have no single J")
    found = Jacobian(node, edge, output)
    if found.dtype.is_complex or found.in_dtype.is_complex:
        return Refusal("complex", "complex numbers: backward does not compute Jᵀv of a real J")
    return found


def _run(node: Any, arrived: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Run a node's own backward, without hooks and without the next nodes."""
    if is_function(node):
        return _run_function(node, arrived)
    # CopySlices hides the node of the in-place write, which can't be checked for unpack hooks
    made = _run_without_python(node, arrived) if "CopySlices" in node.name() else node(*arrived)
    return made if isinstance(made, tuple) else (made,)


def _run_function(node: Any, arrived: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    if any(v is None for v in arrived):
        raise RuntimeError(
            "no gradient arrives for one of its outputs, and what its backward would be passed is unknown"
        )
    with torch.random.fork_rng(devices=[v.device for v in arrived if v is not None and v.device.type == "cuda"]):
        made = node.apply(*arrived)
    results = made if isinstance(made, tuple) else (made,)
    # it returns one gradient for each argument of its forward; only tensors have an edge
    wanted = iter([result for result, needed in zip(results, node.needs_input_grad, strict=False) if needed])
    return tuple(None if following is None else next(wanted, None) for following, _ in node.next_functions)


def _run_without_python(node: Any, arrived: Sequence[Tensor | None]) -> Any:
    """Run a node; raise before the first line of any Python function that it calls.

    Raises:
        _RanPythonError: it called one.
    """
    if sys.getprofile() is not None:  # a profiler is running: it could not be restored
        raise _RanPythonError

    def refuse(_frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            raise _RanPythonError

    sys.setprofile(refuse)
    try:
        return node(*arrived)
    finally:
        sys.setprofile(None)


def _passed_on(node: Node, made: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """Return a node's results as the engine passes them on (torch/csrc/autograd/engine.cpp, `validate_outputs`)."""
    return tuple(
        None if result is None or following is None else _as_the_engine(result, following, place)
        for result, (following, place) in zip(made, node.next_functions, strict=True)
    )


def _as_the_engine(result: Tensor, following: Node, place: int) -> Tensor:
    metadata: Any = following._input_metadata[place]
    shape = tuple(metadata.shape)
    if tuple(result.shape) != shape:
        result = result.sum_to_size(shape)
    leaf = leaf_tensor(following)
    dtype = metadata.dtype if leaf is None else getattr(leaf, "grad_dtype", leaf.dtype)
    if dtype is not None and result.dtype != dtype:
        result = result.to(dtype)
    return result.to(metadata.device) if result.device != metadata.device and not result.dim() else result
