"""Evaluate expressions on what a stop holds: gradstep's own small evaluator, so that no script can run Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from gradstep.engine.describe import describe
from gradstep.engine.functions import FUNCTIONS, as_tensor, check_broadcast, dtype_text, kind_of
from gradstep.engine.indexing import Item, check_index, whole_number
from gradstep.values import expressions as x
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.nearest import did_you_mean, nearest

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
"""How deep an expression may be nested; the parser's own limit is lower."""


class Scope(Protocol):
    """What names mean at a stop."""

    def find(self, name: str) -> object:
        """Return the value of exactly this name; raise KeyError when there is none."""
        ...

    def names(self) -> Sequence[str]:
        """Return every name, for the nearest word."""
        ...

    def state_of(self, tensor: Tensor) -> Mapping[str, object]:
        """Return the optimizer's state of a parameter; empty when there is none."""
        ...


class Selected(NamedTuple):
    """What `show` selects: the name with its `.grad` if any, the index into it, and the tensor if there is one now."""

    path: str
    items: tuple[Item, ...]
    tensor: Tensor | None


def evaluate(expression: Expression, scope: Scope) -> object:
    """Return the value of an expression: a tensor (live, not copied), number, truth value, text, list or None.

    Raises:
        GradstepError: a name or function is unknown, shapes do not fit, an index lies outside, torch refuses, ...;
            the problem's `subject` is the faulty word.
    """
    return _guarded(lambda: _Evaluator(scope).value(expression, 0), expression)


