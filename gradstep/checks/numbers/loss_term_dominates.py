"""`loss-term-dominates`: of a loss that is a sum, one term is far larger than the others."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen
from gradstep.checks.numbers.terms import terms_of
from gradstep.checks.patterns import GraphCheck
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_LASTS = 4
"""Forwards in a row that are looked at."""


class LossTermDominates(GraphCheck):
    """Compares the terms of the loss, as they are scaled."""

    rule = Rule(
        id="loss-term-dominates",
        severity="hint",
        title="one term of the loss outweighs the others",
        why="The gradient is nearly that of the largest term alone, so the other terms are hardly optimised.",
        detects="In four checked forwards in a row, the largest term of the loss is the threshold times as large as "
        "all others together. Terms whose value neither a variable nor the graph holds are left out.",
        remedy="Weight the terms so that they are of similar size at the start: loss = a + 0.001 * b; compare them "
        "in the script's Loss panel.",
        source="Kendall et al., Multi-task learning using uncertainty to weigh losses (2018)",
        threshold=1000.0,
        unit="times the others",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._lasts = 0

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Compare the terms."""
        terms = [(each, abs(each.value)) for each in terms_of(moment, graph) if each.value is not None]
        terms.sort(key=lambda each: each[1])
        others = math.fsum(size for _, size in terms[:-1])
        dominates = len(terms) > 1 and math.isfinite(terms[-1][1]) and terms[-1][1] > self.threshold * others > 0
        self._lasts = self._lasts + 1 if dominates else 0
        if self._lasts >= _LASTS:
            (largest, size), second = terms[-1], terms[-2]
            what = f"The term {largest.name} is {size:.3g}; the next, {second[0].name}, is {second[1]:.3g}."
            evidence: dict[str, float | int | str] = {"largest": size, "others": others, "term": largest.name}
            yield Seen(what, moment.at(node=largest.number, panel="loss"), evidence)
