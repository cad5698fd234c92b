"""Views of one autograd node: v that arrives, J, J^T v that leaves, what it saved, and the chain from the loss."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.views.tensor import Statistics

Direction: TypeAlias = Literal["", "row", "column"]
Rows: TypeAlias = tuple[tuple[float, ...], ...]
"""A window of numbers, row by row; a vector is a column. Of more than two dimensions, the last two at index 0."""


# -- requests ----------------------------------------------------------------------------------------------------------
class LookNode(Struct, frozen=True, tag=True):
    """Ask what a node does to what arrives: v, J and J^T v in windows of `rows` by `columns`."""

    number: int | None = None
    """Place of the node in the execution order; None for the one that is stopped at."""
    path: str = ""
    """A parameter, or a module, in place of a number: the leaf of the one, the node that made the other's output."""
    edge: int = -1
    """The input of the forward's operation whose J and J^T v are seen; -1 for the first that leads
    on, not to a leaf."""
    output: int = -1
    """The output of the operation whose v is seen; -1 for the first for which one arrived."""
    rows: int = 8
    columns: int = 8
    top: int = 0
    left: int = 0
    """Where the windows onto v and J^T v begin."""
    row: int | None = None
    column: int | None = None
    """Where the window onto J begins; None to begin where those onto the vectors do."""
    check: bool = False
    """True to compare J with finite differences; of a custom Function its backward and double backward."""
    run: bool = False
    """True to run the backward of a custom Function once more for it."""
    insist: bool = False
    """True to compute what is seen of J however large a row of it is."""
    strip: Direction = ""
    """A row or a column of J, to be had by itself however large J is."""
    at: tuple[int, ...] = ()
    """The element of the output that it is the row of, or of the input that it is the column of: an index, or its place
    counted row by row; empty for the one at which v, or J^T v, is farthest from 0."""
    span: int = 64
    """How many elements of it are seen."""


class LookChain(Struct, frozen=True, tag=True):
    """Ask for the nodes on the way from the loss to a node, `count` at most: the first one and the last ones."""

    number: int | None = None
    count: int = 64


# -- views -------------------------------------------------------------------------------------------------------------
class Flow(Struct, frozen=True):
    """A vector that flows: v that arrives, or J^T v that leaves."""

    shape: tuple[int, ...]
    dtype: str
    statistics: Statistics | None = None
    """Of the whole vector; None where it has no numbers to take any of."""
    window: Rows = ()
    note: str = ""

    @property
    def norm(self) -> float | None:
        """L2 norm of the whole vector."""
        return None if self.statistics is None else self.statistics.norm


class EdgeRow(Struct, frozen=True):
    """One input of the forward's operation, and what flows back to it."""

    edge: int
    """Place in `next_functions`."""
    symbol: str = ""
    """What the formulas call it, e.g. `x`; empty for an operation whose derivative is not in the tables."""
    formula: str = ""
    """J^T v in the field's notation, e.g. `v ⊙ 1[y > 0]`."""
    number: int = -1
    """The node that it flows to; -1 where it ends, for the input needs no gradient."""
    name: str = ""
    """`node.name()` of that node."""
    operation: str = ""
    """Its operation in plain words, `2.weight.grad` for a leaf."""
    module: str = ""
    parameter: str = ""
    shape: tuple[int, ...] = ()
    leaves: Flow | None = None
    """J^T v; None where it is not known, and `note` says why."""
    ratio: float | None = None
    """Its norm over the norm of all that arrived."""
    summed: tuple[int, ...] = ()
    """Dimensions of v that are summed over because the forward broadcast the input along them."""
    meets: int = 0
    """How many other edges lead to the same node: what they bring is added there."""
    note: str = ""


