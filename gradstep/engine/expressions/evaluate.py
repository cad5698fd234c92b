"""Evaluates expressions at a stop, without `eval`: a script can't run Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from gradstep.engine.expressions.describe import describe
from gradstep.engine.expressions.explain import explain
from gradstep.engine.expressions.functions import FUNCTIONS, as_tensor, kind_of
from gradstep.engine.expressions.indexing import Item, check_index, whole_number
from gradstep.engine.expressions.names import GIVEN, PLACES, Scope, list_some, nothing_there, part_of, resolve
from gradstep.engine.expressions.operators import operate
from gradstep.engine.numbers.readable import dense, dtype_name, flat, part
from gradstep.engine.numbers.selection import cut
from gradstep.values import expressions as x
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.nearest import did_you_mean

_T = TypeVar("_T")

__all__ = [
    "FUNCTIONS",
    "Scope",
    "Selected",
    "describe",
    "evaluate",
    "explain_failure",
    "holds",
    "split_selection",
]

MAX_DEPTH = 120
"""Maximum nesting depth; the parser's own limit is lower."""


class Selected(NamedTuple):
    """The selection of a `show`: the name with its `.grad` if any, the index, and the tensor if it exists now."""

    path: str
    items: tuple[Item, ...]
    tensor: Tensor | None


def evaluate(expression: Expression, scope: Scope) -> object:
    """Return the value of an expression: a tensor (live, not copied), number, boolean, string, list or None.

    Raises:
        GradstepError: a name or function is unknown, shapes do not match, an index is out of range, torch raises, ...;
            the problem's `subject` is the faulty word.
    """
    return _guarded(lambda: _Evaluator(scope).value(expression, 0), expression)


