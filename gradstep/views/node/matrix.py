"""The view of a node's Jacobian: its structure, a window of it, and its check against finite differences."""

from __future__ import annotations

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.finite_differences import compare
from gradstep.engine.autograd.function_check import check_function
from gradstep.engine.autograd.jacobian import WORK, Jacobian, Refusal, jacobian
from gradstep.engine.autograd.saved_values import is_function
from gradstep.engine.autograd.structure import Structure, structure_of
from gradstep.engine.observe.functions import Applied
from gradstep.values.views.node import LookNode, MatrixPart, Rows
from gradstep.views.node.flow import start
from gradstep.views.node.strip import strip_of

KEPT = 8
"""Maximum number of structures that are cached at one stop."""


class MatrixViewer:
    """Makes views of Jacobians; caches the structures found at this stop."""

    def __init__(self) -> None:
        self._stop = -1
        self._known: dict[tuple[Node, int, int, bool], Structure] = {}

    def part(
        self,
        stop: int,
        node: Node,
        edge: int,
        output: int,
        request: LookNode,
        applied: Applied,
        v: Tensor | None = None,
        left: Tensor | None = None,
    ) -> MatrixPart:
        """Return the view of J for one output and one input of a node; v and J^T v choose a row or column of it.

        `applied` has the inputs of the custom Functions of the forward: to check one, it is applied to them again.
        """
        found = jacobian(node, edge, output, request.run)
        if isinstance(found, Refusal):
            part = MatrixPart(edge, output, 0, 0, note=found.why)
            return self._checked(part, node, applied) if request.check and is_function(node) else part
        part = MatrixPart(edge, output, *found.shape)
        structure = self._structure(stop, found, request.insist)
        known = structure.name != "not known"
        part = replace(part, structure=structure.name if known else "", words=structure.words if known else "")
        part = self._window(part, found, structure, request)
        if request.strip:
            part = replace(part, strip=strip_of(found, request, v, left))
        return self._checked(part, node, applied) if request.check else part

    def _structure(self, stop: int, found: Jacobian, insist: bool) -> Structure:
        if stop != self._stop or len(self._known) > KEPT:
            self._stop, self._known = stop, {}
        key = (found.node, found.edge, found.output, insist)
        if key not in self._known:
            self._known[key] = structure_of(found, insist)
        return self._known[key]

    def _window(self, part: MatrixPart, found: Jacobian, structure: Structure, request: LookNode) -> MatrixPart:
        top = _place(request.row, found.out_shape, request)
        left = _place(request.column, found.in_shape, request)
        top, left = start(part.rows, top, request.rows), start(part.columns, left, request.columns)
        count, across = min(request.rows, part.rows - top), min(request.columns, part.columns - left)
        part = replace(part, top=top, left=left)
        diagonal = structure.diagonal
        if diagonal is not None:
            values = diagonal[top : top + count].tolist()
            cells = [[values[r] if top + r == left + c else 0.0 for c in range(across)] for r in range(count)]
            zeros, ones = int((diagonal == 0).sum()), int((diagonal == 1).sum())
            return replace(part, window=_rows(cells), zeros=zeros, ones=ones)
        if not request.insist and found.rows_that_fit(count) < count:
            most = WORK // count
            why = f"one row of J takes {found.row_cost:,} elements of work in this node, more than {most:,}"
            return replace(part, note=f"{why}: it is computed on request")
        return replace(part, window=_rows(found.rows(top, count)[:, left : left + across].to(torch.float64).tolist()))

    def _checked(self, part: MatrixPart, node: Node, applied: Applied) -> MatrixPart:
        found = check_function(node, applied) if is_function(node) else (compare(node, part.edge, part.output),)
        known = [each.agrees for each in found if each.agrees is not None]
        return replace(part, agrees=all(known) if known else None, check="\n".join(each.words for each in found))


def _place(asked: int | None, shape: tuple[int, ...], request: LookNode) -> int:
    """Return where a window of J begins along one side: as requested, or at the vector's first element."""
    if asked is not None:
        return asked
    if len(shape) < 2:
        return request.top
    return start(shape[-2], request.top, request.rows) * shape[-1] + start(shape[-1], request.left, request.columns)


def _rows(cells: list[list[float]]) -> Rows:
    return tuple(tuple(row) for row in cells)
