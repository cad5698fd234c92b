"""The Model view: the module tree with every parameter's norm and the state of its `.grad`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.reads import Reading, gather, read, scalars
from gradstep.values.views import LookModel, ModelRow, ModelView
from gradstep.views.numbers import Norms


class ModelViewer:
    """Makes Model views. The tree is walked again only when the modules have other children, parameters or buffers."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._tree: _Tree | None = None
        self._holds = False
        """True while nothing can have changed since the tree was last compared with the modules."""

    def expire(self) -> None:
        """Have the tree compared with the modules again: user code may have run."""
        self._holds = False

    def view(
        self,
        stop: int,
        selected: str,
        changes: Reading[frozenset[str]],
        taken: Norms | None = None,
        request: LookModel | None = None,
    ) -> Reading[ModelView]:
        """Read rows of the module tree, depth first.

        Args:
            stop: the number of the stop it is a view of.
            selected: the path of the selected parameter or buffer; empty for none.
            changes: the names of tensors that the last phase changed, `.grad` included as `2.weight.grad`.
            taken: the norms already computed for the same look.
            request: the rows to read; None for all.
        """
        if self._tree is None or not (self._holds or self._tree.holds()):
            self._tree = _Tree(self._held)
        self._holds = True
        tree, request = self._tree, request or LookModel()
        at = tree.places.get(request.near, -1) if request.near else -1
        first = max(0, min(request.first if at < 0 else at - request.count // 2, len(tree.rows) - request.count))
        window = tree.rows[first : first + request.count]
        rows = yield from self._rows(tree, window, selected, changes, taken or Norms())
        end = first + len(window)
        chosen = tree.places.get(selected, -1) if selected else -1
        return ModelView(
            stop,
            rows,
            sum(map(Tensor.numel, tree.own.values())),
            first,
            len(tree.rows) - end,
            tree.depth,
            tree.later[end],
            selected if chosen >= 0 else "",
            chosen,
            request.near,
            at,
        )

    def _rows(
        self, tree: _Tree, window: Sequence[_Row], selected: str, changes: Reading[frozenset[str]], taken: Norms
    ) -> Reading[tuple[ModelRow, ...]]:
        ledger, names = self._held.ledger, self._held.names
        leaves = {row.path: tree.tensor(row) for row in window if row.kind != "module"}
        tensors = list(dict.fromkeys(tensor for tensor in leaves.values() if tree.has(tensor)))
        with_grad = [(tensor, tensor.grad) for tensor in tensors if tensor in names and tensor.grad is not None]
        changed, norms, of_grads, values = yield from gather(
            [changes, taken.of(tensors), taken.of([grad for _, grad in with_grad]), _only_values(tensors)]
        )
        known = dict(zip(tensors, norms, strict=True))
        grads = dict(zip([tensor for tensor, _ in with_grad], of_grads, strict=True))

        def leaf(row: _Row, tensor: Tensor) -> ModelRow:
            shared = row.shared or row.path
            return ModelRow(
                kind=row.kind,
                name=row.name,
                path=row.path,
                depth=row.depth,
                shape=tuple(tensor.shape),
                dtype=dtype_name(tensor),
                device=str(tensor.device),
                norm=known[tensor] if tensor in known else norm_of(tensor),
                grad=ledger.state(names[tensor], tensor) if tensor in names else "",
                grad_norm=grads.get(tensor),
                shared=row.shared,
                changed=shared in changed,
                selected=row.path == selected,
                grad_changed=f"{shared}.grad" in changed,
                value=values[tensor] if tensor in known else read(_only_values([tensor]))[tensor],
            )

        return tuple(
            [
                ModelRow("module", row.name, row.path, row.depth, type=type(row.module).__name__)
                if row.kind == "module"
                else leaf(row, leaves[row.path])
                for row in window
            ]
        )


_Kind: TypeAlias = Literal["module", "parameter", "buffer"]


class _Row(NamedTuple):
    """A row of the tree, without what may change at a stop."""

    kind: _Kind
    name: str
    path: str
    depth: int
    module: nn.Module
    """The module, or the owner of the tensor."""
    shared: str = ""
    """The first path of the same tensor, when it is shared."""


class _Tree:
    """The rows of a module tree, and what they were made from."""

    def __init__(self, held: Held) -> None:
        self.own: dict[str, Tensor] = dict(held.parameters)
        self._known = set(map(id, chain(self.own.values(), (buffer for _, buffer in held.buffers()))))
        """The tensors that the norms at a stop are kept of: the workload's own."""
        self._first: dict[int, str] = {}
        modules: list[nn.Module] = []
        self.rows = list(self._walk(held.model, "", type(held.model).__name__, 0, modules))
        self.rows += [
            _Row("parameter", name, name, 1, held.model) for name, p in held.parameters if id(p) not in self._first
        ]
        plain = (module for module in modules if not isinstance(module, torch.jit.ScriptModule))  # those never change
        self._dicts: list[dict[str, Any]] = [
            slots for each in plain for slots in (each._parameters, each._buffers, each._modules)
        ]
        self._made_from = self._present()
        self.depth = max(row.depth for row in self.rows)
        self.later = _later(self.rows)
        """For each row, and the end, the depths at which a module that comes after it continues the tree."""
        self.places = {row.path: place for place, row in reversed([*enumerate(self.rows)])}

    def holds(self) -> bool:
        """Return whether the tree is still the same: every module has the very same tensors and children."""
        return self._present() == self._made_from

    def has(self, tensor: Tensor) -> bool:
        """Return whether a tensor is a parameter or a buffer of the workload."""
        return id(tensor) in self._known

    def tensor(self, row: _Row) -> Tensor:
        """Return the tensor of a row that is not a module."""
        # inside a functional_call another tensor is in the parameter's place
        return self.own[row.path] if row.path in self.own else _slots(row.module, row.kind)[row.name]

    def _walk(self, module: nn.Module, path: str, called: str, depth: int, modules: list[nn.Module]) -> Iterator[_Row]:
        modules.append(module)
        yield _Row("module", called, path, depth, module)
        kinds: tuple[_Kind, _Kind] = ("parameter", "buffer")
        for kind in kinds:
            for name, tensor in _slots(module, kind).items():
                if tensor is not None:
                    own = f"{path}.{name}" if path else name
                    first = self._first.setdefault(id(self.own.get(own, tensor)), own)
                    yield _Row(kind, name, own, depth + 1, module, "" if first == own else first)
        for name, child in module.named_children():
            yield from self._walk(child, f"{path}.{name}" if path else name, name, depth + 1, modules)

    def _present(self) -> tuple[list[str], list[int]]:
        """Return the names and the identities of all that the modules have; takes about 1 µs a module."""
        return [*chain.from_iterable(self._dicts)], [*map(id, chain.from_iterable(map(dict.values, self._dicts)))]


def _slots(module: nn.Module, kind: _Kind) -> dict[str, Any]:
    return module._parameters if kind == "parameter" else module._buffers


def _later(rows: Sequence[_Row]) -> list[tuple[int, ...]]:
    known: dict[tuple[int, ...], tuple[int, ...]] = {}
    later: tuple[int, ...] = ()
    found = [later]
    for row in reversed(rows):
        if row.kind == "module":
            later = (*(level for level in later if level < row.depth), row.depth)
            later = known.setdefault(later, later)
        found.append(later)
    return found[::-1]


def _only_values(tensors: Iterable[Tensor]) -> Reading[Mapping[Tensor, float | None]]:
    """Read the values of tensors of one element; None for others."""
    found: dict[Tensor, float | None] = dict.fromkeys(tensors)
    single = [t for t in found if t.numel() == 1 and not (t.is_meta or t.is_complex() or t.is_sparse)]
    found.update(zip(single, (yield from scalars([t.detach().reshape(()) for t in single])), strict=True))
    return found
