"""`half-precision-overflow`: a module returns infinities in float16 from finite inputs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.engine.observe.stream import Consumer, ModuleLeft
from gradstep.values.findings import Rule


class HalfPrecisionOverflow(Check):
    """Looks at float16 outputs in sampled forwards."""

    rule = Rule(
        id="half-precision-overflow",
        severity="warning",
        title="float16 overflows to inf",
        why="The largest float16 is 65504: anything larger becomes inf, and then the loss and gradients become NaN.",
        detects="In a sampled forward, a module returns an inf in float16 from inputs that are all finite.",
        remedy="Compute it in bfloat16 or float32: with torch.autocast(device, dtype=torch.bfloat16), or x.float().",
        source="IEEE 754 binary16; torch.amp documentation, 'Gradient scaling'; Micikevicius et al. 2018",
    )

    def __init__(self, threshold: float | None = None) -> None:
        """Begin with nothing seen."""
        super().__init__(threshold)
        self._bad: dict[str, Tensor] = {}
        self._moment: Moment | None = None

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch what modules return, in sampled iterations."""
        self._moment, self._bad = moment, {}
        return {ModuleLeft: self._left} if sampled(moment.iteration) else None

    def _left(self, event: ModuleLeft) -> None:
        output, given, moment = event.output, event.given, self._moment
        half = isinstance(output, Tensor) and output.dtype is torch.float16
        if not half or moment is None or next(event.module.children(), None) is not None:
            return
        inputs = [each for each in given if isinstance(each, Tensor)] if isinstance(given, tuple) else []
        fine = [each.detach().isfinite().all() for each in inputs if each.is_floating_point()]
        bad = output.detach().isinf().any()
        path = moment.held.paths.get(event.module, type(event.module).__name__)
        self._bad[path] = bad & torch.stack(fine).all() if fine else bad

    @at("forward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what was seen in the forward."""
        if not self._bad:
            return
        paths, flags = list(self._bad), torch.stack(list(self._bad.values())).tolist()
        self._bad = {}
        for path, bad in zip(paths, flags, strict=True):
            if bad:
                what = f"{path} returned inf in float16, from finite inputs."
                yield Seen(what, moment.at(module=path, panel="layers"), {})
                return  # what follows is a consequence
