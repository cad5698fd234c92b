"""`dead-relu`: units of a ReLU that are zero for every sample of many batches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.engine.observe.forward import is_zeroing
from gradstep.engine.observe.stream import Consumer, ModuleLeft
from gradstep.values.findings import Rule

BATCHES = 4
"""Sampled batches in which a unit has to be zero."""
LASTS = 20
"""The iteration at which they still have to be, where others of the layer are not: they may only be late."""
SAMPLES = 64
"""Values of a unit that have to be zero, over these batches."""


class DeadRelu(Check):
    """Counts, unit by unit, over several batches: that half of all activations are zero is what a ReLU does."""

    rule = Rule(
        id="dead-relu",
        severity="warning",
        title="units of a ReLU are never active",
        why="A unit that is zero for every input passes no gradient, so its weights can't change: it is lost.",
        detects=f"A unit (channel) of a ReLU is zero at every position of at least {BATCHES} sampled batches and "
        f"{SAMPLES} values; so are all units of the layer, or in iteration {LASTS} or later more than the threshold.",
        remedy="Lower the learning rate, initialise with nn.init.kaiming_normal_(w, nonlinearity='relu'), or use "
        "nn.LeakyReLU.",
        source="Lu et al. 2019, 'Dying ReLU and Initialization'; SageMaker Debugger DeadRelu (50 % of a layer: as many "
        "as are zero by chance where the inputs hardly vary, so the threshold is higher)",
        threshold=0.75,
        unit="of the units of a layer",
    )

    def __init__(self, threshold: float | None = None) -> None:
        """Begin without any batch."""
        super().__init__(threshold)
        self._alive: dict[nn.Module, Tensor] = {}
        self._seen: dict[nn.Module, tuple[int, int]] = {}

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch what ReLUs return, in sampled iterations of training."""
        return {ModuleLeft: self._left} if sampled(moment.iteration) else None

    def _left(self, event: ModuleLeft) -> None:
        module, output = event.module, event.output
        if not is_zeroing(module) or not module.training or not isinstance(output, Tensor) or output.dim() < 2:
            return
        channel = 1 if output.dim() in (4, 5) else -1  # images have their channels first
        units = output.detach().movedim(channel, 0).flatten(1)
        alive = (units != 0).any(1)
        known = self._alive.get(module)
        if known is not None and known.shape != alive.shape:
            self._seen.pop(module, None)
            known = None
        self._alive[module] = alive if known is None else known | alive
        batches, values = self._seen.get(module, (0, 0))
        self._seen[module] = batches + 1, values + units.shape[1]

    @at("backward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what has been counted, after a backward."""
        if not sampled(moment.iteration):
            return
        for module, alive in self._alive.items():
            batches, values = self._seen.get(module, (0, 0))
            if batches < BATCHES or values < SAMPLES:
                continue
            dead = int(torch.count_nonzero(~alive))
            late = moment.iteration >= LASTS and dead > self.threshold * alive.numel()
            if late or dead == alive.numel():
                path = moment.held.paths.get(module, type(module).__name__)
                share = 100 * dead / alive.numel()
                what = (
                    f"{dead} of {alive.numel()} units of {path} ({share:.0f} %) were zero in all of {batches} batches."
                )
                evidence = {"dead": dead, "units": alive.numel(), "batches": batches}
                yield Seen(what, moment.at(module=path, panel="layers"), evidence)
