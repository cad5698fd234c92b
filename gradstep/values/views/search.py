"""What is found by a part of its name: modules, parameters, buffers and nodes of the graph."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class LookFind(Struct, frozen=True, tag=True):
    """Ask for what has every word of a text in its name, its kind or its operation; the case does not matter.

    `#12` is node 12. At most `limit` are returned.
    """

    text: str
    limit: int = 100


class Hit(Struct, frozen=True):
    """Something that was found."""

    kind: Literal["module", "parameter", "buffer", "node"]
    name: str
    """Its path, e.g. `2.weight`; of a node `#12` and what it is, e.g. `#12 AddmmBackward0`."""
    about: str
    """What else there is to say in few words: the class, the shape, the operation and the module."""
    path: str = ""
    """Where it is in the model; empty for a node."""
    shows: str = ""
    """The tensor that there is to show of it: a parameter or buffer, of a leaf of the graph its parameter."""
    order: int = -1
    """The place of a node in the execution order, from 0; -1 for everything else."""


class FoundView(Struct, frozen=True, tag=True):
    """What was found, best first: the model's in the order of their names' fit, then nodes in execution order."""

    stop: int
    text: str
    hits: tuple[Hit, ...]
    total: int
    """How many there are, the ones above the limit counted."""
