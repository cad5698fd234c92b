"""Views of the grad_fn graph: its nodes or folded groups of nodes, in execution order."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.views.drawn import Drawn


class LookGraph(Struct, frozen=True, tag=True):
    """Ask for `count` rows of the grad_fn graph from row `first`.

    While it is requested, forwards record the source line of each node.
    """

    first: int = 0
    count: int = 200
    level: int = -1
    """Groups nested at least this deep are folded, 0: all groups; -1: none in a small graph, as many as necessary in a
    large one."""
    turned: tuple[str, ...] = ()
    """Keys of groups in the opposite state: open where they would be folded, or the reverse."""
    near: str = ""
    """Centre of the window, in place of `first`: `#12` for the row of a node, or the path of a module or parameter for
    its first row."""
    lanes: int = 8
    """Number of lanes; an edge without a free lane is shown as the number of the node it leads to."""
    sizes: bool = False
    """True to measure the memory of saved tensors: a pass over all nodes, once for each graph."""


class NodeRow(Struct, frozen=True):
    """A row of the graph: a `torch.autograd.graph.Node`, or the nodes of a module call folded into one row."""

    order: int
    """Position of the node in execution order, from 0; for a group, of its first node."""
    name: str
    """`node.name()`, e.g. `AddmmBackward0`; for a group, the class of the module."""
    operation: str
    """The operation as text, e.g. `b + x Wᵀ`; `2.weight.grad` for a leaf; for a group, the class of the module."""
    shape: tuple[int, ...] | None
    """Shape of the upstream gradient, which is the shape of the forward's output."""
    module: str
    """Path and class of the owning module, e.g. `2 Linear`; `loss` outside the model; empty if not recorded."""
    parameter: str
    """The parameter into whose `.grad` a leaf accumulates; empty otherwise."""
    edges: tuple[int, ...]
    """`order` of the rows that its gradients flow to, in the order of `next_functions`, without empty ones."""
    lanes: str
    """The lanes of this row as drawn, e.g. `●─┬─╮`; `↓12` after them is an edge without a free lane, `↑` the end of
    such an edge."""
    status: Literal["", "done", "running", "ready", "waiting", "left out"] = ""
    """done: backward has run this node; the others occur inside a stepped backward. left out: not run by
    `torch.autograd.grad`, for it leads to none of the requested inputs."""
    path: str | None = None
    """The owning module; empty for the model itself, None outside it."""
    file: str = ""
    """The file of the user's code that created the node, or that called the module of a group."""
    line: int = 0
    """The line in it, from 1; 0 when unknown."""
    source: str = ""
    """The text of that line; gradstep's own call where no user code was running."""
    grad: str = ""
    """The state of the `.grad` of a leaf, as in the model view."""
    saved: Literal["", "alive", "freed", "written", "packed"] = ""
    """State of the tensors saved for backward; empty: none. written: modified in place since, so that backward will
    raise; packed: by a hook, as in activation checkpointing."""
    bytes: int | None = None
    """Bytes of the saved tensors' storages, without parameters and buffers; None when not measured."""
    nodes: int = 1
    """Number of nodes in the row."""
    group: str = ""
    """The key of the folded group; empty for a node."""
    inside: str = ""
    """The key of the innermost open group around the row; empty outside of groups."""
    opens: bool = False
    """True for the first row of that group."""
    call: int = 0
    """The call of the module, from 1; 0 when there was only one."""
    calls: int = 0
    """Number of calls of it; 0 when there was only one."""
    given: tuple[int, ...] | None = None
    """For a group: the shape of the module's first input; None when unknown."""
    parameters: int = 0
    """For a group: the number of parameters into whose `.grad` it accumulates."""

    @property
    def done(self) -> bool:
        """True when backward has run the node."""
        return self.status == "done"


class GraphView(Drawn, frozen=True, tag=True):
    """A window of the grad_fn graph of the last loss, in execution order."""

    stop: int
    state: Literal["none", "alive", "freed", "partly freed"]
    """none: no loss yet, or a loss without a graph."""
    total: int = 0
    """Number of rows: nodes and folded groups."""
    first: int = 0
    rows: tuple[NodeRow, ...] = ()
    note: str = ""
    nodes: int = 0
    """Number of nodes, including those in folded groups."""
    near: str = ""
    """As requested."""
    at: int = -1
    """The row of `near`; -1 when there is none."""
    groups: int = 0
    """Number of groups."""
    lined: bool = False
    """True when the forward recorded source lines."""
    recorded: bool = True
    """False where the forward was not watched: the modules that made the nodes are unknown."""
    bytes: int | None = None
    """Bytes that the graph keeps alive: the storages of all saved tensors, each once, without parameters and buffers.
    None when not measured."""
    packed: int = 0
    """Number of nodes whose saved tensors a hook packed; those are not in `bytes`."""
