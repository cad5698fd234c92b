"""Views of one autograd node: its upstream gradient v, J, Jᵀv, its saved tensors, and the chain from the loss."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.views.tensor import Statistics

Direction: TypeAlias = Literal["", "row", "column"]
Rows: TypeAlias = tuple[tuple[float, ...], ...]
"""A window of numbers, row by row; a vector is a column. For more than two dimensions, the last two at index 0."""


# -- requests ----------------------------------------------------------------------------------------------------------
class LookNode(Struct, frozen=True, tag=True):
    """Ask for v, J and Jᵀv of a node, in windows of `rows` by `columns`."""

    number: int | None = None
    """Position of the node in execution order; None for the one stopped at."""
    path: str = ""
    """In place of a number, a parameter, for its leaf, or a module, for the node of its output."""
    edge: int = -1
    """The input of the operation whose J and Jᵀv are shown; -1 for the first that does not lead to a leaf."""
    output: int = -1
    """The output of the operation whose v is shown; -1 for the first that received a gradient."""
    rows: int = 8
    columns: int = 8
    top: int = 0
    left: int = 0
    """Origin of the windows onto v and Jᵀv."""
    row: int | None = None
    column: int | None = None
    """Origin of the window onto J; None for that of the vectors."""
    check: bool = False
    """True to compare J with finite differences; for a custom Function, its backward and double backward."""
    run: bool = False
    """True to allow an extra run of a custom Function's backward."""
    insist: bool = False
    """True to compute the window of J however long its rows are."""
    strip: Direction = ""
    """A single row or column of J, available however large J is."""
    at: tuple[int, ...] = ()
    """The output element of the row, or the input element of the column: an index or a flat index; empty for the one
    where v, or Jᵀv, is largest in magnitude."""
    span: int = 64
    """Number of its elements to return."""


class LookChain(Struct, frozen=True, tag=True):
    """Ask for the nodes on the path from the loss to a node: at most `count`, the first and the last ones."""

    number: int | None = None
    count: int = 64


# -- views -------------------------------------------------------------------------------------------------------------
class Flow(Struct, frozen=True):
    """A gradient: v, or Jᵀv."""

    shape: tuple[int, ...]
    dtype: str
    statistics: Statistics | None = None
    """Of the whole vector; None when it has no numbers."""
    window: Rows = ()
    note: str = ""

    @property
    def norm(self) -> float | None:
        """L2 norm of the whole vector."""
        return None if self.statistics is None else self.statistics.norm


class EdgeRow(Struct, frozen=True):
    """One input of the operation, and its gradient."""

    edge: int
    """Index in `next_functions`."""
    symbol: str = ""
    """Its symbol in the formulas, e.g. `x`; empty for an operation without a known formula."""
    formula: str = ""
    """Jᵀv in symbols, e.g. `v ⊙ 1[y > 0]`."""
    number: int = -1
    """The next node; -1 when the input requires no gradient."""
    name: str = ""
    """`node.name()` of that node."""
    operation: str = ""
    """Its operation as text; `2.weight.grad` for a leaf."""
    module: str = ""
    parameter: str = ""
    shape: tuple[int, ...] = ()
    leaves: Flow | None = None
    """Jᵀv; None when unknown, and `note` says why."""
    ratio: float | None = None
    """Norm of Jᵀv divided by the norm of all upstream gradients."""
    summed: tuple[int, ...] = ()
    """Dimensions of v that are summed, because the forward broadcast the input along them."""
    meets: int = 0
    """Number of other edges to the same node, whose gradients are added there."""
    note: str = ""


class SavedRow(Struct, frozen=True):
    """A tensor that the node saved in the forward."""

    name: str
    """Its name in torch, e.g. `mat1`."""
    state: Literal["alive", "freed", "written", "hooked"]
    """written: modified in place since it was saved; hooked: packed by a hook, as in activation checkpointing, and not
    readable."""
    symbol: str = ""
    """Its symbol in the formulas."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    bytes: int = 0
    """Bytes of its elements."""
    owner: str = ""
    """The parameter or buffer that it is, or is a view of, so that it takes no extra memory."""
    version_then: int | None = None
    version_now: int | None = None
    window: Rows = ()


class Strip(Struct, frozen=True):
    """A row of J, ∂ one output element / ∂ every input element, or a column, ∂ every output element / ∂ one input."""

    direction: Direction
    number: int
    """The flat index of the row or column."""
    index: tuple[int, ...]
    """The index of the output element for a row; of the input element for a column."""
    count: int = 0
    """Number of elements of the row or column."""
    shape: tuple[int, ...] = ()
    """Their shape: the input's for a row, the output's for a column."""
    window: tuple[float, ...] = ()
    """Consecutive elements from the first non-zero one; when few are non-zero, only those."""
    sparse: bool = False
    """True when the window has non-zero elements only."""
    ends: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    """Indices of the window's first and last elements."""
    nonzero: int = 0
    norm: float | None = None
    greatest: tuple[tuple[tuple[int, ...], float], ...] = ()
    """The elements largest in magnitude, with their indices."""
    how: str = ""
    """How it was computed, as text."""
    note: str = ""
    """Why there is none."""


