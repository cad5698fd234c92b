"""The terms of a loss that is a sum, each with its value where the script's variables or the graph tell it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional

from gradstep.checks.check import Moment
from gradstep.checks.patterns import VIEWS, saved, setting
from gradstep.engine.autograd.graph import GraphRecord, node_name

_SUMS = ("AddBackward0", "SubBackward0")
_SCALES = ("MulBackward0", "MulBackward1", "DivBackward0", "DivBackward1", "NegBackward0")
_REDUCTIONS = ("none", "mean", "sum")


class SummedTerm(NamedTuple):
    """A term of a loss."""

    number: int
    """The node that computes it, before it is scaled."""
    name: str
    """The variable that holds it, else its operation."""
    value: float | None
    """As it is added to the loss; None where it is unknown."""


def terms_of(moment: Moment, graph: GraphRecord) -> tuple[SummedTerm, ...]:
    """Return the terms of the loss, or the loss itself as the only one."""
    return moment.once("terms", lambda: tuple(_terms(moment, graph)))


def _terms(moment: Moment, graph: GraphRecord) -> Iterator[SummedTerm]:
    named: dict[Node, tuple[str, Tensor]] = {}
    for name, value in moment.find_variables():
        if type(value) is Tensor and value.grad_fn is not None and value.numel() == 1:
            named.setdefault(value.grad_fn, (name, value))
    places = {node: number for number, node in enumerate(graph.nodes)}
    waiting: list[tuple[Node, float]] = [(graph.nodes[0], 1.0)]
    while waiting:
        node, factor = waiting.pop(0)
        following = [each for each, _ in node.next_functions]
        if node.name() in _SUMS:
            signs = (1.0, -1.0 if node.name() == "SubBackward0" else 1.0)
            waiting += [(each, factor * sign) for each, sign in zip(following, signs, strict=True) if each is not None]
            continue
        known, inner = named.get(node), [each for each in following if each is not None]
        by = _factor(node) if known is None and len(inner) == 1 else None
        if by is not None:
            waiting.append((inner[0], factor * by))
            continue
        value = known[1].item() if known is not None else _value(node)
        name = known[0] if known is not None else node_name(node).split("Backward")[0]
        yield SummedTerm(places[node], name, None if value is None else factor * value)


def _factor(node: Node) -> float | None:
    """Return the number that a node multiplies by; None for a node that does something else."""
    name = node.name()
    if name in VIEWS or name == "NegBackward0":
        return -1.0 if name == "NegBackward0" else 1.0
    other: Any = setting(node, "other") if name in _SCALES else None
    if name == "MulBackward0" and other is None:
        other = saved(node, "self")
    if isinstance(other, Tensor):
        other = other.item() if other.numel() == 1 else None
    if not isinstance(other, (int, float)):
        return None
    return float(other) if name.startswith("Mul") else 1.0 / other if other else None


def _value(node: Node) -> float | None:
    """Return the value that a loss of torch's, or a sum over powers, has computed, from what it has saved."""
    given, target = saved(node, "self"), saved(node, "target")
    reduction = _REDUCTIONS[kind] if isinstance(kind := setting(node, "reduction"), int) else "none"
    if given is not None and target is not None and reduction != "none":
        match node.name():
            case "MseLossBackward0":
                return float(functional.mse_loss(given, target, reduction=reduction))
            case "BinaryCrossEntropyWithLogitsBackward0":
                return float(functional.binary_cross_entropy_with_logits(given, target.float(), reduction=reduction))
            case "NllLossBackward0" | "NllLoss2DBackward0":
                weight, ignored = saved(node, "weight"), setting(node, "ignore_index")
                return float(functional.nll_loss(given, target, weight, ignore_index=ignored, reduction=reduction))
    power = node.next_functions[0][0] if node.name() in ("SumBackward0", "MeanBackward0") else None
    base = saved(power, "self") if power is not None and power.name() in ("PowBackward0", "AbsBackward0") else None
    if power is None or base is None:
        return None
    values = base.abs() if power.name() == "AbsBackward0" else torch.pow(base, setting(power, "exponent"))
    return float(values.sum() if node.name() == "SumBackward0" else values.mean())
