"""Search for modules, parameters, buffers and nodes of the graph by parts of their names."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class LookFind(Struct, frozen=True, tag=True):
    """Ask for items with every word of a text in their name, kind or operation, ignoring case.

    `#12` is node 12. At most `limit` are returned.
    """

    text: str
    limit: int = 100


class Hit(Struct, frozen=True):
    """A match."""

    kind: Literal["module", "parameter", "buffer", "node"]
    name: str
    """Its path, e.g. `2.weight`; for a node its number and name, e.g. `#12 AddmmBackward0`."""
    about: str
    """Details: class, shape, or operation and module."""
    path: str = ""
    """Its path in the model; empty for a node."""
    shows: str = ""
    """The parameter or buffer to select for it, for a leaf of the graph its parameter; empty for others."""
    order: int = -1
    """Position of a node in execution order, from 0; -1 for others."""


class FoundView(Struct, frozen=True, tag=True):
    """The matches: modules, parameters and buffers, best first, then nodes in execution order."""

    stop: int
    text: str
    hits: tuple[Hit, ...]
    total: int
    """Number of matches, including those above the limit."""
