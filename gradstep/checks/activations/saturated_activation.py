"""`saturated-activation`: most activations of a tanh or sigmoid lie where its derivative is nearly 0."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.engine.observe.stream import Consumer, ModuleLeft
from gradstep.values.findings import Rule

EDGE = 0.97
"""|tanh| from which its derivative 1 - tanh² is below 0.06; of a sigmoid the same distance from its ends."""
BATCHES = 4


class SaturatedActivation(Check):
    """Looks at the outputs of tanh and sigmoid modules that are not the last one."""

    rule = Rule(
        id="saturated-activation",
        severity="warning",
        title="an activation is saturated",
        why="Where tanh or sigmoid is flat, its derivative is nearly 0, and so is the gradient of earlier layers.",
        detects=f"In {BATCHES} sampled batches in a row, more than the threshold of the outputs of a tanh or sigmoid "
        f"lie beyond ±{EDGE} of its range. The last module of the model, a gate or a probability, is left out.",
        remedy="Scale the weights before it: nn.init.xavier_uniform_(w, gain=nn.init.calculate_gain('tanh')), "
        "normalise the input, or lower the learning rate.",
        source="makemore part 3 (|tanh| > 0.97); Glorot and Bengio 2010; SageMaker Debugger TanhRule (50 %)",
        threshold=0.5,
        unit="of the outputs",
    )

    def __init__(self, threshold: float | None = None) -> None:
        """Begin without any batch."""
        super().__init__(threshold)
        self._shares: dict[nn.Module, list[Tensor]] = {}
        self._last: nn.Module | None = None

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch what tanh and sigmoid modules return, in sampled iterations."""
        return {ModuleLeft: self._left} if sampled(moment.iteration) else None

    def _left(self, event: ModuleLeft) -> None:
        module, output = event.module, event.output
        if next(module.children(), None) is None:
            self._last = module
        if isinstance(module, (nn.Tanh, nn.Sigmoid)) and module.training and isinstance(output, Tensor):
            centred = output.detach() if isinstance(module, nn.Tanh) else output.detach() * 2 - 1
            self._shares.setdefault(module, []).append((centred.abs() > EDGE).float().mean())

    @at("backward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the last batches, after a backward."""
        if not sampled(moment.iteration):
            return
        for module, shares in self._shares.items():
            del shares[:-BATCHES]
            if module is self._last or len(shares) < BATCHES:
                continue
            least = min(float(share) for share in shares)
            if least > self.threshold:
                path = moment.held.paths.get(module, type(module).__name__)
                what = (
                    f"At least {100 * least:.0f} % of the outputs of {path} were beyond ±{EDGE} in {BATCHES} batches."
                )
                yield Seen(what, moment.at(module=path, panel="layers"), {"share": least, "batches": BATCHES})
