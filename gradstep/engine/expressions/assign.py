"""What `set` writes: the place that its left side names, and the value that its right side gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gradstep.engine.expressions.describe import describe
from gradstep.engine.expressions.evaluate import evaluate, split_selection
from gradstep.engine.expressions.functions import as_tensor, kind_of
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.expressions.names import Scope
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.readable import layout_name
from gradstep.values import expressions as x
from gradstep.values import numbers
from gradstep.values.errors import wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.nearest import did_you_mean

if TYPE_CHECKING:
    from gradstep.engine.held import Held

Value: TypeAlias = "Tensor | float | int | bool | tuple[Any, ...] | None"
Kind: TypeAlias = Literal["hyper", "grad", "tensor"]


_LISTED = 8
"""Elements that are listed one by one; of more, the norm is said."""


class AssignTarget(NamedTuple):
    """What is written: some groups' hyper-parameter, a `.grad`, or another tensor; or a part of one."""

    kind: Kind
    name: str
    """Of a hyper-parameter its key, of a `.grad` its parameter, else the tensor."""
    line: str
    """As it was written."""
    torch: str
    """The same in PyTorch."""
    items: tuple[Item, ...] = ()
    tensor: Tensor | None = None
    """The whole tensor that is written; None where there is none yet."""
    groups: tuple[dict[str, Any], ...] = ()

    def at(self, tensor: Tensor) -> AssignTarget:
        """Return this place in a tensor that was just made for it."""
        return self._replace(tensor=tensor)

    def words(self) -> str:
        """Return what is there now."""
        if self.kind == "hyper":
            values = [_plain(group[self.name]) for group in self.groups]
            return f"{values[0]}" if all(v == values[0] for v in values) else ", ".join(map(str, values))
        if self.tensor is None:
            return "None"
        whole = self.tensor.detach()
        part = whole[self.items] if self.items else whole
        norm = None if part.numel() <= _LISTED else norm_of(part)
        return describe(part) if norm is None else f"norm {numbers.norm(norm)}"

    def put(self, value: Value) -> None:
        """Write a tensor, or a part of it, in place."""
        assert self.tensor is not None
        if self.tensor.layout is not torch.strided or self.tensor.is_nested or self.tensor.is_quantized:
            kind = "quantised" if self.tensor.is_quantized else layout_name(self.tensor)
            remedy = (
                f"`set {self.name}.grad = none`, or zero_grad" if self.kind == "grad" else "convert it in the factory"
            )
            raise wrong(f"{self.line} can't be written", f"torch writes no element of a {kind} tensor", remedy)
        made = as_tensor(list(value) if isinstance(value, tuple) else value, self.tensor).detach()
        with torch.no_grad():
            # a copy: what is read may lie where it is written
            self.tensor[self.items or ...] = made.to(self.tensor.dtype, copy=True)

    def put_hyper(self, value: Value) -> None:
        """Write a hyper-parameter of each of the groups."""
        for group in self.groups:
            old = group[self.name]
            if isinstance(old, Tensor):
                old.fill_(float(value))  # type: ignore[arg-type]
            else:
                group[self.name] = value


def assign_target(held: Held, target: Expression, scope: Scope) -> AssignTarget:
    """Return what the left side of a `set` names.

    Raises:
        GradstepError: it is nothing that can be written.
    """
    base = target.base if isinstance(target, x.Index) else target
    groups = held.optimizer.param_groups
    line = expression_line(target)
    if isinstance(base, x.Name) and not base.quoted and base.name not in held.tensor_names():
        keys = [key for key in groups[0] if key != "params"]
        if base.name in keys:
            return _hyper(base.name, target, groups)
        if base.name not in scope.names() and "." not in base.name:
            names = [*keys, *scope.names()]
            remedy = did_you_mean(base.name, names) or f"hyper-parameters are {', '.join(keys)}"
            raise wrong(f"there is nothing called {base.name} to set", line, remedy, base.name)
    path, items, tensor = split_selection(target, scope)
    owner = path.removesuffix(".grad")
    if path != owner and any(name == owner for name, _ in held.parameters):
        return AssignTarget("grad", owner, line, _torch(path, items), items, tensor)
    given = path.partition(".")[0] in ("input", "target", "batch")
    known = path in held.tensor_names() or path in dict(held.parameters) or ".state." in path
    if tensor is None or not (known or given):
        what = "there is no tensor there yet" if known or given else "it is computed, or kept by a `let`"
        raise wrong(f"{line} can't be written", what, "write a parameter, a buffer, a .grad, a state, or the batch")
    return AssignTarget("tensor", path, line, _torch(path, items), items, tensor)


def value_of(expression: Expression, scope: Scope, place: AssignTarget | None = None) -> Value:
    """Return what the right side of a `set` gives, or an option of an optimizer.

    Raises:
        GradstepError: it can't be computed, or is nothing that can be put there.
    """
    value = evaluate(expression, scope)
    hyper = place is None or place.kind == "hyper"
    if hyper and isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, list):
        value = tuple(value)
    plain = value is None or isinstance(value, (bool, int, float, tuple))
    none_fits = hyper or (place is not None and place.kind == "grad" and not place.items)
    if (value is None and not none_fits) or not (plain or (isinstance(value, Tensor) and not hyper)):
        raise wrong("this can't be put there", f"it is {kind_of(value)}", "", expression_line(expression))
    for there in [_plain(group[place.name]) for group in place.groups] if place is not None else ():
        if not _alike(there, value):
            what = f"it is {_kind_text(value)}, and there is {_kind_text(there)}"
            raise wrong("this can't be put there", what, "", expression_line(expression))
    return value  # type: ignore[return-value]


def _alike(there: object, value: object) -> bool:
    """Return whether a hyper-parameter can take a value: torch checks them only when an optimizer is made."""
    if isinstance(there, (tuple, list)):
        return isinstance(value, tuple) and len(value) == len(there) and all(map(_alike, there, value))
    if isinstance(there, bool) or not isinstance(there, (int, float)):
        return there is None or value is None or isinstance(value, bool)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind_text(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"a list of {len(value)}"
    return "a number" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value).lower()


def _hyper(key: str, target: Expression, groups: list[dict[str, Any]]) -> AssignTarget:
    line = expression_line(target)
    if not isinstance(target, x.Index):
        return AssignTarget(
            "hyper", key, line, f"for group in optimizer.param_groups: group[{key!r}]", groups=tuple(groups)
        )
    index = target.items[0]
    if len(target.items) != 1 or not isinstance(index, x.Number) or index.value not in range(len(groups)):
        what = f"the optimizer has {len(groups)} group{'s' if len(groups) > 1 else ''}, counted from 0"
        raise wrong("there is no such group", what, "", line)
    place = int(index.value)
    return AssignTarget("hyper", key, line, f"optimizer.param_groups[{place}][{key!r}]", groups=(groups[place],))


def _torch(path: str, items: tuple[Item, ...]) -> str:
    return f"{path}[{', '.join(map(_item, items))}]" if items else path


def _item(part: Item) -> str:
    if not isinstance(part, slice):
        return "..." if part is ... else str(part)
    start, stop, step = ("" if value is None else str(value) for value in (part.start, part.stop, part.step))
    return f"{start}:{stop}" + (f":{step}" if step else "")


def _plain(value: object) -> object:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
