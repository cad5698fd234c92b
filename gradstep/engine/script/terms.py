"""The terms of a script's loss that is a sum: what each is called, and its value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import read
from gradstep.engine.debuggee.loop import LossTerm
from gradstep.engine.diagnose.loss_terms import REDUCES, SCALES
from gradstep.values.numbers import MINUS as _MINUS
from gradstep.values.numbers import short

Made = Callable[[Node], "tuple[str, Tensor] | None"]
"""Returns the operation that made a node and its result; None where that was not recorded."""
_MOST = 16
"""Maximum number of terms: a loss over the steps of an episode has hundreds."""
_LISTS = frozenset({"StackBackward0", "CatBackward0"})
_WIDE = 64
"""Maximum length of a container whose elements are looked at."""


def terms_of(loss: Tensor | None, named: Iterable[tuple[str, Any]], made: Made) -> tuple[LossTerm, ...]:
    """Return the terms of a loss, in the order in which they are added; empty unless it is a sum.

    Args:
        loss: the loss, before its backward.
        named: the script's variables, innermost first.
        made: what was recorded of the forward.
    """
    root: Node | None = None if loss is None or loss.numel() != 1 else loss.grad_fn
    while root is not None and root.name() in SCALES and (inner := _only(root)) is not None:
        root = inner  # scaled as a whole: a mean over accumulated backwards, or a GradScaler
    nodes = [] if root is None else list(_terms(root))
    if not 2 <= len(nodes) <= _MOST:
        return ()
    variables: dict[Node, tuple[str, Tensor]] = {}
    for name, tensor in _tensors(named):
        if tensor.grad_fn is not None:
            variables.setdefault(tensor.grad_fn, (name, tensor))
    return tuple(_term(node, sign, variables, made) for node, sign in nodes)


def _terms(node: Node, sign: str = "") -> Iterator[tuple[Node, str]]:
    """Yield the terms that a node adds, each with a minus where it is subtracted."""
    name, following = node.name(), [each for each, _ in node.next_functions if each is not None]
    if name in REDUCES and len(following) == 1 and following[0].name() in _LISTS:
        yield from ((each, sign) for each, _ in following[0].next_functions if each is not None)
    elif name == "AddBackward0":
        for each in following:
            yield from _terms(each, sign)
    elif name == "SubBackward0":
        for (target, _), own in zip(node.next_functions, (sign, "" if sign else _MINUS), strict=True):
            if target is not None:
                yield from _terms(target, own)
    else:
        yield node, sign


def _term(node: Node, sign: str, variables: dict[Node, tuple[str, Tensor]], made: Made) -> LossTerm:
    """Return a term: called by its variable, or that of what is scaled, else by its operation."""
    known = variables.get(node) or made(node)
    name = variables[node][0] if node in variables else _scaled(node, variables, made)
    return LossTerm(sign + name, None if known is None else _number(known[1]))


def _scaled(node: Node, variables: dict[Node, tuple[str, Tensor]], made: Made) -> str:
    """Return what a term without a variable is called: `0.1 × kl`, or the operation that made it."""
    inner = _only(node) if node.name() in SCALES else None
    if inner is not None:
        name = variables[inner][0] if inner in variables else _scaled(inner, variables, made)
        other = read(node, "other") if node.name() != "NegBackward0" else None
        factor = short(float(other)) if isinstance(other, Tensor) and other.numel() == 1 else "…"
        if node.name() == "NegBackward0":
            return f"{_MINUS}{name}"
        return f"{name} / {factor}" if node.name() == "DivBackward0" else f"{factor} × {name}"
    known = made(node)
    return known[0] if known is not None else node.name().removesuffix("Backward0").lower()


def _only(node: Node) -> Node | None:
    """Return the one node that a node passes a gradient to; None where there are several."""
    following = [each for each, _ in node.next_functions if each is not None]
    return following[0] if len(following) == 1 else None


def _number(tensor: Tensor) -> float | None:
    return float(tensor.detach()) if tensor.numel() == 1 and not tensor.is_meta and not tensor.is_complex() else None


def _tensors(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors among variables, and in lists and dicts; not those of a subclass, which may run code."""
    for name, value in named:
        if type(value) is Tensor:
            yield name, value
        elif type(value) in (list, tuple) and len(value) <= _WIDE:
            yield from ((f"{name}[{i}]", each) for i, each in enumerate(value) if type(each) is Tensor)
        elif type(value) is dict and len(value) <= _WIDE:
            inner = [(key, each) for key, each in value.items() if type(key) is str and type(each) is Tensor]
            yield from ((f"{name}[{key!r}]", each) for key, each in inner)
