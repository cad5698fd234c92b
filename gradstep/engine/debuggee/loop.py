"""Where a training loop stands between two of its phases."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from torch import Tensor

from gradstep.engine.observe.forward import Watched
from gradstep.engine.stepping.gradient_edits import Flows
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad

Act = Forward | Backward | Step | ZeroGrad | NextBatch


class Point(Struct, frozen=True):
    """Where the loop stands; replaced whole by each phase, so that rolling back is keeping the old one."""

    phase: str = ""
    torch: str = ""
    done: tuple[str, ...] = ()
    iteration: int = 0
    loss: Tensor | None = None
    value: float | None = None
    change: float | None = None
    used_batch: bool = False
    """True when a forward has run on the batch that is held."""
    batch: Any = None
    """The batch that the loss was computed on."""
    watched: Watched = field(default_factory=Watched)
    written: tuple[str, ...] = ()
    """The parameters whose `.grad` the last backward wrote, or whose `.grad` the last step found."""
    steps_since_forward: int = 0
    """Steps since the last forward that found a gradient, and so may have moved the weights its graph is of."""
    ran: bool = False
    """True when a backward has run through the graph of the loss."""
    flows: Flows | None = None
    """What was changed by hand in the last backward; None where nothing was."""
    freed: bool = False
    """True when the graph of the loss was freed by a backward."""
    again: bool = False
    """True when the last step found nothing in `.grad` but what an earlier step had used already."""
    calls: tuple[float, ...] = ()
    """The losses of the closure's calls in the last step, NaN for one that is not one number; empty without a closure.
    """
    rates_before: tuple[float, ...] = ()
    """The learning rates before the last step or next_batch, the acts that can move a scheduler."""
    edit: str = ""
    """What an edit since the last phase did, in words; empty when a phase came last."""
    lent: bool = False
    """True when the graph was alive here but is shown as it is now: what its nodes kept is not known any more."""
