"""The stack of a script at a stop, and the variables of the selected frame."""

from __future__ import annotations

from msgspec import Struct

from gradstep.values.views.inside import SourceLine


class LookStack(Struct, frozen=True, tag=True):
    """Ask for the frames of a script, and for variables of the selected one: `count` rows from row `first` on.

    The items of the containers and objects in `opened`, by path, are rows as well.
    """

    first: int = 0
    count: int = 40
    opened: tuple[str, ...] = ()


class StackFrame(Struct, frozen=True):
    """A frame: the line that it runs or, below the innermost, from which it calls."""

    source: SourceLine
    library: bool = False
    """True for a frame of an installed package."""


class Variable(Struct, frozen=True):
    """A local variable, or an item of one: its kind, and what is known of it without running code of the script's."""

    name: str
    path: str
    """Its name in expressions; empty where it has none."""
    kind: str
    """Its class."""
    text: str = ""
    """Its value, or its first items."""
    shape: tuple[int, ...] | None = None
    """The shape of a tensor; None for other values."""
    dtype: str = ""
    device: str = ""
    norm: float | None = None
    """L2 norm; None where undefined."""
    requires_grad: bool = False
    grad_fn: str = ""
    """The name of the node that made it; empty for a leaf."""
    depth: int = 0
    """0 for a variable, 1 for its items, and so on."""
    opens: bool = False
    """True where it has items."""
    opened: bool = False


class StackView(Struct, frozen=True, tag=True):
    """The frames, innermost first, and a window of the variables of the selected one."""

    stop: int
    frames: tuple[StackFrame, ...] = ()
    selected: int = 0
    rows: tuple[Variable, ...] = ()
    first: int = 0
    """The place of the first of `rows` among all."""
    total: int = 0
    """Number of variables, and items of opened ones."""
    note: str = ""
