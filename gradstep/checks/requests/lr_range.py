"""`check lr-range`: the loss while the learning rate grows, step by step, over eight decades."""

from __future__ import annotations

import math

from gradstep.checks.requests.request import Answer, Request, Trial
from gradstep.values import numbers
from gradstep.values.findings import Rule

FROM, TO, STEPS = 1e-7, 10.0, 80
_BLOCKS = "▁▂▃▄▅▆▇█"


class LrRange(Request):
    """Trains a copy on the current batch, with a learning rate that grows by the same factor each step."""

    rule = Rule(
        id="lr-range",
        severity="hint",
        title="the range test of the learning rate",
        why="Below the range nothing is learnt, above it the loss diverges; good rates are those where the loss "
        "falls fastest, a little below the rate of the lowest loss.",
        detects=f"A copy is trained for {STEPS} steps while lr grows from {FROM:g} to {TO:g}; it ends where the loss "
        "is four times its least.",
        remedy="Take the suggested rate, or a tenth of the rate with the lowest loss: torch.optim.SGD(params, lr=...).",
        source="Smith 2017, 'Cyclical Learning Rates', section 3.3; fastai's lr_find (the steepest point)",
    )

    def run(self, trial: Trial) -> Answer:
        """Let it grow."""
        rates, losses = list[float](), list[float]()
        for place in range(STEPS):
            rate = FROM * (TO / FROM) ** (place / (STEPS - 1))
            for group in trial.optimizer.param_groups:
                group["lr"] = rate
            loss = trial.step()
            if not math.isfinite(loss) or (losses and loss > 4 * min(losses) and loss > losses[0]):
                break
            rates.append(rate)
            losses.append(loss)
        if len(losses) < 5:
            return Answer("The loss is not finite at any rate: look for the cause first.")
        least = min(range(len(losses)), key=losses.__getitem__)
        falls = [(losses[i] - losses[i + 2], i + 1) for i in range(max(1, min(least, len(losses) - 2)))]
        steepest = rates[max(falls)[1]]
        low, high = min(losses), max(losses)
        line = "".join(_BLOCKS[min(7, int((loss - low) / ((high - low) or 1.0) * 8))] for loss in losses)
        now = ", ".join(numbers.short(rate) for rate in trial.held.rates())
        return Answer(
            f"{line}\nlr {rates[0]:.0e} to {rates[-1]:.0e}, loss {numbers.loss(losses[0])} to {numbers.loss(low)} at "
            f"lr {rates[least]:.1e}.\nThe loss falls fastest at lr {steepest:.1e}; the optimizer has {now}."
        )
