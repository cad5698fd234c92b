"""Assignment by `set`: the target on its left side, and the value of its right side."""

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
"""Elements up to which all are listed; of more, the norm is shown."""


class AssignTarget(NamedTuple):
    """The target of a `set`: a hyper-parameter of some groups, a `.grad`, or another tensor; or a part of one."""

    kind: Kind
    name: str
    """The key of a hyper-parameter, the parameter of a `.grad`, else the tensor."""
    line: str
    """As typed."""
    torch: str
    """The same in PyTorch."""
    items: tuple[Item, ...] = ()
    tensor: Tensor | None = None
    """The whole tensor; None if it does not exist yet."""
    groups: tuple[dict[str, Any], ...] = ()

    def at(self, tensor: Tensor) -> AssignTarget:
        """Return this target in a newly created tensor."""
        return self._replace(tensor=tensor)

    def words(self) -> str:
        """Return the present value, as text."""
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
            kind = "quantized" if self.tensor.is_quantized else layout_name(self.tensor)
            remedy = (
                f"`set {self.name}.grad = none`, or zero_grad" if self.kind == "grad" else "convert it in the factory"
            )
            raise wrong(f"{self.line} can't be written", f"torch can't write elements of a {kind} tensor", remedy)
        made = as_tensor(list(value) if isinstance(value, tuple) else value, self.tensor).detach()
        with torch.no_grad():
            # a copy: source and target may overlap
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
    """Return the target that the left side of a `set` names.

    Raises:
        GradstepError: it can't be written.
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
            raise wrong(f"there is no {base.name} to set", line, remedy, base.name)
    path, items, tensor = split_selection(target, scope)
    owner = path.removesuffix(".grad")
    if path != owner and any(name == owner for name, _ in held.parameters):
        return AssignTarget("grad", owner, line, _torch(path, items), items, tensor)
    given = path.partition(".")[0] in ("input", "target", "batch")
    known = path in held.tensor_names() or path in dict(held.parameters) or ".state." in path
    if tensor is None or not (known or given):
        what = "the tensor does not exist yet" if known or given else "it is computed, or defined by a `let`"
        raise wrong(f"{line} can't be written", what, "set a parameter, buffer, .grad, optimizer state, or the batch")
    return AssignTarget("tensor", path, line, _torch(path, items), items, tensor)


def value_of(expression: Expression, scope: Scope, target: AssignTarget | None = None) -> Value:
    """Return the value of the right side of a `set`, or of an optimizer's option.

    Raises:
        GradstepError: it can't be computed, or has a kind that the target does not take.
    """
    value = evaluate(expression, scope)
    hyper = target is None or target.kind == "hyper"
    if hyper and isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, list):
        value = tuple(value)
    plain = value is None or isinstance(value, (bool, int, float, tuple))
    none_fits = hyper or (target is not None and target.kind == "grad" and not target.items)
    if (value is None and not none_fits) or not (plain or (isinstance(value, Tensor) and not hyper)):
        raise wrong("this can't be assigned", f"it is {kind_of(value)}", "", expression_line(expression))
    for old in [_plain(group[target.name]) for group in target.groups] if target is not None else ():
        if not _takes(old, value):
            what = f"it is {_kind_text(value)}, the present value is {_kind_text(old)}"
            raise wrong("this can't be assigned", what, "", expression_line(expression))
    return value  # type: ignore[return-value]


def _takes(old: object, value: object) -> bool:
    """Return whether a hyper-parameter can take a value: torch checks them only when an optimizer is created."""
    if isinstance(old, (tuple, list)):
        return isinstance(value, tuple) and len(value) == len(old) and all(map(_takes, old, value))
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        return old is None or value is None or isinstance(value, bool)
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
