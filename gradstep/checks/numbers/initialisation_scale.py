"""`initialisation-scale`: activations that explode or vanish through the layers of a fresh model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.engine.observe.stream import Consumer, ModuleLeft
from gradstep.values.findings import Rule

_ELEMENTS = 4096
"""Elements of a tensor that its scale is taken from."""
_SHRINKS = 1e-3
"""Biases keep the outputs of layers with torch's own initial weights far above this."""
_INPUT = 0.1
"""The scale of inputs below which outputs are those of the biases."""
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class InitialisationScale(Check):
    """Compares the scale of what each layer returns with that of the first input, in the first forward."""

    rule = Rule(
        id="initialisation-scale",
        severity="warning",
        title="the initial weights are far too large or too small",
        why="Activations that grow or shrink from layer to layer saturate or vanish, and so do the gradients on the "
        "way back.",
        detects="In the first forward, the standard deviation of a layer's output is the threshold times that of the "
        "first layer's input, or a thousandth of it. Outputs that are exactly zero, as of layers initialised with "
        "zeros on purpose, are left out.",
        remedy="Initialise for the fan-in: nn.init.kaiming_normal_(layer.weight, nonlinearity='relu'), or normalise "
        "between layers.",
        source="He et al. 2015, 'Delving Deep into Rectifiers' (variance kept from layer to layer); cs231n, 'Weight "
        "initialization'",
        threshold=100.0,
        unit="times the standard deviation of the input",
    )

    def __init__(self, threshold: float | None = None) -> None:
        """Begin before the first forward."""
        super().__init__(threshold)
        self._input: Tensor | None = None
        self._outputs: list[tuple[nn.Module, Tensor]] = []
        self._normalises = False

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch the layers of the first forward."""
        return {ModuleLeft: self._left} if moment.iteration == 0 and not moment.count else None

    def _left(self, event: ModuleLeft) -> None:
        output, given = event.output, event.given
        if "Norm" in type(event.module).__name__:
            self._normalises = True
        if not isinstance(event.module, _LAYERS) or not isinstance(output, Tensor) or output.numel() < 2:
            return
        if self._input is None:
            first = (
                next((each for each in given if isinstance(each, Tensor)), None) if isinstance(given, tuple) else None
            )
            if first is None or first.numel() < 2:
                return
            self._input = _scale(first)
        self._outputs.append((event.module, _scale(output)))

    @at("backward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what was measured, once."""
        if not self._outputs or self._input is None or self._normalises:
            return
        start, outputs, self._outputs = float(self._input), self._outputs, []
        scales = torch.stack([scale for _, scale in outputs]).tolist()
        for (module, _), scale in zip(outputs, scales, strict=True):
            ratio = scale / start if start > 0 else 1.0
            if scale > 0 and (scale > self.threshold * max(start, _INPUT) or ratio < _SHRINKS):
                path = moment.held.paths.get(module, type(module).__name__)
                what = f"{path} returns values with a standard deviation of {scale:.3g}, the input has {start:.3g}."
                yield Seen(what, moment.at(module=path, panel="layers"), {"output": scale, "input": start})
                return  # what follows is a consequence


def _scale(tensor: Tensor) -> Tensor:
    """Return the standard deviation of evenly spread elements."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // _ELEMENTS)].float().std()
