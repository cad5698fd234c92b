"""Inside a phase: where it is stopped, what was passed there, and where it is to stop."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.commands import Break, BreakKind, Edge, line_of
from gradstep.values.expressions import Expression


class SourceLine(Struct, frozen=True):
    """A line of the user's code: file, line number from 1, function and text; all empty when there is none."""

    file: str = ""
    line: int = 0
    function: str = ""
    text: str = ""


class Position(Struct, frozen=True):
    """Where a stop inside a phase is: the phase, the modules that are running, and the module, op or node it is at."""

    phase: Literal["forward", "backward"]
    kind: Literal["module", "op", "node"]
    edge: Edge
    """A module is entered or left; an op has run (`exit`); a node is about to run or has run (`before`, `after`)."""
    name: str
    """The class of the module, the name of the op as in `torch.relu`, or `node.name()`."""
    path: str = ""
    """The module stopped at, or the one that owns the op or node; empty for the root and outside of the model."""
    stack: tuple[str, ...] = ()
    """The modules that are running, outermost first, each as `path Class`; in a backward the owner of the node."""
    number: int = -1
    """Place of the node in the execution order, from 0; -1 for a module or op."""
    total: int = 0
    """Nodes of the graph; 0 for a module or op."""
    place: int = 0
    """Stops passed since the phase began, this one included."""
    reason: str = "step"
    """Why it stopped: `step`, `pause`, `breakpoint 2`, `until`, `nan`, with what there is to say of it."""
    source: SourceLine = SourceLine()
    """The line of the user's code that is running, or that made the node."""
    parameter: str = ""
    """The parameter whose `.grad` the node adds to; empty for other nodes and in a forward."""
    call: str = ""
    """Of a node in a forward, the call of torch.autograd that runs it: `torch.autograd.grad`."""

    @property
    def words(self) -> str:
        """Return where it is in a line: `backward: before #3 AddmmBackward0 of 2 Linear`."""
        number = f"#{self.number} " if self.number >= 0 else ""
        what = f"{self.path} {self.name}".strip() if self.kind == "module" else f"{number}{self.name}"
        owner = f" of {self.stack[-1]}" if self.stack and self.kind != "module" else ""
        phase = f"{self.phase} > {self.call}" if self.call else self.phase
        return f"{phase}: {self.edge} {what}{owner}"


class Passed(Struct, frozen=True):
    """A tensor that goes into or comes out of what is stopped at."""

    name: str
    """As an expression names it: `node.in`, `node.out[1]`, `module.in[0]`, `op.out`."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    norm: float | None = None
    """L2 norm; None where a norm makes no sense."""
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    zeros: int | None = None
    nans: int = 0
    infs: int = 0
    requires_grad: bool = False
    why_not: str = ""
    """Why an output of a forward does not require grad; empty where it does."""
    text: str = ""
    """What it is, where it is no tensor."""
    place: str = ""
    """Of a gradient, the node that it arrives at: `#7 relu of 1 ReLU`."""


class LookInside(Struct, frozen=True, tag=True):
    """Ask for what is passed at the position: inputs, outputs, what took part.

    Between phases: for the gradients of the outputs and inputs of a module in the last backward.
    """

    number: int | None = None
    """A node: without a path, of the innermost module that made it; with one, of the call that made it."""
    path: str = ""
    """A module, or a parameter for the module that has it; empty without a number, too: the whole model."""


class InsideView(Struct, frozen=True, tag=True):
    """What there is to see at a stop inside a phase; between phases, the gradients that flowed through a module."""

    stop: int
    position: Position | None = None
    inputs: tuple[Passed, ...] = ()
    outputs: tuple[Passed, ...] = ()
    parameters: tuple[str, ...] = ()
    """The parameters that took part: of the module or op, or that the node leads to."""
    grad_mode: bool = True
    autocast: str = ""
    """The dtype that autocast computes in; empty when it is off."""
    module: str = ""
    """Between phases, path and class of the module that the gradients are of."""
    call: int = 0
    """Which call of it, from 1; 0 where it was called once."""
    calls: int = 0
    note: str = ""
    by_hand: tuple[str, ...] = ()
    """What flows here and was changed by hand, in words."""


class LookSource(Struct, frozen=True, tag=True):
    """Ask for the lines of source around the position, or around the line that made a node."""

    lines: int = 20
    number: int | None = None
    """The place of the node in the execution order; of a leaf, the line that uses the parameter."""
    path: str = ""
    """A parameter or a module in place of a number: the line that uses the one, or made the other's output."""
    first: int = 0
    """Number of the line to begin with; 0 to have the one that matters in the middle."""


class SourceView(Struct, frozen=True, tag=True):
    """Lines of a source file, with the line that matters."""

    stop: int
    file: str = ""
    first: int = 1
    """Number of the first line of `lines`."""
    lines: tuple[str, ...] = ()
    here: int = 0
    """Number of the line that is running, or that made the node."""
    function: str = ""
    note: str = ""
    total: int = 0
    """Lines of the whole file."""
    made: str = ""
    """The node that the line made, e.g. `#4`; empty for the line that is running."""


class Breakpoint(Struct, frozen=True):
    """A place or condition at which a running phase stops, or at which a logpoint prints."""

    number: int
    kind: BreakKind
    what: str = ""
    """A phase; a module's path or glob; a node's name, glob or `#12`; a parameter or glob; an iteration."""
    edge: Edge = ""
    condition: Expression | None = None
    """It must hold for a hit."""
    log: Expression | None = None
    """What a logpoint prints in place of stopping."""
    ignore: int = 0
    """Hits to pass by before it stops."""
    hits: int = 0
    enabled: bool = True
    passing: bool = False
    """True for a logpoint: it prints and goes on."""

    def watches(self, phase: str, inner: bool = False) -> bool:
        """Return whether it could stop inside a phase, so that the phase has to be watched.

        With `inner` it is a forward that runs backwards by itself: it has nodes, too.
        """
        if not self.enabled:
            return False
        if self.kind == "phase":
            return self.what == phase and phase in ("forward", "backward")
        modules, nodes = phase == "forward", phase == "backward" or inner
        return (
            (self.kind == "module" and modules)
            or (self.kind in ("node", "grad") and nodes)
            or (self.kind in ("nan", "inf") and phase in ("forward", "backward"))
        )

    @property
    def line(self) -> str:
        """The command that sets it."""
        return line_of(Break(self.kind, self.what, self.edge, self.condition, self.log, self.ignore, self.passing))


class LookBreakpoints(Struct, frozen=True, tag=True):
    """Ask for the breakpoints and logpoints."""


class BreakpointsView(Struct, frozen=True, tag=True):
    """The breakpoints and logpoints, by number."""

    stop: int
    rows: tuple[Breakpoint, ...] = ()
    hit: int = 0
    """The number of the one that this stop is due to; 0 for none."""


InsideRequest: TypeAlias = LookInside | LookSource | LookBreakpoints
InsideLook: TypeAlias = InsideView | SourceView | BreakpointsView