def holds(value: object) -> bool:
    """Tell whether a condition holds: a truth value, or a tensor of them that are all true.

    Raises:
        GradstepError: it is no condition, or a tensor without elements, of which nothing can be said.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Tensor) and value.dtype is torch.bool:
        if value.numel() == 0:
            raise wrong("the condition is over no elements", "The slice is empty.", "Widen it.")
        return bool(value.all())
    what = f"{kind_of(value)} of {dtype_text(value)}" if isinstance(value, Tensor) else kind_of(value)
    raise wrong("this is no condition", f"It is {what}.", "Compare it with something, as in `loss > 0`.")


def split_selection(expression: Expression, scope: Scope) -> Selected:
    """Return what a `show` selects: a name, or an index into one, that denotes a tensor or its `.grad`.

    The index is checked; where `.grad` is none it is checked against the tensor's own shape. The tensor is None when
    there is none at this stop (no gradient, no prediction yet).

    Raises:
        GradstepError: it is something else, or there is no such name.
    """
    return _guarded(lambda: _Evaluator(scope).selection(expression), expression)


def explain_failure(expression: Expression, scope: Scope) -> tuple[str, str, str]:
    """Return what was expected, what was found, and how far they are apart, of a condition that does not hold."""
    from gradstep.engine.explain import explain

    return explain(expression, lambda part: evaluate(part, scope))


def _guarded(run: Callable[[], _T], expression: Expression) -> _T:
    """Run under no_grad, and turn what torch raises into a problem."""
    try:
        with torch.no_grad():
            return run()
    except GradstepError:
        raise
    except Exception as error:  # torch raises nearly every kind
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise wrong(f"`{expression_line(expression)}` cannot be computed", what) from error


_ARITHMETIC: dict[str, Callable[[Any, Any], object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "@": operator.matmul,
}
_COMPARISON: dict[str, Callable[[Any, Any], object]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


_MISSING = object()


class _Evaluator:
    """Walks over one expression."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    def value(self, expression: Expression, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise wrong("this expression is nested too deeply", f"It may be {MAX_DEPTH} levels deep.")
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
        known, value, rest = self.resolve(name)
        for i, part in enumerate(rest):
            value = self.part(value, part, ".".join([known, *rest[:i]]), expression_line(name))
        return value

    def resolve(self, name: x.Name) -> tuple[str, object, list[str]]:
        """Return the longest part of a dotted name that exists, its value, and the parts that follow it."""
        rest = [part for part in name.name.split(".") if part]
        first = [name.quoted] if name.quoted else []
        parts = first + rest
        for count in range(len(parts), 0, -1):
            known = ".".join(parts[:count])
            found = self.find(known)
            if found is not _MISSING:
                return known, found, parts[count:]
        raise self.unknown(".".join(parts), expression_line(name))

    def find(self, name: str) -> object:
        try:
            return self.scope.find(name)
        except KeyError:
            return _MISSING

    def unknown(self, name: str, written: str) -> GradstepError:
        stem, dot, tail = name, "", ""
        for attribute in (".grad", ".state"):
            if attribute in name:
                stem, dot, tail = name.partition(attribute)
        names = self.scope.names()
        guesses = [f"`{x.name_line(found)}{dot}{tail}`" for found in nearest(stem, names)]
        remedy = f"Did you mean {' or '.join(guesses)}?" if guesses else _some(names)
        return wrong(f"there is no `{name}`", "Neither the model nor a `let` has the name.", remedy, written)

    def part(self, value: object, part: str, owner: str, written: str) -> object:
        """Return `.part` of a value: .grad and .state of a tensor, a key, a field, a place; never by getattr."""
        match value:
            case Tensor() if part == "grad":
                return value.grad if value.is_leaf or value.retains_grad else None
            case Tensor() if part == "state":
                return self.scope.state_of(value) or None
            case Mapping() if part in value:
                return value[part]
            case tuple() if part in getattr(value, "_fields", ()):
                return value[getattr(value, "_fields", ()).index(part)]
            case tuple() | list() if part.isdigit() and int(part) < len(value):
                return value[int(part)]
            case None:
                raise wrong(f"`{owner}` is none", f"It has no `.{part}`.", _why_none(owner), written)
        known = ["grad", "state"] if isinstance(value, Tensor) else _keys(value)
        remedy = did_you_mean(part, known) or (f"It has {', '.join(known)}." if known else "")
        raise wrong(f"`{owner}` has no `.{part}`", f"It is {kind_of(value)}.", remedy, written)

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
            value = self.part(value, name, owner, expression_line(expression))
            owner = f"{owner}.{name}"
        return value if value is None or not items else self.index(value, base, items, depth)

    # -- indices -------------------------------------------------------------------------------------------------------
    def index(
        self, value: object, base: Expression, items: Sequence[Expression | x.Span | x.Dots], depth: int
    ) -> object:
        name = expression_line(base)
        if isinstance(value, Mapping) and len(items) == 1 and isinstance(items[0], x.Text):
            return self.part(value, items[0].value, name, items[0].value)
        if value is None:
            raise wrong(f"`{name}` is none", "There is nothing to index.", _why_none(name), name)
        made = self.items(items, depth)
        written = [_item_line(item) for item in items]
        if isinstance(value, Tensor):
            check_index(value.shape, made, name, written)
            return value[made]
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
            raise wrong("only a tensor can be shown", f"`{expression_line(expression)}` is computed.", remedy)
        known, owner, rest = self.resolve(target)
        value = self.name(target)
        written = expression_line(target)
        if rest not in ([], ["grad"]) or not (value is None or isinstance(value, Tensor)):
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
            remedy = did_you_mean(call.function.rpartition(".")[2], FUNCTIONS) or _some(tuple(FUNCTIONS))
            raise wrong(f"there is no function `{call.function}`", "", remedy, call.function)
        if len(call.arguments) != function.count:
            what = f"It takes {function.count}, not {len(call.arguments)}."
            raise wrong(f"wrong number of arguments for `{call.function}`", what, function.usage, call.function)
        options: dict[str, object] = {}
        for name, value in call.options:
            if name not in function.options or name in options:
                twice = "is given twice" if name in options else f"is no option of `{call.function}`"
                remedy = did_you_mean(name, function.options) or f"It is written {function.usage}."
                raise wrong(f"`{name}` {twice}", "", remedy, name)
            options[name] = self.value(value, depth)
        arguments = tuple(self.present(a, depth) for a in call.arguments)
        return function.run(arguments, options)

    def present(self, expression: Expression, depth: int) -> object:
        """Return a value that something is computed from: not none."""
        value = self.value(expression, depth)
        if value is None:
            name = expression_line(expression)
            raise wrong(f"`{name}` is none", "Nothing can be computed from it.", _why_none(name), name)
        return value

    def unary(self, op: x.UnaryOp, inner: Expression, depth: int) -> object:
        if op == "not":
            value = self.truth(inner, depth)
            return not value if isinstance(value, bool) else ~value
        operand = self.present(inner, depth)
        if not isinstance(operand, (int, float, Tensor)):
            raise wrong(f"`{op}` needs a number", f"It is {kind_of(operand)}.", subject=expression_line(inner))
        return -operand if op == "-" else +operand

    def truth(self, expression: Expression, depth: int) -> bool | Tensor:
        value = self.present(expression, depth)
        if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype is torch.bool):
            return value
        line = expression_line(expression)
        raise wrong(f"`{line}` is no condition", f"It is {kind_of(value)}.", "Compare it with something.", line)

    def binary(self, op: x.BinaryOp, left: Expression, right: Expression, depth: int) -> object:
        if op in ("and", "or"):
            first = self.truth(left, depth)
            if first is (op == "or"):
                return first
            second = self.truth(right, depth)
            if isinstance(first, bool):
                return second
            join = torch.logical_and if op == "and" else torch.logical_or
            return join(first, as_tensor(second))
        a, b = self.present(left, depth), self.present(right, depth)
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            a, b = _matched(a, b, op)
            return _ARITHMETIC[op](a, b) if op in _ARITHMETIC else _COMPARISON[op](a, b)
        return _plain(op, a, b)


