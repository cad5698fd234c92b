"""`check overfit-one-batch`: can the model drive the loss of one batch to near zero?"""

from __future__ import annotations

import time

from gradstep.checks.check import Seen
from gradstep.checks.requests.request import Answer, Request, Trial
from gradstep.values import numbers
from gradstep.values.findings import Rule, Where

STEPS = 500
SECONDS = 20.0


class OverfitOneBatch(Request):
    """Trains a copy on the current batch alone."""

    rule = Rule(
        id="overfit-one-batch",
        severity="warning",
        title="the model can't fit a single batch",
        why="A model with enough parameters can memorise one batch; where it can't, the loss, the labels or the "
        "gradients are wrong, or the learning rate is far off.",
        detects=f"A copy is trained on the current batch alone, for at most {STEPS} steps or {SECONDS:.0f} seconds, "
        "with its own optimizer; the loss must fall below the threshold.",
        remedy="Look for the cause with Why and Findings first; then try a larger learning rate: "
        "optimizer.param_groups[0]['lr'] *= 10.",
        source="Karpathy, 'A Recipe for Training Neural Networks', step 2 (overfit one batch); cs231n, 'Sanity checks'",
        threshold=0.1,
        unit="of the loss at the start",
    )

    def run(self, trial: Trial) -> Answer:
        """Train the copy."""
        began, losses = time.perf_counter(), list[float]()
        while len(losses) < STEPS and time.perf_counter() - began < SECONDS:
            losses.append(trial.step())
            if losses[-1] < 0.01 * losses[0]:
                break
        first, last = losses[0], min(losses)
        course = f"loss {numbers.loss(first)} to {numbers.loss(last)} in {len(losses)} steps on one batch"
        if last <= (self.rule.threshold or 0) * abs(first) or first <= 1e-3:
            return Answer(f"It can: {course}.")
        what = f"The {course}: it stays at {100 * last / first:.0f} % of the start."
        return Answer(what, Seen(what, Where(panel="loss"), {"first": first, "last": last, "steps": len(losses)}))
