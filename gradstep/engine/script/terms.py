"""The terms of a script's loss that is a sum: what each is called, and its value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.debuggee.loop import LossTerm
from gradstep.engine.diagnose.loss_terms import ADDS, REDUCES, SCALES

Made = Callable[[Node], "tuple[str, Tensor] | None"]
"""Returns the operation that made a node and its result; None where that was not recorded."""
_MOST = 16
"""Maximum number of terms: a loss over the steps of an episode has hundreds."""
_WIDE = 64
"""Maximum length of a container whose elements are looked at."""


def terms_of(loss: Tensor | None, named: Iterable[tuple[str, Any]], made: Made) -> tuple[LossTerm, ...]:
    """Return the terms of a loss, in the order in which they are added; empty unless it is a sum.

    Args:
        loss: the loss, before its backward.
        named: the script's variables, innermost first.
        made: what was recorded of the forward.
    """
    root = None if loss is None or loss.numel() != 1 else loss.grad_fn
    while root is not None and root.name() in SCALES and (inner := _only(root)) is not None:
        root = inner  # scaled as a whole: a mean over accumulated backwards, or a GradScaler
    nodes = [] if root is None else list(_terms(root))
    if not 2 <= len(nodes) <= _MOST:
        return ()
    variables: dict[Node, tuple[str, Tensor]] = {}
    for name, tensor in _tensors(named):
        if tensor.grad_fn is not None:
            variables.setdefault(tensor.grad_fn, (name, tensor))
    return tuple(_term(node, variables, made) for node in nodes)


def _terms(node: Node) -> Iterator[Node]:
    name, following = node.name(), [each for each, _ in node.next_functions if each is not None]
    if name in REDUCES and len(following) == 1 and following[0].name() in ADDS - {"AddBackward0", "SubBackward0"}:
        node, following = following[0], [each for each, _ in following[0].next_functions if each is not None]
        yield from following
    elif name in {"AddBackward0", "SubBackward0"}:
        for each in following:
            yield from _terms(each)
    else:
        yield node


def _term(node: Node, variables: dict[Node, tuple[str, Tensor]], made: Made) -> LossTerm:
    """Return a term: called by its variable, or that of what is scaled, else by its operation."""
    value, name, scaled = made(node), "", node
    while not name:
        if scaled in variables:
            name = variables[scaled][0]
        elif scaled.name() in SCALES and (inner := _only(scaled)) is not None:
            scaled = inner
        else:
            break
    known = variables.get(node) or value
    called = name if scaled is node else f"{name} × a factor"
    inner_made = made(scaled)
    operation = inner_made[0] if inner_made is not None else node.name().removesuffix("Backward0").lower()
    return LossTerm(called if name else operation, None if known is None else _number(known[1]))


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