def holds(value: object) -> bool:
    """Return whether a condition holds: a boolean, or a tensor of booleans that are all true.

    Raises:
        GradstepError: it is not a condition, or a tensor without elements.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Tensor) and value.dtype is torch.bool:
        if value.numel() == 0:
            raise wrong("the condition is over no elements", "The slice is empty.", "Widen it.")
        numbers, zeros = flat(value)
        return bool(numbers.all()) and not zeros
    what = f"{kind_of(value)} of {dtype_name(value)}" if isinstance(value, Tensor) else kind_of(value)
    raise wrong("this is not a condition", f"It is {what}.", "Compare it with something, as in `loss > 0`.")


def split_selection(expression: Expression, scope: Scope) -> Selected:
    """Return the selection of a `show`: a tensor, its `.grad` or an entry of its state, or an index into one.

    The index is checked, against the tensor's own shape while its `.grad` is None. The tensor is None when it does not
    exist at this stop (no gradient, no prediction yet).

    Raises:
        GradstepError: it is something else, or there is no such name.
    """
    return _guarded(lambda: _Evaluator(scope).selection(expression), expression)


def explain_failure(expression: Expression, scope: Scope) -> tuple[str, str, str]:
    """Return the expected value, the actual value and their difference for a condition that does not hold."""
    return explain(expression, lambda part: evaluate(part, scope))


def _guarded(run: Callable[[], _T], expression: Expression) -> _T:
    """Run under no_grad, and turn exceptions of torch into a problem."""
    try:
        with torch.no_grad():
            return run()
    except GradstepError:
        raise
    except NotImplementedError as error:  # the message lists every backend
        what = "torch does not implement this operation for such a tensor"
        raise wrong(f"`{expression_line(expression)}` cannot be computed", what, "Slice it first.") from error
    except Exception as error:  # torch raises nearly any type
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise wrong(f"`{expression_line(expression)}` cannot be computed", what) from error


class _Evaluator:
    """Evaluates one expression, recursively."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def value(self, expression: Expression, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise wrong("this expression is nested too deeply", f"The limit is {MAX_DEPTH} levels.")
        below = depth + 1
        match expression:
            case x.Number(number):
                return number
            case x.Constant(word):
                return {"none": None, "true": True, "false": False}[word]
            case x.Text(text):
                return text
            case x.Listing(items):
                return [self.value(item, below) for item in items]
            case x.Name():
                return self.name(expression)
            case x.Index(base, items):
                return self.index(self.value(base, below), base, items, below)
            case x.Attribute():
                return self.attribute(expression, below)
            case x.Call():
                return self.call(expression, below)
            case x.Unary(op, inner):
                return self.unary(op, inner, below)
            case x.Binary(op, left, right):
                return self.binary(op, left, right, below)
            case x.IsNone(inner, negated):
                return (self.value(inner, below) is None) != negated

    # -- names ---------------------------------------------------------------------------------------------------------
    def name(self, name: x.Name) -> object:
        known, value, rest = resolve(name, self.scope)
        for i, word in enumerate(rest):
            value = part_of(value, word, ".".join([known, *rest[:i]]), expression_line(name), self.scope)
        return value

    def attribute(self, expression: x.Attribute, depth: int) -> object:
        """Return an attribute; `w[0].grad` is the slice of the gradient, not the gradient of a slice."""
        names, base = [expression.name], expression.base
        while isinstance(base, x.Attribute):
            names.insert(0, base.name)
            base = base.base
        items: tuple[Expression | x.Span | x.Dots, ...] = ()
        if isinstance(base, x.Index) and names[0] in ("grad", "state"):
            items = base.items
            base = base.base
        value, owner = self.value(base, depth), expression_line(base)
        for name in names:
            value = part_of(value, name, owner, expression_line(expression), self.scope)
            owner = f"{owner}.{name}"
        return value if value is None or not items else self.index(value, base, items, depth)

    # -- indices -------------------------------------------------------------------------------------------------------
    def index(
        self, value: object, base: Expression, items: Sequence[Expression | x.Span | x.Dots], depth: int
    ) -> object:
        name = expression_line(base)
        if isinstance(value, Mapping) and len(items) == 1 and isinstance(items[0], x.Text):
            return part_of(value, items[0].value, name, items[0].value, self.scope)
        if value is None:
            raise nothing_there(name, "There is nothing to index.", self.scope, name)
        made = self.items(items, depth)
        written = [_item_line(item) for item in items]
        if isinstance(value, Tensor):
            return _indexed(value, made, name, written)
        if isinstance(value, (list, tuple)) and made[0] is not ...:
            check_index((len(value),), made, name, written)
            return value[made[0]]
        raise wrong(f"`{name}` cannot be indexed", f"It is {kind_of(value)}.", subject=name)

    def items(self, items: Sequence[Expression | x.Span | x.Dots], depth: int) -> tuple[Item, ...]:
        return tuple(self.item(item, depth) for item in items)

    def item(self, item: Expression | x.Span | x.Dots, depth: int) -> Item:
        def number(part: Expression) -> int:
            return whole_number(self.value(part, depth), expression_line(part))

        match item:
            case x.Dots():
                return ...
            case x.Span(start, stop, step):
                return slice(*(None if part is None else number(part) for part in (start, stop, step)))
            case _:
                return number(item)

    def selection(self, expression: Expression) -> Selected:
        items: tuple[Expression | x.Span | x.Dots, ...] = ()
        target = expression
        if isinstance(target, x.Attribute) and target.name == "grad" and isinstance(target.base, x.Index):
            inner = target.base.base
            items = target.base.items
            target = x.Name(f"{inner.name}.grad", inner.quoted) if isinstance(inner, x.Name) else target
        elif isinstance(target, x.Index):
            items = target.items
            target = target.base
        if not isinstance(target, x.Name):
            remedy = "Show a parameter, a buffer or a slice of one: `show 2.weight[0, 0:10]`."
            raise wrong("only a tensor can be shown", f"`{expression_line(expression)}` is a computed value.", remedy)
        known, owner, rest = resolve(target, self.scope)
        value = self.name(target)
        if isinstance(value, (list, tuple)) and items and isinstance(items[0], x.Number):
            # `node.out[1]` and `batch[0]` are one of several tensors, not a slice of one
            return self.selection(_part(x.Name(f"{target.name}.{items[0].value}", target.quoted), items[1:]))
        written = expression_line(target)
        if not _can_be_shown(known, owner, rest) or not (value is None or isinstance(value, Tensor)):
            raise wrong(f"`{written}` cannot be shown", f"It is {kind_of(value)}.", "Show a tensor.", written)
        made = self.items(items, 0)
        shaped = value if isinstance(value, Tensor) else owner
        if isinstance(shaped, Tensor):
            check_index(shaped.shape, made, written, [_item_line(item) for item in items])
        return Selected(".".join([known, *rest]), made, value if isinstance(value, Tensor) else None)

    # -- operators -----------------------------------------------------------------------------------------------------
    def call(self, call: x.Call, depth: int) -> object:
        function = FUNCTIONS.get(call.function)
        if function is None:
            remedy = did_you_mean(call.function.rpartition(".")[2], FUNCTIONS) or list_some(tuple(FUNCTIONS))
            raise wrong(f"there is no function `{call.function}`", "", remedy, call.function)
        if len(call.arguments) != function.count:
            what = f"It takes {function.count}, not {len(call.arguments)}."
            raise wrong(f"wrong number of arguments for `{call.function}`", what, function.usage, call.function)
        options: dict[str, object] = {}
        for name, value in call.options:
            if name not in function.options or name in options:
                twice = "is given twice" if name in options else f"is not an option of `{call.function}`"
                remedy = did_you_mean(name, function.options) or f"It is written {function.usage}."
                raise wrong(f"`{name}` {twice}", "", remedy, name)
            options[name] = self.value(value, depth)
        arguments = tuple(self.present(a, depth) for a in call.arguments)
        return function.run(arguments, options)

    def present(self, expression: Expression, depth: int) -> object:
        """Return the value of an operand, which must not be None."""
        value = self.value(expression, depth)
        if value is None:
            name = expression_line(expression)
            raise nothing_there(name, "Nothing can be computed from it.", self.scope, name)
        return value

    def unary(self, op: x.UnaryOp, inner: Expression, depth: int) -> object:
        if op == "not":
            value = self.truth(inner, depth)
            return not value if isinstance(value, bool) else ~dense(value)
        operand = self.present(inner, depth)
        if not isinstance(operand, (int, float, Tensor)):
            raise wrong(f"`{op}` needs a number", f"It is {kind_of(operand)}.", subject=expression_line(inner))
        operand = dense(operand) if isinstance(operand, Tensor) else operand
        if isinstance(operand, Tensor) and operand.dtype is torch.bool:
            raise wrong(f"`{op}` needs a number", "It is a boolean.", f"Write `not {expression_line(inner)}`.")
        return -operand if op == "-" else +operand

    def truth(self, expression: Expression, depth: int) -> bool | Tensor:
        value = self.present(expression, depth)
        if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype is torch.bool):
            return value
        line = expression_line(expression)
        raise wrong(f"`{line}` is not a condition", f"It is {kind_of(value)}.", "Compare it with something.", line)

    def binary(self, op: x.BinaryOp, left: Expression, right: Expression, depth: int) -> object:
        if op in ("and", "or"):
            first = self.truth(left, depth)
            if first is (op == "or"):
                return first
            second = self.truth(right, depth)
            if isinstance(first, bool):
                return second
            join = torch.logical_and if op == "and" else torch.logical_or
            return join(dense(first), dense(as_tensor(second)))
        return operate(op, self.present(left, depth), self.present(right, depth))


