"""`input-not-normalised`: inputs that are far from 1 in size, and a loss that suffers from it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.data.inputs import few, inputs, labels
from gradstep.checks.losses import losses, mean
from gradstep.checks.patterns import REGRESSION, GraphCheck, saved, setting, terms
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_SMALL = 0.02
"""Root mean square below which inputs are small: images that were divided by 255 twice have about 0.002."""
_START = 3.0
"""Times ln C that the first loss of a classifier is, where large inputs do harm."""
_BEYOND = 30.0
"""Times the root mean square of the targets that the first error of a regression is, where large inputs do harm."""
_ITERATIONS = 30
"""After how many a loss has to have fallen."""
_FELL = 0.9
"""To which share of its start."""


class InputNotNormalised(GraphCheck):
    """Takes the size of the inputs, then waits for a symptom: normal inputs of any scale may be learnt well."""

    rule = Rule(
        id="input-not-normalised",
        severity="warning",
        title="the inputs are not normalised",
        why="Layers are initialised for inputs of about 1: large ones give huge outputs and gradients, small ones "
        "give outputs that hardly differ from sample to sample.",
        detects="The inputs of the first layer have a root mean square above the threshold, or below 0.02; and "
        "either the first loss of a classifier is over 3 ln C, or the first error of a regression is over 30 times the "
        "size of its targets, or the loss has grown tenfold or is not finite, or has not fallen by a tenth after 30 "
        "iterations.",
        remedy="Standardise with the mean and deviation of the training set: x = (x - mean) / std; images of 0 to "
        "255: x = x.float() / 255, once.",
        source="LeCun et al., Efficient BackProp (1998), 4.3; UMLAUT's rule flags every input beyond [-1, 1], so the "
        "threshold is far above and a symptom is asked for; pycadl#5 (divided by 255 twice)",
        threshold=20.0,
        unit="root mean square",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._sizes: list[float] = []
        """The root mean square in each of the first forwards."""
        self._node = 0

    @at("forward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Take the size in the first forwards, then wait."""
        yield from super().ended(moment) if moment.count < 3 else ()
        size = max(self._sizes, default=1.0)
        if _SMALL <= size <= self.threshold or not (past := losses(moment)):
            return
        text = self._symptom(past, size)
        if text:
            what = f"The inputs have a root mean square of {size:.3g}, and {text}."
            yield Seen(what, moment.at(node=self._node, panel="batch"), {"input rms": size, "loss": past[-1]})

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Take the size of the inputs, and compare the first loss of a classifier with ln C."""
        for each in inputs(graph):
            if each.value.is_floating_point() and each.node.name() != "EmbeddingBackward0":
                size = float(few(each.value).float().square().mean().sqrt())
                if math.isfinite(size) and size > 0:
                    self._sizes.append(size)
                    self._node = each.number
        size = max(self._sizes, default=1.0)
        if moment.count or size <= self.threshold:
            return
        for _, node in terms(graph):
            given, target = (saved(node, "self"), saved(node, "target")) if node.name() in REGRESSION else (None, None)
            if given is None or target is None or given.shape != target.shape:
                continue
            first, wanted = (float(few(each).float().square().mean().sqrt()) for each in (given - target, target))
            if wanted > 0 and _BEYOND * wanted < first < math.inf:
                what = f"The inputs have a root mean square of {size:.3g}; the first predictions miss the targets by "
                what += f"{first:.3g}, where the targets have {wanted:.3g}."
                evidence = {"input rms": size, "error": first, "target rms": wanted}
                yield Seen(what, moment.at(node=self._node, panel="batch"), evidence)
                return
        for found in labels(graph):
            chance, value = math.log(found.classes or 2), moment.value
            times = (value or 0.0) / chance
            if value is not None and setting(found.node, "reduction") == 1 and times > _START:
                what = f"The inputs have an rms of {size:.3g}; the first loss is {value:.3g}, {times:.1f} ln C."
                evidence = {"input rms": size, "loss": value, "chance": chance}
                yield Seen(what, moment.at(node=self._node, panel="batch"), evidence)

    def _symptom(self, past: list[float], size: float) -> str:
        last, start = past[-1], mean(past[: min(3, len(past))])
        if size > self.threshold and len(past) < _ITERATIONS:
            if not math.isfinite(last):
                return f"the loss is {last} after {len(past)} iterations"
            return f"the loss has grown from {past[0]:.3g} to {last:.3g}" if last > 10 * abs(past[0]) > 0 else ""
        if len(past) == _ITERATIONS and start > 0 and (late := mean(past[-5:])) > _FELL * start:
            return f"the loss has gone from {start:.3g} to {late:.3g} in {_ITERATIONS} iterations"
        return ""