class SavedRow(Struct, frozen=True):
    """A tensor that the node keeps from the forward."""

    name: str
    """As torch names it, e.g. `mat1`."""
    state: Literal["alive", "freed", "written", "hooked"]
    """written: in place, since it was saved; hooked: packed, by a checkpoint for instance, and not to be looked at."""
    symbol: str = ""
    """What the formulas call it."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    bytes: int = 0
    """Bytes of its elements."""
    owner: str = ""
    """The parameter or buffer that it is, or is a view of: then it takes no memory of its own."""
    version_then: int | None = None
    version_now: int | None = None
    window: Rows = ()


class Strip(Struct, frozen=True):
    """One row of J, ∂ one output element / ∂ each input element, or one column, ∂ each output element / ∂ one input."""

    direction: Direction
    number: int
    """Which row or column, counted row by row."""
    index: tuple[int, ...]
    """The index of the output's element, of a row; of the input's, of a column."""
    count: int = 0
    """How many elements the row or column has."""
    shape: tuple[int, ...] = ()
    """What they are laid out as: the input's shape, of a row; the output's, of a column."""
    window: tuple[float, ...] = ()
    """Elements one after the other from the first that is not 0 on; where few are not 0, only those."""
    sparse: bool = False
    """True where those that are 0 are left out of the window."""
    ends: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """The indices of the first and the last of the window."""
    nonzero: int = 0
    norm: float | None = None
    greatest: tuple[tuple[tuple[int, ...], float], ...] = ()
    """Those farthest from 0, with their indices."""
    how: str = ""
    """How it was had, in words."""
    note: str = ""
    """Why there is none."""


class MatrixPart(Struct, frozen=True):
    """What is seen of J for one output and one input, `J[r, c] = ∂ output r / ∂ input c`, both counted row by row."""

    edge: int
    output: int
    rows: int
    columns: int
    structure: str = ""
    """E.g. `diagonal`, `block diagonal`; `no structure`; empty where it was not looked for."""
    words: str = ""
    """The structure with its sizes, e.g. `block diagonal: 16 blocks of 10×256, all the same`."""
    top: int = 0
    left: int = 0
    window: Rows = ()
    zeros: int | None = None
    ones: int | None = None
    """How many elements of the diagonal are 0 and 1; None where J is not diagonal."""
    agrees: bool | None = None
    """Whether finite differences agree; None where that was not asked, or can't be said."""
    check: str = ""
    """What came of the comparison, in words; of a custom Function a line for each backward."""
    note: str = ""
    """Why there is no window."""
    strip: Strip | None = None
    """The row or column that was asked for."""


class Link(Struct, frozen=True):
    """A node on the way from the loss."""

    number: int
    name: str
    operation: str
    module: str
    shape: tuple[int, ...]
    """Shape of v that arrives there."""
    symbol: str = ""
    """The input by which the way goes on; empty for the node that it leads to."""
    columns: int = 0
    """Elements of that input: J is as many columns wide as that, and as many rows high as `shape` has elements."""
    norm: float | None = None
    """Norm of v; None where it was not seen."""


class Chain(Struct, frozen=True):
    """The shortest way from the loss to a node: J^T v is the product of the transposed Jacobians along every way."""

    links: tuple[Link, ...] = ()
    length: int = 0
    """Nodes on the way, those left out of `links` too."""
    skipped: int = 0
    """How many are left out, behind the first of `links`."""
    ways: int = 1
    """How many ways lead there: what comes by each is added. A million stands for a million and more."""


class NodeView(Struct, frozen=True, tag=True):
    """A node, what arrives, what it makes of it and what leaves."""

    stop: int
    number: int = -1
    total: int = 0
    name: str = ""
    """`node.name()`, e.g. `ReluBackward0`; empty when there is none to see, and `note` says why."""
    operation: str = ""
    """The operation in plain words, e.g. `relu`."""
    module: str = ""
    """Path and class of the owning module, `loss` outside of the model."""
    when: Literal["", "before", "after"] = ""
    """Whether the node is about to run, or has just run; empty where it is not stopped at."""
    forward: str = ""
    """The operation in the field's notation, e.g. `y = max(x, 0)`; empty when it is not in the tables."""
    words: str = ""
    """What happens to v, in a line of words."""
    arrives: tuple[Flow | None, ...] = ()
    """v for each output of the operation; None where none arrived. Empty where it was not seen."""
    edges: tuple[EdgeRow, ...] = ()
    seen: int = -1
    """The edge that `matrix` and the windows are about; -1 for none."""
    leaf: str = ""
    """The parameter that the node adds v to the `.grad` of; empty for other nodes."""
    matrix: MatrixPart | None = None
    saved: tuple[SavedRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """What it kept that is no tensor, e.g. `("dim", "1")`."""
    chain: Chain = Chain()
    exact: bool = False
    """True when J^T v is what the engine passed on; otherwise it is what it is going to pass on."""
    note: str = ""
    by_hand: tuple[str, ...] = ()
    """What flows here and was changed by hand, in words."""
    call: str = ""
    """In a forward, the call of torch.autograd that runs the node: v began with what that was given, not with 1."""


class ChainView(Struct, frozen=True, tag=True):
    """The chain from the loss to a node."""

    stop: int
    chain: Chain = Chain()
    note: str = ""


NodeRequest: TypeAlias = LookNode | LookChain
NodeAnswer: TypeAlias = NodeView | ChainView
