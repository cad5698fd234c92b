"""Views of the grad_fn graph: its rows, nodes or folded groups of them, in the order in which backward runs them."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gradstep.values.views.drawn import Drawn


class LookGraph(Struct, frozen=True, tag=True):
    """Ask for `count` rows of the grad_fn graph from row `first` on.

    While it is asked for, forwards note the source line of each node.
    """

    first: int = 0
    count: int = 200
    level: int = -1
    """Groups nested this deep and deeper are folded, 0: all of them; -1: none while the graph has few nodes, and as
    many as it takes in a large one."""
    turned: tuple[str, ...] = ()
    """Groups, by their keys, that are the other way: open where they would be folded, or folded."""
    near: str = ""
    """What the window is to lie around, in place of `first`: `#12` for the row of a node, or the path of a module or
    parameter for its first row."""
    lanes: int = 8
    """How many lanes are drawn; edges that find none free are named by the number of the node that they lead to."""
    sizes: bool = False
    """True to measure what the nodes keep: a pass over all of them, the first time for each graph."""


class NodeRow(Struct, frozen=True):
    """A row of the graph: one `torch.autograd.graph.Node`, or the nodes of one module call folded into one row."""

    order: int
    """Place of the node in the execution order, from 0; of a group that of its first node."""
    name: str
    """`node.name()`, e.g. `AddmmBackward0`; of a group the class of the module."""
    operation: str
    """The operation in plain words, e.g. `b + x Wᵀ`; `2.weight.grad` for a leaf; of a group the class of the module."""
    shape: tuple[int, ...] | None
    """Shape of what flows into the node in backward, which is the shape of the forward's output."""
    module: str
    """Path and class of the owning module, e.g. `2 Linear`; `loss` outside of the model."""
    parameter: str
    """The parameter whose `.grad` a leaf adds to; empty otherwise."""
    edges: tuple[int, ...]
    """Order numbers of the rows that its outputs flow to, in the order of `next_functions`, without empty ones."""
    lanes: str
    """The lanes of this row as drawn, e.g. `●─┬─╮`; `↓12` behind them names an edge that found no lane free, `↑` says
    that such an edge ends here."""
    status: Literal["", "done", "running", "ready", "waiting", "left out"] = ""
    """done: backward has run this node; the others are said inside a backward that is stepped. left out: a
    `torch.autograd.grad` does not run it, for it leads to none of the inputs that were asked for."""
    path: str | None = None
    """The owning module; empty for the model itself, None outside of it."""
    file: str = ""
    """The file of the user's code that made the node, or that called the module of a group."""
    line: int = 0
    """The line in it, from 1; 0 when it is not known."""
    source: str = ""
    """The text of that line; what gradstep itself called where no code of the user's was running."""
    grad: str = ""
    """The state of the `.grad` that a leaf adds to, as in the Model view."""
    saved: Literal["", "alive", "freed", "written", "packed"] = ""
    """What became of the tensors saved for backward; empty: there are none. written: changed since, so that torch will
    refuse; packed: a hook has them, as in a checkpoint."""
    bytes: int | None = None
    """Memory that the saved tensors stand on, parameters and buffers apart; None when it was not measured."""
    nodes: int = 1
    """How many nodes the row stands for."""
    group: str = ""
    """The key of the folded group that the row is; empty for a node."""
    inside: str = ""
    """The key of the innermost open group that the row is in; empty outside of all."""
    opens: bool = False
    """True for the first row of that group."""
    call: int = 0
    """Which call of the module the nodes were made in, from 1; 0 where there was only one."""
    calls: int = 0
    """How many calls of it there were, where there were several."""
    given: tuple[int, ...] | None = None
    """Of a group: the shape of what the module was given first; None when it is not known."""
    parameters: int = 0
    """Of a group: how many parameters it adds to the `.grad` of."""

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
    """Rows: nodes and folded groups."""
    first: int = 0
    rows: tuple[NodeRow, ...] = ()
    note: str = ""
    nodes: int = 0
    """Nodes, those in folded groups too."""
    near: str = ""
    """What was asked for."""
    at: int = -1
    """The row that `near` names; -1 when it names none that is there."""
    groups: int = 0
    """How many groups could be folded."""
    lined: bool = False
    """True when the forward noted source lines."""
    bytes: int | None = None
    """Memory that the graph keeps alive: the storages of all saved tensors, each once, parameters and buffers apart.
    None when it was not measured."""
    packed: int = 0
    """Nodes whose saved tensors a hook has; what that keeps is not in `bytes`."""
