"""Gradient accumulation at a node or leaf: what each gradient contributed to the sum."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values import numbers
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.inside import SourceLine

Order: TypeAlias = Literal["arrival", "share"]


class LookContributions(Struct, frozen=True, tag=True):
    """Ask which gradients were summed at a node, or into a `.grad`, in the last or current backward."""

    number: int | None = None
    """The node; None for the one stopped at."""
    path: str = ""
    """In place of a number, a parameter, for its leaf, or a module, for the node of its output."""
    first: int = 0
    count: int = 200
    """Most rows, from row `first`."""
    by: Order = "arrival"
    """In the engine's order of accumulation, or the largest share first."""


class Contribution(Struct, frozen=True):
    """One of several gradients that were summed."""

    number: int
    """The node that it came from."""
    edge: int
    """The edge of that node along which it came."""
    name: str
    operation: str = ""
    """The operation of that node, as text."""
    module: str = ""
    """Path and class of the module that owns that node; `loss` outside the model."""
    call: int = 0
    """The call of that module, from 1, such as the time step of an RNN; 0 when it is called once."""
    calls: int = 0
    place: int = 0
    """Its position in the engine's order of accumulation, from 0."""
    output: int = 0
    """The output of the receiving operation that it is a gradient of."""
    shape: tuple[int, ...] = ()
    norm: float | None = None
    """L2 norm; norms do not add up to the norm of the sum."""
    share: float | None = None
    """Its share s of the sum g: ⟨v, g⟩ / ⟨g, g⟩. Shares add up to 1; a negative one opposes the others. None where
    undefined."""
    source: SourceLine = SourceLine()

    @property
    def use(self) -> str:
        """The module that owns the node, and the call of it: `cell RNNCell 3/16`."""
        return f"{self.module} {self.call}/{self.calls}" if self.call else self.module


class Total(Struct, frozen=True):
    """The sum of the gradients that arrived at one output of an operation."""

    output: int
    shape: tuple[int, ...] = ()
    count: int = 1
    """Number of summands."""
    norm: float | None = None
    """L2 norm of the sum, as the engine used it."""
    exact: bool = True
    """True when the rows, added in the engine's order, equal that sum bit for bit."""


class ContributionsView(Drawn, frozen=True, tag=True):
    """The gradients that were summed at one node."""

    stop: int
    number: int = -1
    name: str = ""
    """`node.name()`; empty without a node."""
    operation: str = ""
    module: str = ""
    parameter: str = ""
    """The parameter into whose `.grad` the sum was accumulated; empty for other nodes."""
    grad: str = ""
    """The state of that `.grad`, as in the model view: `fresh`, or `x3` after three backwards."""
    by: Order = "arrival"
    count: int = 0
    """Number of gradients in all."""
    first: int = 0
    rows: tuple[Contribution, ...] = ()
    greatest: float = 0.0
    """The largest magnitude of all shares."""
    opposed: bool = False
    """True when a share is negative."""
    totals: tuple[Total, ...] = ()
    """The sums, one for each output of the operation that received a gradient."""
    note: str = ""

    @property
    def exact(self) -> bool:
        """True when all gradients were recorded, and add up to what the engine used."""
        return all(total.exact for total in self.totals)

    @property
    def form(self) -> numbers.Form:
        """The number format of the shares, in percent."""
        return numbers.form_of([100 * self.greatest], digits=3)

    @property
    def about(self) -> str:
        """What the sum is: `cell.weight_hh.grad, fresh: 16 gradients meet`."""
        what = f"{self.parameter}.grad, {self.grad}" if self.grad else f"#{self.number} {self.operation}"
        met = f"{numbers.count(self.count, 'gradient')} {'meet' if self.count > 1 else 'arrives'}"
        return f"{what}: {met}" if self.count else what

    @property
    def facts(self) -> tuple[str, ...]:
        """Caveats: an accumulated `.grad`, or a hook that changed the sum."""
        facts = []
        if self.grad.startswith("x"):
            facts.append(f".grad is {self.grad}: this is what the last backward added to it")
        if not self.exact:
            facts.append(
                "the rows do not add up to the gradient used: a hook changed the sum, or a summand was not recorded"
            )
        return (*facts, self.note) if self.note else tuple(facts)


def share_words(share: float | None, form: numbers.Form) -> str:
    """Return a share in percent, with its sign; a middle dot for None."""
    return "·" if share is None else f"{numbers.signed(100 * share, form)}%"
