"""`loss-term-nan`: of a loss that is a sum, one term is not finite."""

from __future__ import annotations

import math

from gradstep.checks.check import Moment, Seen, listed
from gradstep.checks.numbers.birthplace import birthplace
from gradstep.checks.numbers.loss_not_finite import LossNotFinite
from gradstep.checks.numbers.terms import SummedTerm, terms_of
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule


class LossTermNan(LossNotFinite):
    """Looks at the terms of a loss that is not finite."""

    rule = Rule(
        id="loss-term-nan",
        severity="error",
        title="one term of the loss is not finite",
        why="A sum with a NaN is NaN: one term spoils the gradients of all.",
        detects="The loss is a sum and not finite, some of its terms are finite, and one is not: judged by the "
        "variable that holds it, by the values its node has saved, or because the node that made the NaN is in its "
        "graph alone.",
        remedy="Look at that term alone, with print(term) or `break nan`, and keep its arguments inside the domain: "
        "torch.log(x.clamp_min(1e-8)).",
        source="torch.set_detect_anomaly documentation; pytorch/pytorch#2421",
    )

    def explain(self, moment: Moment) -> Seen | None:
        """Name the terms that are not finite."""
        graph = moment.graph
        terms = terms_of(moment, graph) if graph is not None else ()
        if graph is None or len(terms) < 2:
            return None
        bad = [each for each in terms if each.value is not None and not math.isfinite(each.value)]
        bad = bad or _above(graph, terms, birthplace(graph, moment.held.names)[1])
        if not 0 < len(bad) < len(terms):
            return None
        others = listed(f"{each.name} {each.value:.3g}" for each in terms if each not in bad and each.value is not None)
        what = f"Of {len(terms)} terms of the loss, {listed(each.name for each in bad)} is not finite"
        what += f"; the others are: {others}." if others else "."
        return Seen(what, moment.at(node=bad[0].number, panel="graph"), {"term": bad[0].name, "terms": len(terms)})


def _above(graph: GraphRecord, terms: tuple[SummedTerm, ...], node: int) -> list[SummedTerm]:
    """Return the terms whose graph has a node."""
    return [each for each in terms if node >= 0 and node in _reached(graph, each.number)]


def _reached(graph: GraphRecord, number: int) -> set[int]:
    found, waiting = {number}, [number]
    while waiting:
        new = [each for each in graph.edges[waiting.pop()] if each not in found]
        found.update(new)
        waiting += new
    return found
