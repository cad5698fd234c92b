"""What checks look for in a graph."""

from __future__ import annotations

from torch.autograd.graph import Node

VIEWS = frozenset(
    {
        *("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1"),
        *("UnsqueezeBackward0", "TransposeBackward0", "TBackward0", "PermuteBackward0", "CloneBackward0"),
        *("AliasBackward0", "ToCopyBackward0", "ExpandBackward0", "SliceBackward0", "SelectBackward0"),
    }
)
"""Nodes that pass values on as they are, at most in another shape, order or dtype."""


def through_views(node: Node | None) -> Node | None:
    """Return the node that computed the values that a node passes on."""
    while node is not None and node.name() in VIEWS and node.next_functions:
        node = node.next_functions[0][0]
    return node
