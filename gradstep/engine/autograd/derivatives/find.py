"""The derivative of a node, looked up in the tables."""

from __future__ import annotations

from torch.autograd.graph import Node

from gradstep.engine.autograd.derivatives import (
    elementwise,
    layers,
    losses,
    matrices,
    reductions,
    shapes,
    transforms,
    twice,
)
from gradstep.engine.autograd.derivatives.descriptions import description_of
from gradstep.engine.autograd.derivatives.rule import Derivative, Entry
from gradstep.engine.autograd.graph import node_name
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.autograd.saved_values import settings

TABLE: dict[str, Entry] = {
    **elementwise.TABLE,
    **matrices.TABLE,
    **shapes.TABLE,
    **reductions.TABLE,
    **losses.TABLE,
    **layers.TABLE,
    **transforms.TABLE,
    **twice.TABLE,
}


def rule_of(node: Node) -> Derivative | None:
    """Return the derivative of a node; None when no table has it.

    torch numbers the overloads of an operation, and may renumber them: a node that does not save the tensors that the
    rule names, or has another number of inputs, is another overload.
    """
    name = node_name(node)
    entry = TABLE.get(name)
    if name in matrices.TRANSPOSED and _last_is_transposed(node):
        entry = matrices.TRANSPOSED[name]
    if entry is None:
        return None
    rule = entry if isinstance(entry, Derivative) else entry(settings(node))
    kept = all(hasattr(type(node), f"_saved_{saved}") for saved in rule.saved)
    count, known = len(node.next_functions), len(rule.inputs)
    return rule if kept and (count == known or (rule.several and count >= known)) else None


def words_of(node: Node) -> str:
    """Return one line on what a node does to v; empty for a leaf and for a node that is not a derivative."""
    rule = rule_of(node)
    return rule.words if rule is not None else description_of(node)


def symbol_of(rule: Derivative, edge: int) -> tuple[str, str]:
    """Return the symbol of an input and its formula for J^T v."""
    symbol, formula = rule.inputs[min(edge, len(rule.inputs) - 1)]
    return (f"{symbol}{_subscript(edge + 1)}" if rule.several else symbol), formula


def summed_over(node: Node, edge: int) -> tuple[int, ...]:
    """Return the dimensions over which the engine sums J^T v, because the operation broadcast that input."""
    name = node_name(node)
    if name not in elementwise.TABLE and not (name in matrices.SUMS and edge == 0):
        return ()
    following, place = node.next_functions[edge]
    out = sizes_of(node._input_metadata[0])
    shape = out if following is None else sizes_of(following._input_metadata[place])
    missing = len(out) - len(shape)
    return (*range(missing), *(missing + i for i, size in enumerate(shape) if size != out[missing + i]))


def _last_is_transposed(node: Node) -> bool:
    following = node.next_functions[-1][0] if node.next_functions else None
    return following is not None and following.name() == "TBackward0"


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
