"""Views that explain an element: the arithmetic of the last phase, and the ledger of its `.grad`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.views.drawn import Drawn


class FormulaLine(Struct, frozen=True):
    """A formula in symbols, and the same formula with its numbers."""

    name: str
    """Its left-hand side, e.g. `.grad`, `w`, `step would give`."""
    formula: str
    """E.g. `w − lr · .grad`; empty when there is none, and `note` says why."""
    numbers: str = ""
    """With its numbers, e.g. `−0.0073 − 0.001 × +0.3151`."""
    result: str = ""
    note: str = ""
    """A remark: why no numbers are shown, or that the change was lost to rounding."""


class LookLedger(Struct, frozen=True, tag=True):
    """Ask how the `.grad` of one element accumulated. Backwards are recorded from the first such request on.

    `element` is an index into the whole selected tensor; None for the first element of the selection.
    """

    element: tuple[int, ...] | None = None


class LedgerRow(Struct, frozen=True):
    """A row of the ledger: what a phase did to the element's `.grad`. Norms are of whole tensors, and do not add up."""

    kind: Literal["start", "cleared", "earlier", "backward", "step", "changed"]
    """start: there was no `.grad` yet; earlier: its value when recording began, or of folded rows; changed: written by
    anything but a backward."""
    text: str
    """E.g. `zero_grad`, `backward 2`, `step`."""
    before: float | None = None
    """The element before; None when `.grad` was None, or it was not recorded."""
    amount: float | None = None
    """What the backward added to the element; None for other rows, and when not recorded."""
    after: float | None = None
    norm: float | None = None
    """Norm of the whole gradient that the backward added; of `.grad` for rows that give its value."""
    forward: int = 0
    """The forward whose loss it came from, from 1; 0 when unknown."""
    loss: float | None = None
    used: int = 0
    """Number of steps that have used it."""
    note: str = ""
    """Why there is no number."""


class LedgerView(Drawn, frozen=True, tag=True):
    """The ledger of one element of `.grad` since it was last cleared."""

    stop: int
    name: str = ""
    """The element, e.g. `2.weight.grad[0, 3]`; empty when no parameter is selected."""
    element: tuple[int, ...] = ()
    dtype: str = ""
    state: str = ""
    """The state of `.grad` as in the model tree, e.g. `x6, 1 used`."""
    rows: tuple[LedgerRow, ...] = ()
    total: float | None = None
    """The element of `.grad` now; None when `.grad` is None."""
    norm: float | None = None
    """Norm of the whole `.grad` now."""
    note: str = ""
