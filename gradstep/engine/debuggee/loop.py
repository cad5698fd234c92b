"""The state of a training loop between two phases."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field
from torch import Tensor

from gradstep.engine.observe.forward import Watched
from gradstep.engine.stepping.gradient_edits import Flows
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad

Act = Forward | Backward | Step | ZeroGrad | NextBatch


class LossTerm(Struct, frozen=True):
    """A term of a loss that is a sum."""

    name: str
    """The variable that holds it, or the operation that computed it."""
    value: float | None = None
    """None when it was not recorded."""


class Point(Struct, frozen=True):
    """The state of the loop. Each phase replaces it, so that a rollback can restore the old one."""

    phase: str = ""
    torch: str = ""
    done: tuple[str, ...] = ()
    iteration: int = 0
    loss: Tensor | None = None
    value: float | None = None
    change: float | None = None
    used_batch: bool = False
    """True when a forward has run on the current batch."""
    batch: Any = None
    """The batch that the loss was computed on."""
    watched: Watched = field(default_factory=Watched)
    written: tuple[str, ...] = ()
    """The parameters whose `.grad` the last backward wrote, or the last step used."""
    steps_since_forward: int = 0
    """Steps since the last forward that used a gradient, and so may have written weights that its graph saved."""
    ran: bool = False
    """True when a backward has run through the graph of the loss."""
    flows: Flows | None = None
    """The gradient edits made in the last backward; None when there were none."""
    freed: bool = False
    """True when the graph of the loss was freed by a backward."""
    again: bool = False
    """True when the last step used only gradients that an earlier step had used already."""
    calls: tuple[float, ...] = ()
    """The losses of the closure calls in the last step, NaN for one that is not a scalar; empty without a closure."""
    rates_before: tuple[float, ...] = ()
    """The learning rates before the last step or next_batch, which can step a scheduler."""
    steps: int = 0
    """Steps of a script so far: an iteration may have several, or none."""
    skipped: tuple[str, ...] = ()
    """The parameters whose `.grad` was inf or NaN, so that a `GradScaler` skipped the last step."""
    returned: str = ""
    """What returned the gradients of the last backward, where they were not added to `.grad`."""
    transformed: bool = False
    """True when a transform of `torch.func` computed the loss: its graph is not to be seen."""
    terms: tuple[LossTerm, ...] = ()
    """The terms of a script's loss; empty unless it is a sum."""
    clipped: tuple[str, ...] = ()
    """The parameters whose `.grad` a script wrote between the backward and the last step, as clipping does."""
    unowned: bool = False
    """True when the script wrote the weights itself, and there was no `step` of an optimizer."""
    edit: str = ""
    """What an edit since the last phase did, in words; empty when a phase was last."""
    counted: bool = False
    """True when a script ran on through the last phase: what it wrote was not recorded."""
    attached: bool = False
    """True where a script ran before it was watched, and no phase has run since."""
    lent: bool = False
    """True when the graph was alive here but is shown as it is now: what its nodes saved is unknown."""

    @property
    def last_loss(self) -> tuple[float | None, float | None]:
        """The last loss and its change; of a step with a closure, from its first call to its last."""
        if not self.calls:
            return self.value, self.change
        return self.calls[-1], self.calls[-1] - self.calls[0] if len(self.calls) > 1 else None
