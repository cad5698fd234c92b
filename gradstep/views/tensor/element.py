"""The selected element: one number of the selected parameter, shown in Why and the Ledger."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.numbers.selection import Cut, cut, index_text
from gradstep.engine.reads import Reading, scalars_or_none
from gradstep.values.expressions import name_line
from gradstep.views.tensor.view import Selection


@dataclass(frozen=True)
class Element:
    """One element of a parameter."""

    path: str
    """The parameter's name as selected."""
    name: str
    """The name in the state: a shared parameter has several."""
    parameter: Tensor
    index: tuple[int, ...]

    @property
    def cut(self) -> Cut:
        """The element as a part of the tensor."""
        return Cut(self.index)

    def line(self, attribute: str = "") -> str:
        """Return it as an expression, e.g. `2.weight.grad[0, 3]`."""
        return name_line(self.path) + attribute + index_text(self.index)

    def of(self, *tensors: Tensor | None) -> Reading[list[float | None]]:
        """Read the element of tensors of the parameter's shape; None where it can't be read."""
        return scalars_or_none([self._in(tensor) for tensor in tensors])

    def _in(self, tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.is_sparse or tensor.is_meta or tensor.shape != self.parameter.shape:
            return None
        value = tensor.detach()[self.index]
        return None if value.is_complex() else value


def element_of(held: Held, selection: Selection | None, index: tuple[int, ...] | None) -> Element | None:
    """Return the element of an index, or the first of the selection; None when no parameter is selected.

    An index outside of this parameter (the selection has changed since) gives the first, too. A selection of `.grad` or
    of optimizer state selects its parameter.
    """
    if selection is None:
        return None
    path = selection.path
    tensor = held.tensor(path)
    if tensor is None:
        path = path.rpartition(".state.")[0] or path.removesuffix(".grad")
        tensor = held.tensor(path)
    if tensor is None or tensor not in held.names or not tensor.numel():
        return None
    shape = tensor.shape
    if index is None or len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        index = _first(shape, selection.items)
    return Element(path, held.names[tensor], tensor, index)


def _first(shape: tuple[int, ...], items: tuple[object, ...]) -> tuple[int, ...]:
    parts = cut(shape, items).parts
    return tuple((part[0] if part else 0) if isinstance(part, range) else part for part in parts)