class MatrixPart(Struct, frozen=True):
    """A window onto J for one output and one input, `J[r, c] = ∂ output r / ∂ input c`, with flat indices."""

    edge: int
    output: int
    rows: int
    columns: int
    structure: str = ""
    """E.g. `diagonal`, `block diagonal`, `no structure`; empty when not determined."""
    words: str = ""
    """The structure with its sizes, e.g. `block diagonal: 16 blocks of 10×256, all the same`."""
    top: int = 0
    left: int = 0
    window: Rows = ()
    zeros: int | None = None
    ones: int | None = None
    """Number of diagonal elements that are 0 and 1; None when J is not diagonal."""
    agrees: bool | None = None
    """Whether finite differences agree; None when not checked, or undecided."""
    check: str = ""
    """Result of the check, as text; for a custom Function, a line for each backward."""
    note: str = ""
    """Why there is no window."""
    strip: Strip | None = None
    """The requested row or column."""


class Link(Struct, frozen=True):
    """A node on the path from the loss."""

    number: int
    name: str
    operation: str
    module: str
    shape: tuple[int, ...]
    """Shape of its upstream gradient v."""
    symbol: str = ""
    """The input along which the path continues; empty for the last node."""
    columns: int = 0
    """Number of elements of that input, which is the number of columns of J; its rows are the elements of `shape`."""
    norm: float | None = None
    """Norm of v; None when not recorded."""


class Chain(Struct, frozen=True):
    """The shortest path from the loss to a node.

    v at the node is the sum, over all paths, of the products of the transposed Jacobians along them.
    """

    links: tuple[Link, ...] = ()
    length: int = 0
    """Number of nodes on the path, including those not in `links`."""
    skipped: int = 0
    """Number of nodes omitted after the first of `links`."""
    ways: int = 1
    """Number of paths, whose gradients are added; capped at a million."""


class NodeView(Struct, frozen=True, tag=True):
    """A node with its upstream gradients, J, Jᵀv and saved tensors."""

    stop: int
    number: int = -1
    total: int = 0
    name: str = ""
    """`node.name()`, e.g. `ReluBackward0`; empty when there is no node, and `note` says why."""
    operation: str = ""
    """The operation as text, e.g. `relu`."""
    module: str = ""
    """Path and class of the owning module, `loss` outside the model."""
    when: Literal["", "before", "after"] = ""
    """Whether the node is about to run or has just run; empty when not stopped at it."""
    forward: str = ""
    """The operation in symbols, e.g. `y = max(x, 0)`; empty when there is no known formula."""
    words: str = ""
    """What the node does to v, as text."""
    arrives: tuple[Flow | None, ...] = ()
    """v for each output of the operation; None where none arrived. Empty when not recorded."""
    edges: tuple[EdgeRow, ...] = ()
    seen: int = -1
    """The edge of `matrix` and the windows; -1 for none."""
    leaf: str = ""
    """The parameter into whose `.grad` the node accumulates v; empty for other nodes."""
    matrix: MatrixPart | None = None
    saved: tuple[SavedRow, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    """What it saved besides tensors, e.g. `("dim", "1")`."""
    chain: Chain = Chain()
    exact: bool = False
    """True when Jᵀv is what the engine passed on; otherwise it is computed in advance."""
    note: str = ""
    edits: tuple[str, ...] = ()
    """Gradient edits made here, as text."""
    call: str = ""
    """In a forward, the torch.autograd call that runs the node: v starts from its grad_outputs, not from 1."""


class ChainView(Struct, frozen=True, tag=True):
    """The chain from the loss to a node."""

    stop: int
    chain: Chain = Chain()
    note: str = ""


NodeRequest: TypeAlias = LookNode | LookChain
NodeAnswer: TypeAlias = NodeView | ChainView
