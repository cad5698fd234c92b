"""Views: immutable values that show the state at a stop, and the requests for them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.drawn import Drawn
from gradstep.values.views.findings import FindingsView, LookFindings
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import InsideLook, InsideRequest
from gradstep.values.views.ledger import FormulaLine, LedgerView, LookLedger
from gradstep.values.views.node import NodeAnswer, NodeRequest
from gradstep.values.views.search import FoundView, LookFind
from gradstep.values.views.stack import LookStack, StackView
from gradstep.values.views.tensor import LookPlace, PlaceView
from gradstep.values.views.tensor import LookTensor as LookTensor
from gradstep.values.views.tensor import TensorView as TensorView
from gradstep.values.views.tensor import Window as Window
from gradstep.values.views.timeline import TimelineAnswer, TimelineRequest
from gradstep.values.views.training import TrainingRequest, TrainingView


# -- requests: visible panels send theirs after every stop ------------------------------------------------------------
class LookModel(Struct, frozen=True, tag=True):
    """Ask for `count` rows of the module tree from row `first`; by default for all."""

    first: int = 0
    count: int = 1 << 31
    near: str = ""
    """Centre of the window, in place of `first`: the path of a module, parameter or buffer."""


class LookWhy(Struct, frozen=True, tag=True):
    """Ask for an explanation of the last command, and for the arithmetic of one element of the selected parameter.

    `element` is an index into the whole selected tensor; None for the first element of the selection.
    """

    element: tuple[int, ...] | None = None


class LookLoss(Struct, frozen=True, tag=True):
    """Ask for the history of the loss, downsampled to at most `points` points.

    `by` says what a point is: each forward, or each iteration with the mean of its forwards. `smoothing` is the weight
    of the past in the exponential moving average, 0 for none. `beside` names a second branch whose losses to include;
    empty for none.
    """

    points: int = 400
    by: Literal["forward", "iteration"] = "forward"
    smoothing: float = 0.0
    beside: str = ""


class LookChanges(Struct, frozen=True, tag=True):
    """Ask what the last phase changed."""


class LookDigest(Struct, frozen=True, tag=True):
    """Ask for the digest of the whole state; not computed for more than `limit` bytes."""

    limit: int = 1 << 62


class LookNames(Struct, frozen=True, tag=True):
    """Ask for every name an expression may use, for completion."""


class LookState(Struct, frozen=True, tag=True):
    """Ask for the settings, the `let`s and the watchpoints."""


Request: TypeAlias = (
    LookModel
    | LookWhy
    | LookTensor
    | LookPlace
    | LookGraph
    | LookLoss
    | LookChanges
    | LookDigest
    | LookNames
    | LookState
    | LookLedger
    | TrainingRequest
    | TimelineRequest
    | InsideRequest
    | LookContributions
    | NodeRequest
    | LookFind
    | LookFindings
    | LookStack
)


# -- views -------------------------------------------------------------------------------------------------------------
class ModelRow(Struct, frozen=True):
    """A row of the module tree: a module, a parameter or a buffer."""

    kind: Literal["module", "parameter", "buffer"]
    name: str
    """Its own name, e.g. `weight`; the root module's class name for the root."""
    path: str
    """Its full dotted name, e.g. `2.weight`; empty for the root."""
    depth: int
    """0 for the root."""
    type: str = ""
    """The class of a module, e.g. `Linear`."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    device: str = ""
    norm: float | None = None
    """L2 norm of the whole tensor; None for modules and where undefined (bool, int, meta, empty)."""
    grad: str = ""
    """State of `.grad`: `none`, `zero`, `fresh`, `stale`, `x3`, `x6, 1 used`, `frozen`; empty for other rows."""
    grad_norm: float | None = None
    """L2 norm of `.grad`; None without a `.grad`."""
    shared: str = ""
    """The first path of the same tensor, when it is shared."""
    changed: bool = False
    """True when the last phase changed the tensor itself."""
    selected: bool = False
    grad_changed: bool = False
    """True when the last phase changed, created or cleared its `.grad`."""
    value: float | None = None
    """Its value, when it has one element."""


class ModelView(Drawn, frozen=True, tag=True):
    """A window of the module tree, depth first; parameters and buffers of a module before its children."""

    stop: int
    rows: tuple[ModelRow, ...]
    parameters: int
    """Number of elements of all parameters; shared ones count once."""
    first: int = 0
    """Number of rows before the window."""
    after: int = 0
    """Number of rows after it."""
    depth: int = 0
    """The depth of the deepest row."""
    later: tuple[int, ...] = ()
    """The depths at which a module after the window has a sibling, or its ancestor, in it."""
    selected: str = ""
    """The path of the selected row; empty for none."""
    selected_row: int = -1
    """Its row; -1 for none."""
    near: str = ""
    """As requested."""
    at: int = -1
    """The row of `near`; -1 when there is none."""

    @property
    def total(self) -> int:
        """Number of rows of the tree."""
        return self.first + len(self.rows) + self.after


class WhyView(Drawn, frozen=True, tag=True):
    """A sentence on what the last command did and did not do, and the equivalent line of PyTorch."""

    stop: int
    about: str
    """Subject of the sentence, e.g. `2.weight`; shown at the right of the title."""
    sentence: str
    torch: str
    more: tuple[str, ...] = ()
    """Further facts with their numbers (`72 of 203,530 ...`, `lr 0.001 -> 0.0009`)."""
    element: str = ""
    """The element of `lines`, e.g. `2.weight[0, 3]`; empty when no parameter is selected."""
    lines: tuple[FormulaLine, ...] = ()


class LossPoint(Struct, frozen=True):
    """The loss of one forward, or the mean loss of an iteration, with `forward` its last forward; counted from 1."""

    forward: int
    iteration: int
    loss: float
    smooth: float | None = None
    """The moving average up to here, ignoring non-finite losses; None without smoothing."""
    rate: float | None = None
    """The learning rate of the first group at that time; None when unknown."""


class LossView(Drawn, frozen=True, tag=True):
    """The history of the loss. Downsampling keeps non-finite losses."""

    stop: int
    points: tuple[LossPoint, ...]
    forwards: int
    note: str = ""
    by: Literal["forward", "iteration"] = "forward"
    smoothing: float = 0.0
    first_nan: LossPoint | None = None
    """The first forward, or iteration, whose loss was NaN."""
    first_inf: LossPoint | None = None
    beside: tuple[LossPoint, ...] = ()
    """The history of the second branch; empty when there is no such branch."""
    name: str = ""
    """What the script calls this loss, where it has several: the others are not in `points`."""


class Change(Struct, frozen=True):
    """A tensor that the last phase changed. Norms are of the whole tensor; None where there is no tensor."""

    name: str
    before: str
    """What it was: `none`, `zero`, or its norm as text."""
    after: str
    norm_before: float | None
    norm_after: float | None
    norm_of_change: float | None


class Changes(Drawn, frozen=True, tag=True):
    """What the last phase changed: parameters, then gradients, buffers and optimizer state."""

    stop: int
    phase: str
    loss: float | None
    rows: tuple[Change, ...]


class Digest(Struct, frozen=True, tag=True):
    """The digest of the whole state, and its platform; empty when the state exceeds the limit."""

    stop: int
    digest: str
    bytes: int
    """Bytes that were hashed."""
    platform: str = ""
    """torch version, CPU capability and thread count: digests are comparable only where these are equal."""


class Names(Struct, frozen=True, tag=True):
    """Every name an expression may use."""

    stop: int
    model: tuple[str, ...]
    values: tuple[str, ...]
    """`loss`, `iteration`, `lr`, the batch and the `let`s; inside a phase also its inputs and outputs."""
    functions: tuple[str, ...]
    modules: tuple[str, ...] = ()
    """Paths of modules other than the root, for breakpoints."""
    nodes: tuple[str, ...] = ()
    """Distinct names of the nodes of the graph."""
    parameters: tuple[str, ...] = ()
    breakpoints: tuple[int, ...] = ()
    """Numbers of the breakpoints."""
    branches: tuple[str, ...] = ()


class StateView(Struct, frozen=True, tag=True):
    """The settings, the `let`s and the watchpoints, each as text."""

    stop: int
    set_to_none: bool
    lets: tuple[tuple[str, str], ...]
    watches: tuple[tuple[int, str, str], ...]
    """Number, expression, present value."""


class NoView(Drawn, frozen=True, tag=True):
    """A view that could not be made, and why; the panel shows the reason.

    With `due`, it was not made yet, as it takes long: request it again, after all others.
    """

    stop: int
    why: str
    due: bool = False


View: TypeAlias = (
    ModelView
    | WhyView
    | TensorView
    | PlaceView
    | GraphView
    | LossView
    | Changes
    | Digest
    | Names
    | StateView
    | NoView
    | LedgerView
    | TrainingView
    | TimelineAnswer
    | InsideLook
    | ContributionsView
    | NodeAnswer
    | FoundView
    | FindingsView
    | StackView
)
