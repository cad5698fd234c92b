"""The Stack view: the script's frames, and the variables of the selected one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import NamedTuple

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.script.stack import Stack
from gradstep.values.expressions import name_line
from gradstep.values.views.stack import LookStack, StackFrame, StackView, Variable
from gradstep.views.numbers import Norms
from gradstep.views.script.variables import items_of, variable_of

_LEFT_OUT = (ModuleType, FunctionType, BuiltinFunctionType, MethodType, type)
"""Kinds of values that say where code is, not what it computes with."""
_MOST = 200
"""Maximum number of frames: a recursion may have a thousand."""
_DEEPEST = 8
"""Maximum depth of items in items."""


class _Row(NamedTuple):
    name: str
    path: str
    value: object
    depth: int


def stack_view(stop: int, stack: Stack, request: LookStack, scope: HeldScope, norms: Norms) -> StackView:
    """Return the frames, and the requested rows of the variables of the selected one."""
    entries = stack.entries
    if not entries:
        return StackView(stop, note="The script has no frame: it has ended.")
    frames = tuple([StackFrame(each.source, each.library) for each in entries[:_MOST]])
    selected = stack.number
    with unobserved():
        rows = list(_with_items(_locals(entries[selected].frame, scope), request.opened))
        first = max(0, min(request.first, len(rows) - request.count))
        shown = rows[first : first + request.count]
        made = tuple([_described(row, request.opened, norms) for row in shown])
    return StackView(stop, frames, selected, made, first, len(rows))


def _locals(frame: FrameType, scope: HeldScope) -> Iterator[_Row]:
    """Yield the local variables of a frame, tensors first; those without a name in expressions have no path."""
    named = sorted(frame.f_locals.items(), key=lambda each: not issubclass(type(each[1]), Tensor))
    for name, value in named:
        if not name.startswith("__") and not issubclass(type(value), _LEFT_OUT):
            yield _Row(name, name_line(name) if scope.means(name, value) else "", value, 0)


def _with_items(rows: Iterable[_Row], opened: Collection[str]) -> Iterator[_Row]:
    """Yield rows, and below each that is open its items."""
    for row in rows:
        yield row
        if row.path in opened and row.depth < _DEEPEST:
            items = [
                _Row(label, f"{row.path}.{part}" if part else "", value, row.depth + 1)
                for label, part, value in items_of(row.value)
                if not issubclass(type(value), _LEFT_OUT)
            ]
            yield from _with_items(items, opened)


def _described(row: _Row, opened: Collection[str], norms: Norms) -> Variable:
    made = variable_of(row.name, row.value, norms)
    return replace(
        made,
        path=row.path,
        depth=row.depth,
        opens=made.opens and bool(row.path),
        opened=made.opens and row.path in opened,
    )
