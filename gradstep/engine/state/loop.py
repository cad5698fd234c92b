"""Where the training loop stands, and the accounts of what was added to each `.grad`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.ledger import Accounts, Entry
from gradstep.engine.state.part import Found, Part, Reader, Row, Writer, Writing
from gradstep.engine.tensor_trees import changed, tensors_in


class Kept(NamedTuple):
    """Where the loop stood."""

    point: Point
    """Its loss has a graph only where a backward has freed that."""
    accounts: Accounts
    grad_mode: bool


_PLAIN = (
    *("phase", "torch", "done", "iteration", "value", "change", "used_batch", "written", "steps_since_forward"),
    *("ran", "freed", "again", "calls", "rates_before", "edit"),
)
"""The fields of a point that are no tensors."""


class Loop(Part[Kept]):
    """Every act replaces it: what carries out an act puts it back itself. It is in no digest: torch knows none of it.

    The graph of the loss is not part of it: where there was one alive, its forward has to be run again.
    """

    name = "loop"
    holds_graphs = True
    begins_forward = False

    def capture(self, held: Debuggee) -> Kept:
        return Kept(held.point, held.ledger.copy(), torch.is_grad_enabled())

    def restore(self, held: Debuggee, kept: Kept) -> None:
        held.point = kept.point
        held.ledger.restore(kept.accounts)
        torch.set_grad_enabled(kept.grad_mode)

    def without_graphs(self, kept: Kept) -> Kept:
        return kept._replace(point=_without_graph(kept.point))

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return None

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        return {
            "ledger": {name: list(entry) for name, entry in kept.accounts.entries.items()},
            "point": {field: file.value(getattr(kept.point, field), field) for field in _PLAIN},
        }

    def decode(self, held: Debuggee, file: Reader) -> Found:
        point = Point(**{field: file.value(value) for field, value in file.state["point"].items()})
        accounts = Accounts({name: Entry(*entry) for name, entry in file.state["ledger"].items()}, {})
        return Found(lambda: self.restore(held, Kept(point, accounts, torch.is_grad_enabled())))

    def size(self, kept: Kept, before: Kept | None) -> int:
        output = kept.point.watched.output
        shared = before is not None and output is before.point.watched.output
        return 0 if shared else sum(tensor.nbytes for _, tensor in tensors_in(output, "", deep=-1))


def _without_graph(point: Point) -> Point:
    """Return a point whose loss and output hold no graph: kept for later, they would keep all it saved alive."""
    loss = None if point.loss is None else point.loss.detach()
    watched = point.watched
    kept = type(watched)(**{**vars(watched), "output": changed(watched.output, _detached)})
    return replace(point, loss=loss, watched=kept)


def _detached(value: object) -> object:
    return value.detach() if isinstance(value, Tensor) else value
