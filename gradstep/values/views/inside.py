"""Stops inside a phase: position, inputs and outputs, source lines, breakpoints."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.commands import Break, BreakKind, Edge, line_of
from gradstep.values.expressions import Expression


class SourceLine(Struct, frozen=True):
    """A line of the user's code: file, line number from 1, function and text; all empty when unknown."""

    file: str = ""
    line: int = 0
    function: str = ""
    text: str = ""


class Position(Struct, frozen=True):
    """The position of a stop inside a phase: the phase, the running modules, and the module, op or node."""

    phase: Literal["forward", "backward"]
    kind: Literal["module", "op", "node"]
    edge: Edge
    """A module is entered or exited; an op has run (`exit`); a node is about to run or has run (`before`, `after`)."""
    name: str
    """The class of the module, the name of the op, as in `torch.relu`, or `node.name()`."""
    path: str = ""
    """The module, or the owner of the op or node; empty for the root and outside the model."""
    stack: tuple[str, ...] = ()
    """The running modules, outermost first, each as `path Class`; in a backward, the owner of the node."""
    number: int = -1
    """Position of the node in execution order, from 0; -1 for a module or op."""
    total: int = 0
    """Number of nodes of the graph; 0 for a module or op."""
    place: int = 0
    """Possible stops since the phase began, including this one."""
    reason: str = "step"
    """Why it stopped: `step`, `pause`, `breakpoint 2`, `until`, `nan`, with details."""
    source: SourceLine = SourceLine()
    """The running line of the user's code, or the one that created the node."""
    parameter: str = ""
    """The parameter into whose `.grad` the node accumulates; empty for other nodes and in a forward."""
    call: str = ""
    """For a node in a forward, the call that runs it: `torch.autograd.grad`."""

    @property
    def words(self) -> str:
        """Return the position as text: `backward: before #3 AddmmBackward0 of 2 Linear`."""
        number = f"#{self.number} " if self.number >= 0 else ""
        what = f"{self.path} {self.name}".strip() if self.kind == "module" else f"{number}{self.name}"
        owner = f" of {self.stack[-1]}" if self.stack and self.kind != "module" else ""
        phase = f"{self.phase} > {self.call}" if self.call else self.phase
        return f"{phase}: {self.edge} {what}{owner}"


class Passed(Struct, frozen=True):
    """An input or output of the module, op or node at the position."""

    name: str
    """Its name in expressions: `node.in`, `node.out[1]`, `module.in[0]`, `op.out`."""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    norm: float | None = None
    """L2 norm; None where undefined."""
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    zeros: int | None = None
    nans: int = 0
    infs: int = 0
    requires_grad: bool = False
    why_not: str = ""
    """Why an output of a forward does not require grad; empty when it does."""
    text: str = ""
    """Its description, if it is not a tensor."""
    place: str = ""
    """For a gradient, the node that it arrives at: `#7 relu of 1 ReLU`."""


class LookInside(Struct, frozen=True, tag=True):
    """Ask for inputs, outputs and parameters at the position.

    Between phases, for the gradients of a module's outputs and inputs in the last backward.
    """

    number: int | None = None
    """A node: selects its innermost module; with a path, the call of that module that created it."""
    path: str = ""
    """A module, or a parameter of it; empty, without a number, for the whole model."""


class InsideView(Struct, frozen=True, tag=True):
    """Inputs and outputs at a stop inside a phase; between phases, the gradients that flowed through a module."""

    stop: int
    position: Position | None = None
    inputs: tuple[Passed, ...] = ()
    outputs: tuple[Passed, ...] = ()
    parameters: tuple[str, ...] = ()
    """The parameters of the module or op, or those that the node leads to."""
    grad_mode: bool = True
    autocast: str = ""
    """The dtype of autocast; empty when it is off."""
    module: str = ""
    """Between phases, path and class of the module."""
    call: int = 0
    """The call of it, from 1; 0 when it was called once."""
    calls: int = 0
    note: str = ""
    edits: tuple[str, ...] = ()
    """Gradient edits made here, as text."""


class LookSource(Struct, frozen=True, tag=True):
    """Ask for source lines around the position, or around the line that created a node."""

    lines: int = 20
    number: int | None = None
    """Position of the node in execution order; for a leaf, the line that uses the parameter is shown."""
    path: str = ""
    """In place of a number, a parameter, for the line that uses it, or a module, for the line that made its output."""
    first: int = 0
    """Number of the first line; 0 to centre the highlighted one."""


class SourceView(Struct, frozen=True, tag=True):
    """Lines of a source file, one of them highlighted."""

    stop: int
    file: str = ""
    first: int = 1
    """Number of the first line of `lines`."""
    lines: tuple[str, ...] = ()
    here: int = 0
    """Number of the running line, or of the one that created the node."""
    function: str = ""
    note: str = ""
    total: int = 0
    """Number of lines of the file."""
    made: str = ""
    """The node that the line created, e.g. `#4`; empty for the running line."""


class Breakpoint(Struct, frozen=True):
    """A breakpoint, which stops a running phase, or a logpoint, which prints."""

    number: int
    kind: BreakKind
    what: str = ""
    """A phase; a module's path or glob; a node's name, glob or `#12`; a parameter or glob; an iteration."""
    edge: Edge = ""
    condition: Expression | None = None
    """Must hold for a hit."""
    log: Expression | None = None
    """What a logpoint prints instead of stopping."""
    ignore: int = 0
    """Hits to skip before it stops."""
    hits: int = 0
    enabled: bool = True
    passing: bool = False
    """True for a logpoint, which prints and continues."""

    def watches(self, phase: str, inner: bool = False) -> bool:
        """Return whether it could stop inside a phase, so that the phase must be observed.

        With `inner` it is a forward that runs backwards itself, and so has nodes.
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
    """The number of the one that caused this stop; 0 for none."""


InsideRequest: TypeAlias = LookInside | LookSource | LookBreakpoints
InsideLook: TypeAlias = InsideView | SourceView | BreakpointsView
