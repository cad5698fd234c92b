"""`labels-shuffled-or-constant`: labels that do not match the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.data.inputs import Labels, inputs, labels
from gradstep.checks.patterns import GraphCheck, before, name_of
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_SAMPLES = 8
"""Labels of a batch, at least."""
_STEPS = 4
"""Steps of which every batch has one label."""
_AGAIN = 16
"""Inputs that have to be seen again."""
_DISTINCT = 0.9
"""Share of a batch's inputs that differ from the others in it: of a few discrete ones each has several labels."""
_LABELLED = 128
"""Labels that are equal, at least."""
_KEPT = 2048
"""Inputs that are remembered."""


class LabelsShuffledOrConstant(GraphCheck):
    """Remembers which label an input had, and whether the batches of a step have more than one."""

    rule = Rule(
        id="labels-shuffled-or-constant",
        severity="warning",
        title="the labels do not match the inputs",
        why="From labels that belong to other inputs, only class frequencies can be learnt. With data sorted by "
        "class, each step learns one class and forgets the others.",
        detects="Of 16 or more inputs that occur again, more than the threshold have another label; or in four steps "
        "in a row all labels of the batch are equal, but differ from step to step; or all labels so far, at least 128, "
        "are one class, and a linear layer predicts it.",
        remedy="Shuffle inputs and labels together: DataLoader(TensorDataset(x, y), shuffle=True); with one "
        "permutation: i = torch.randperm(len(x)); x, y = x[i], y[i].",
        source="super-gradients#416 (sorted, not shuffled); TheDeepChecker tests data and labels in pairs",
        threshold=0.5,
        unit="share of the inputs seen again",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._labels: dict[tuple[float, ...], int] = {}
        self._again = self._other = 0
        self._all: set[float] = set()
        """The labels of all steps, two at most."""
        self._labelled = 0
        """How many there were."""
        self._step = -1
        self._here: set[float] = set()
        """The labels of the present step."""
        self._sorted: list[float] | None = []
        """The one label of each step so far; None once a step had several."""

    @at("forward", first=40)
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at more forwards than usual."""
        return super().ended(moment)

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the labels of each term of the loss."""
        data = [each.value for each in inputs(graph)]
        several = list(labels(graph))
        for found in several:
            if found.value.numel() < _SAMPLES or not found.classes:
                continue  # the labels of a GAN's discriminator are equal in each batch
            where = moment.at(node=found.number, panel="batch")
            for what, evidence in (
                *self._one_each(moment, found),
                *(self._one_for_all(found) if len(several) == 1 else ()),
                *(self._conflicts(data, found) if len(several) == 1 else ()),  # of several, which inputs are whose?
            ):
                yield Seen(what, where, evidence)

    def _one_each(self, moment: Moment, found: Labels) -> Iterator[tuple[str, dict[str, float | int | str]]]:
        least, most = found.value.aminmax()
        if moment.held.point.steps + moment.iteration != self._step:
            self._end_step()
            self._step = moment.held.point.steps + moment.iteration
        self._here |= {float(least), float(most)}
        steps = self._sorted
        if steps is not None and len(self._here) == 1 and len(steps) >= _STEPS - 1:
            every = [*steps, *self._here]
            changes = sum(one != other for one, other in pairwise(every))
            if changes > 0 and (found.classes > 2 or changes < len(every) / 2):
                text = ", ".join(f"{each:g}" for each in every[-_STEPS:])
                what = f"All labels of a batch are equal, batch for batch: {text}. The data are sorted by class."
                yield what, {"samples": found.value.numel(), "batches": len(every)}

    def _one_for_all(self, found: Labels) -> Iterator[tuple[str, dict[str, float | int | str]]]:
        """Look for labels that are all one class, which a layer with a bias predicts."""
        self._all |= {float(each) for each in found.value.aminmax()} if len(self._all) < 2 else set()
        self._labelled += found.value.numel()
        head = before(found.node)
        head = before(head) if name_of(head) == "LogSoftmaxBackward0" and head is not None else head
        if len(self._all) == 1 and self._labelled >= _LABELLED and name_of(head) == "AddmmBackward0":
            what = f"All {self._labelled} labels so far are {next(iter(self._all)):g}, of {found.classes} classes."
            yield what, {"samples": self._labelled, "classes": found.classes}

    def _end_step(self) -> None:
        if self._step >= 0 and self._sorted is not None:
            self._sorted = [*self._sorted, *self._here] if len(self._here) == 1 else None
        self._here = set()

    def _conflicts(self, data: list[Tensor], found: Labels) -> Iterator[tuple[str, dict[str, float | int | str]]]:
        value = found.value
        rows = [each for each in data if each.dim() > 1 and len(each) == len(value)]
        if not rows or value.dim() != 1 or len(self._labels) > _KEPT:
            return
        numbers = list(zip(*map(_fingerprints, rows), strict=True))
        if len(set(numbers)) < _DISTINCT * len(numbers):
            return
        pairs = list(zip(numbers, value.tolist(), strict=True))
        known = [(self._labels[number], label) for number, label in pairs if number in self._labels]
        self._again += len(known)
        self._other += sum(before != label for before, label in known)
        self._labels.update(pairs)
        if self._again >= _AGAIN and self._other > self.threshold * self._again:
            what = f"Of {self._again} inputs that were seen again, {self._other} had another label than before."
            yield what, {"again": self._again, "other": self._other}


def _fingerprints(rows: Tensor) -> list[float]:
    """Return a number for each row that is the same for the same row."""
    flat = rows.detach().flatten(1)[:, :64].contiguous().double().cpu()
    weights = torch.arange(1, flat.shape[1] + 1, dtype=torch.float64).sqrt()
    found: list[float] = (flat * weights).sum(1).tolist()
    return found
