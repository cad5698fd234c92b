"""The position in the training loop, and the accounts of what was added to each `.grad`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from msgspec.structs import astuple, replace
from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.ledger import Accounts, LedgerEntry
from gradstep.engine.state.part import Decoded, Part, Reader, Row, Writer, Writing
from gradstep.engine.tensor_trees import changed, tensors_in


class CapturedLoop(NamedTuple):
    """The position in the loop, the accounts, and torch's grad mode."""

    point: Point
    accounts: Accounts
    grad_mode: bool


_PLAIN = (
    *("phase", "torch", "done", "iteration", "value", "change", "used_batch", "written", "steps_since_forward"),
    *("ran", "freed", "again", "calls", "rates_before", "edit"),
)
"""The fields of a point that a file has."""
_COMPARED = {"iteration": "iteration", "phase": "the last phase", "value": "loss", "used_batch": "the batch was used"}
"""The fields that are compared in files, and the word for each; the others only describe the last phase."""


class Loop(Part[CapturedLoop]):
    """Every act replaces it, and the runner restores it after a failed one. It is not in the digest.

    The graph of the loss is not part of it: if it was alive, its forward must be rerun.
    """

    name = "loop"
    holds_graphs = True
    restored_for_rerun = False
    sections: ClassVar = {"ledger": "the addends of .grad"}

    def capture(self, held: Debuggee) -> CapturedLoop:
        return CapturedLoop(held.point, held.ledger.copy(), torch.is_grad_enabled())

    def restore(self, held: Debuggee, captured: CapturedLoop) -> None:
        held.point = captured.point
        held.ledger.restore(captured.accounts)
        torch.set_grad_enabled(captured.grad_mode)

    def without_graphs(self, captured: CapturedLoop) -> CapturedLoop:
        return captured._replace(point=_without_graph(captured.point))

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return None

    def encode(self, held: Debuggee, captured: CapturedLoop, file: Writer) -> Mapping[str, Any]:
        return {
            "ledger": {name: list(astuple(entry)) for name, entry in captured.accounts.entries.items()},
            "point": {field: file.value(getattr(captured.point, field), field) for field in _PLAIN},
        }

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        point = Point(**{field: file.value(value) for field, value in file.state["point"].items()})
        accounts = Accounts({name: LedgerEntry(*entry) for name, entry in file.state["ledger"].items()}, {})
        return Decoded(lambda: self.restore(held, CapturedLoop(point, accounts, torch.is_grad_enabled())))

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        for field, word in _COMPARED.items():
            yield from one.differences(word, one.state["point"][field], other.state["point"][field])
        yield from super().differ_in_files(one, other)

    def size(self, captured: CapturedLoop, before: CapturedLoop | None) -> int:
        output = captured.point.watched.output
        shared = before is not None and output is before.point.watched.output
        return 0 if shared else sum(tensor.nbytes for _, tensor in tensors_in(output, "", deep=-1))


def _without_graph(point: Point) -> Point:
    """Return a point with loss and output detached: their graph would keep everything it saved alive."""
    loss = None if point.loss is None else point.loss.detach()
    watched = point.watched
    detached = type(watched)(**{**vars(watched), "output": changed(watched.output, _detached)})
    return replace(point, loss=loss, watched=detached)


def _detached(value: object) -> object:
    return value.detach() if isinstance(value, Tensor) else value