def _can_be_shown(known: str, owner: object, rest: Sequence[str]) -> bool:
    """Return whether `show` takes a name with these attributes: none, `.grad`, `.state.exp_avg`.

    At a stop inside a phase it takes inputs and outputs: `node.in`, `module.out.0`; of a batch or another container,
    its parts: `batch.0`.
    """
    if known in GIVEN or (known not in PLACES and not isinstance(owner, Tensor)):
        return True
    if known in PLACES:
        return rest[:1] in (["in"], ["out"], ["addends"])
    return not rest or list(rest) == ["grad"] or (len(rest) == 2 and rest[0] == "state")


def _indexed(tensor: Tensor, items: tuple[Item, ...], name: str, written: Sequence[str]) -> Tensor:
    """Return what an index selects of a tensor of any layout: a view if it is dense."""
    if tensor.is_nested:
        rows, first = tensor.unbind(), items[0]
        check_index((len(rows),), items[:1], name, written)
        if not isinstance(first, int):
            raise wrong(
                f"`{name}` has rows of different lengths", "It is nested.", f"Take one: `{name}[0]`.", written[0]
            )
        return rows[first] if len(items) == 1 else _indexed(rows[first], items[1:], f"{name}[{first}]", written[1:])
    check_index(tensor.shape, items, name, written)
    plain = tensor.layout is torch.strided and not tensor.is_quantized
    return tensor[items] if plain else part(tensor, cut(tensor.shape, items))


def _part(name: x.Name, items: tuple[Expression | x.Span | x.Dots, ...]) -> Expression:
    return x.Index(name, items) if items else name


def _item_line(item: Expression | x.Span | x.Dots) -> str:
    return expression_line(x.Index(x.Name("i"), (item,)))[2:-1]
