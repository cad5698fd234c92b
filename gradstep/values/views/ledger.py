"""Views that say why an element is what it is: the arithmetic of the last phase, and the account of its `.grad`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.views.drawn import Drawn


class FormulaLine(Struct, frozen=True):
    """A formula in the field's notation, and the same formula with its numbers."""

    name: str
    """What it gives, e.g. `.grad`, `w`, `step would give`."""
    formula: str
    """E.g. `w − lr · .grad`; empty where there is none to show, and `note` says why."""
    numbers: str = ""
    """The same with its numbers, e.g. `−0.0073 − 0.001 × +0.3151`."""
    result: str = ""
    note: str = ""
    """What else is true of this line: why no numbers are shown, or that the change was lost to rounding."""


class LookLedger(Struct, frozen=True, tag=True):
    """Ask how the `.grad` of one element became what it is. From the first such look on, backwards are recorded.

    `element` is an index into the whole selected tensor; None for the first element of the selection.
    """

    element: tuple[int, ...] | None = None


class LedgerRow(Struct, frozen=True):
    """A line of the account: what an act did to `.grad` of the element. Norms are of whole tensors: they do not add."""

    kind: Literal["start", "cleared", "earlier", "backward", "step", "changed"]
    """start: nothing was ever there; earlier: what was there when recording began, or was folded; changed: something
    else than a backward wrote it."""
    text: str
    """E.g. `zero_grad`, `backward 2`, `step`."""
    before: float | None = None
    """The element before; None where `.grad` was None, or it was not recorded."""
    amount: float | None = None
    """What the backward added to the element; None for other lines, and where it was not recorded."""
    after: float | None = None
    norm: float | None = None
    """Norm of all that the backward added; of the whole `.grad` for the lines that say what it was."""
    forward: int = 0
    """The number of the forward whose loss it came from, from 1; 0 when it is not known."""
    loss: float | None = None
    used: int = 0
    """How many steps have used it."""
    note: str = ""
    """Why there is no number."""


class LedgerView(Drawn, frozen=True, tag=True):
    """The account of one element of `.grad` since it was last cleared."""

    stop: int
    name: str = ""
    """The element, e.g. `2.weight.grad[0, 3]`; empty when nothing with a `.grad` is selected."""
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
