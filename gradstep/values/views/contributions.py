"""Where several gradients meet: what each of them added to the sum that the engine used."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values import numbers
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.inside import SourceLine

Order: TypeAlias = Literal["arrival", "share"]


class LookContributions(Struct, frozen=True, tag=True):
    """Ask what met at a node, or at the `.grad` of a parameter, in the last backward or the one that is stepped."""

    number: int | None = None
    """The node; None for the one that is stopped at."""
    path: str = ""
    """A parameter, or a module, in place of a number: the leaf of the one, the node that made the other's output."""
    first: int = 0
    count: int = 200
    """How many rows there are to be at most, from the row `first` on."""
    by: Order = "arrival"
    """In the order in which the engine added them, or the greatest share first."""


class Contribution(Struct, frozen=True):
    """One gradient that was added where several met."""

    number: int
    """The node that it came from."""
    edge: int
    """Which of that node's edges it came by."""
    name: str
    operation: str = ""
    """The operation of that node in plain words."""
    module: str = ""
    """Path and class of the module that made that node; `loss` outside of the model."""
    call: int = 0
    """Which call of that module it was, from 1: the time step of an RNN; 0 where it is called once."""
    calls: int = 0
    place: int = 0
    """Which of those that met there it was, in the order in which the engine added them, from 0."""
    output: int = 0
    """Which output of the operation that was met at it is a gradient of."""
    shape: tuple[int, ...] = ()
    norm: float | None = None
    """L2 norm. Norms do not add up."""
    share: float | None = None
    """How much of the sum it is: its inner product with the sum over that of the sum with itself. Shares add up to 1,
    and one is below 0 where it works against the others. None where that makes no sense."""
    source: SourceLine = SourceLine()

    @property
    def use(self) -> str:
        """The module that made the node, and which call of it: `cell RNNCell 3/16`."""
        return f"{self.module} {self.call}/{self.calls}" if self.call else self.module


class Total(Struct, frozen=True):
    """What met at one output of an operation, added up: what the engine used."""

    output: int
    shape: tuple[int, ...] = ()
    count: int = 1
    """How many were added."""
    norm: float | None = None
    """L2 norm of the sum that the engine used."""
    exact: bool = True
    """True when the rows, added in the order of arrival, are that sum bit for bit."""


class ContributionsView(Drawn, frozen=True, tag=True):
    """What met at one node."""

    stop: int
    number: int = -1
    name: str = ""
    """`node.name()`; empty when there is no node to see."""
    operation: str = ""
    module: str = ""
    parameter: str = ""
    """The parameter whose `.grad` the sum was added to; empty for other nodes."""
    grad: str = ""
    """The state of that `.grad`, as in the Model view: `fresh`, `x3` where two backwards had added to it before."""
    by: Order = "arrival"
    count: int = 0
    """How many met there in all."""
    first: int = 0
    rows: tuple[Contribution, ...] = ()
    greatest: float = 0.0
    """The greatest magnitude of a share, of all that met."""
    opposed: bool = False
    """True when a share of them is below 0."""
    totals: tuple[Total, ...] = ()
    """What they add up to: one for each output of the operation for which a gradient arrived."""
    note: str = ""

    @property
    def exact(self) -> bool:
        """True when everything that met there was seen, and adds up to what the engine used."""
        return all(total.exact for total in self.totals)

    @property
    def form(self) -> numbers.Form:
        """How the shares are written, in percent."""
        return numbers.form_of([100 * self.greatest], digits=3)

    @property
    def about(self) -> str:
        """What the sum is: `cell.weight_hh.grad, fresh: 16 gradients meet`."""
        what = f"{self.parameter}.grad, {self.grad}" if self.grad else f"#{self.number} {self.operation}"
        met = f"{numbers.count(self.count, 'gradient')} {'meet' if self.count > 1 else 'arrives'}"
        return f"{what}: {met}" if self.count else what

    @property
    def facts(self) -> tuple[str, ...]:
        """What else there is to say of the sum: what it is not, and what a hook made of it."""
        said = []
        if self.grad.startswith("x"):
            said.append(f".grad is {self.grad}: this is what the last backward added to it")
        if not self.exact:
            said.append("the rows do not add up to what was used: a hook changed the sum, or one was not seen")
        return (*said, self.note) if self.note else tuple(said)


def share_words(share: float | None, form: numbers.Form) -> str:
    """Write a share in percent, with its sign; a middle dot where there is none."""
    return "·" if share is None else f"{numbers.signed(100 * share, form)}%"
