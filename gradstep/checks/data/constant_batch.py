"""`constant-batch`: every sample of a batch is the same."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from gradstep.checks.check import Moment, Seen
from gradstep.checks.data.inputs import inputs
from gradstep.checks.patterns import GraphCheck
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_LASTS = 3
"""Batches in a row."""
_ELEMENTS = 64
"""Elements of each sample that are compared; all, of one that has fewer."""


class ConstantBatch(GraphCheck):
    """Compares the samples that the first layers get."""

    rule = Rule(
        id="constant-batch",
        severity="warning",
        title="every sample of the batch is the same",
        why="A batch of one sample, repeated, has the gradient of one sample; different targets for the same input "
        "can't be learnt.",
        detects="In three batches in a row, every layer that takes data gets two or more rows, all equal.",
        remedy="Look at what the loader returns: print(x.std(dim=0)). A list of one array, a __getitem__ that "
        "ignores its index, and a buffer that is never filled return such batches.",
        source="A Recipe for Training Neural Networks, 'visualize just before the net' "
        "(karpathy.github.io/2019/04/25/recipe)",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._lasts = 0

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Compare the samples of this batch."""
        data = [each for each in inputs(graph) if each.value.dim() > 1]
        self._lasts = self._lasts + 1 if data and all(_is_constant(each.value) for each in data) else 0
        if self._lasts >= _LASTS:
            samples = len(data[0].value)
            what = f"All {samples} samples of the batch are the same, in {self._lasts} batches in a row."
            yield Seen(what, moment.at(node=data[0].number, panel="batch"), {"samples": samples})


def _is_constant(values: Tensor) -> bool:
    rows = values.detach().flatten(1)
    rows = rows[:, :: max(1, rows.shape[1] // _ELEMENTS)]
    return len(rows) > 1 and rows.shape[1] > 0 and bool((rows == rows[:1]).all())
