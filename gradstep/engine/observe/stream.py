"""The stream of events that one observer of torch emits. Consumers subscribe to kinds of them, and to nothing else.

An event holds what torch passed: a consumer must not keep it. What it returns for a `NodeAbout`, `NodeRan` or `OpRan`
replaces the gradients that arrive, those that the node passes on, or the result, as with torch's hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, Literal, NamedTuple, TypeAlias

from msgspec import Struct
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.autograd.graph import Node
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

Consumer: TypeAlias = "Mapping[type, Callable[[Any], Any]]"
"""The function to call for each kind of event."""


# -- forward -----------------------------------------------------------------------------------------------------------
class CallEntered(Struct, frozen=True, eq=False):
    """A module is called from outside of any other module."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    frame: FrameType
    """The frame that called it."""


class CallLeft(Struct, frozen=True, eq=False):
    """The call of an outermost module has ended."""

    module: nn.Module
    output: Any
    """None when it raised."""
    raised: bool


class ModuleEntered(NamedTuple):
    """A module is called."""

    module: nn.Module
    given: Any
    """The positional arguments, usually a tuple."""
    frame: FrameType
    """Torch's frame that runs the call."""


class ModuleLeft(NamedTuple):
    """The call of a module has ended."""

    module: nn.Module
    given: Any
    output: Any
    """None when it raised."""
    raised: bool
    frame: FrameType


class OpStarts(NamedTuple):
    """An operation is called from Python. What it calls inside is part of it."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    frame: FrameType
    """The frame that called it."""


class OpRan(NamedTuple):
    """An operation has run."""

    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    before: int
    """The autograd sequence number as it began."""
    after: int
    frame: FrameType


class CompositeRan(NamedTuple):
    """An outermost module that is observed as one operation has run (`composites.py`)."""

    module: nn.Module
    given: Any
    output: Any
    frame: FrameType


class RegionRan(NamedTuple):
    """A compiled region has run: it is one operation (`compiled.py`)."""

    name: str
    """What is compiled, e.g. `compiled Net`."""
    module: nn.Module | None
    """The module that was compiled; None for a function."""
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any
    before: int
    """The autograd sequence number as it began."""
    after: int
    frame: FrameType


class FunctionEntered(NamedTuple):
    """The `apply` of a custom `torch.autograd.Function` begins, which is not an operation."""

    function: type
    args: tuple[Any, ...]
    number: int
    """The sequence number that its node will have."""
    frame: FrameType


class FunctionLeft(NamedTuple):
    """The `apply` of a custom Function has ended."""

    function: type
    args: tuple[Any, ...]
    result: Any
    """None when it raised."""
    raised: bool
    frame: FrameType


# -- backward ----------------------------------------------------------------------------------------------------------
class EngineEntered(Struct, frozen=True, eq=False):
    """Autograd's engine is called: by `backward`, or by `torch.autograd.grad`."""

    call: Any
    """The `EngineCall`."""
    depth: int
    """0 for a call that is in no other; a reentrant checkpoint calls the engine within a backward."""
    frame: FrameType | None = None
    """Torch's frame that calls it."""


class EngineLeft(Struct, frozen=True, eq=False):
    """The call of the engine has ended, or raised."""

    call: Any
    depth: int


class NodeAbout(NamedTuple):
    """A node is about to run."""

    number: int
    """Its place in the graph that the consumer gave."""
    node: Node
    arrived: tuple[Any, ...]


class NodeRan(NamedTuple):
    """A node has run."""

    number: int
    node: Node
    arrived: tuple[Any, ...]
    left: tuple[Any, ...]


class GradientArrives(NamedTuple):
    """A gradient is about to be added to the `.grad` of a leaf, after every other hook."""

    leaf: Tensor
    gradient: Tensor | None


# -- optimizer ---------------------------------------------------------------------------------------------------------
class StepEntered(Struct, frozen=True, eq=False):
    """`step` of an optimizer is called."""

    optimizer: Optimizer
    frame: FrameType
    """Torch's frame that runs it: no longer on the stack after `step` has raised, for which there is no event."""


class StepLeft(Struct, frozen=True, eq=False):
    """`step` of an optimizer has returned. There is no event when it raises."""

    optimizer: Optimizer


class StepSkipped(NamedTuple):
    """A `GradScaler` has not called `step` of an optimizer: some gradient is inf or NaN."""

    optimizer: Optimizer


class GradientsClipped(NamedTuple):
    """`clip_grad_norm_` or `clip_grad_value_` is about to write gradients."""

    gradients: tuple[Tensor, ...]
    """Empty where every `.grad` is None."""


class SchedulerSteps(NamedTuple):
    """`step` of a learning rate scheduler is called."""

    scheduler: LRScheduler


class ScalerCalled(NamedTuple):
    """A `GradScaler` that is enabled has scaled a loss, or is about to do what it is called for."""

    scaler: GradScaler
    name: Literal["scale", "unscale_", "step", "update"]
    of: Any
    """The scaled loss, or losses; the optimizer; None for an update."""


class ZeroEntered(Struct, frozen=True, eq=False):
    """`zero_grad` of an optimizer or a module is called."""

    owner: Optimizer | nn.Module
    frame: FrameType
    """The frame that runs it: gone when it has raised."""


class Zeroed(Struct, frozen=True, eq=False):
    """`zero_grad` of an optimizer or a module has run."""

    owner: Optimizer | nn.Module
    to_none: bool
