"""`loss-diverges`: the loss grows, iteration for iteration, far beyond its start."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.losses import losses, mean
from gradstep.checks.patterns import BCE, NLL, REGRESSION, terms
from gradstep.values.findings import Rule

_FAST = 5
"""Losses in a row, each larger than the one before."""
_GROWS = 10.0
_DOUBLED = 2.0


class LossDiverges(Check):
    """Compares the loss with its start. The losses of a GAN or of reinforcement learning rise, but not so far."""

    rule = Rule(
        id="loss-diverges",
        severity="warning",
        title="the loss diverges",
        why="Each step makes the model worse: it overshoots the minimum and lands higher on the other side.",
        detects="The last five losses rise, each above the one before, or the largest of five is ten times that of "
        "the five before, twice; and the last is above the threshold times the first. Or the optimizer maximizes, and "
        "a cross entropy or regression loss has doubled in ten iterations. The losses of each backward "
        "call site are judged separately.",
        remedy="Lower lr, by ten at first; average the loss over the batch; normalise inputs and targets; clip: "
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).",
        source="TheDeepChecker (2 times the minimum); the threshold is higher so that losses which rise in a healthy "
        "GAN or Q-learning are not flagged",
        threshold=100.0,
        unit="times the first loss",
    )

    @at("forward")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the loss after a forward."""
        past = losses(moment)
        last = past[-_FAST:]
        if len(last) < _FAST or not all(map(math.isfinite, past[-3 * _FAST :])):
            return
        rises = all(one < other for one, other in pairwise(last)) or _swings(past)
        if rises and past[0] > 0 and last[-1] > self.threshold * past[0]:
            what = f"The loss has risen from {past[0]:.3g} to {last[-1]:.3g}; 4 iterations ago it was {last[0]:.3g}."
            yield Seen(what, moment.at(panel="loss"), {"first": past[0], "now": last[-1]})
        elif len(past) == 2 * _FAST and mean(last) > _DOUBLED * past[0] > 0 and _ascends(moment):
            kind = type(moment.optimizer).__name__
            what = f"{kind} maximizes the loss: it has risen from {past[0]:.3g} to {last[-1]:.3g}."
            remedy = "Make the optimizer without maximize=True, or pass it minus the loss."
            yield Seen(what, moment.at(panel="optimizer"), {"first": past[0], "now": last[-1]}, remedy)


def _ascends(moment: Moment) -> bool:
    """Return whether the optimizer maximizes a loss that is to be small."""
    groups, graph = moment.optimizer.param_groups, moment.graph
    if graph is None or not groups or not all(group.get("maximize") for group in groups):
        return False
    return all(node.name() in NLL | BCE | REGRESSION for _, node in terms(graph))


def _swings(past: list[float]) -> bool:
    """Return whether the losses swing further and further."""
    highest = [max(past[-n - _FAST : len(past) - n]) for n in (2 * _FAST, _FAST, 0)] if len(past) >= 3 * _FAST else []
    return bool(highest) and all(other > _GROWS * one > 0 for one, other in pairwise(highest))