def _matched(a: object, b: object, op: str) -> tuple[object, object]:
    """Return two operands, one of them a tensor, as torch takes them: numbers stay, lists become tensors."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    one, other = (v if isinstance(v, (bool, int, float)) else as_tensor(v, like) for v in (a, b))
    if isinstance(one, Tensor) and isinstance(other, Tensor) and op != "@":
        check_broadcast(one, other)
    return one, other


def _plain(op: str, a: Any, b: Any) -> object:
    """Compute with numbers, compare numbers, texts and lists."""
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if not numbers and (op not in ("==", "!=") or type(a) is not type(b)):
        raise wrong(f"`{op}` cannot take these", f"{kind_of(a)} and {kind_of(b)}.")
    if op in _COMPARISON:
        return _COMPARISON[op](a, b)
    if op == "/" and b == 0:
        raise wrong("division by zero", f"{describe(a)} / 0")
    if op == "**" and isinstance(a, int) and abs(b) > 64:
        a = float(a)  # a power of whole numbers could take any amount of memory
    made = _ARITHMETIC[op](a, b)
    if isinstance(made, complex):
        raise wrong("this is no real number", f"{describe(a)} {op} {describe(b)}")
    return made


def _item_line(item: Expression | x.Span | x.Dots) -> str:
    return expression_line(x.Index(x.Name("i"), (item,)))[2:-1]


def _why_none(name: str) -> str:
    if name.endswith(".grad"):
        return "Run backward first, or ask whether it `is none`."
    if name.endswith(".state"):
        return "The optimizer makes it in its first step, if it keeps any."
    return "Run forward first." if name in ("loss", "prediction", "input", "target", "batch") else ""


def _keys(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [str(key) for key in value][:20]
    return [str(f) for f in getattr(value, "_fields", ())] if isinstance(value, tuple) else []


def _some(names: Sequence[str], count: int = 12) -> str:
    more = f", ... {len(names):,} in all" if len(names) > count else ""
    return f"There are {', '.join(names[:count])}{more}." if names else "Nothing is loaded."
