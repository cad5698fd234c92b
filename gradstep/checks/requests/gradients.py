"""`check gradients`: does the gradient of the loss equal its finite differences?"""

from __future__ import annotations

import torch

from gradstep.checks.check import Seen
from gradstep.checks.requests.request import Answer, Request, Trial
from gradstep.engine.numbers.selection import unravel
from gradstep.values.findings import Rule, Where

ELEMENTS = 24
STEP = 1e-6


class GradientCheck(Request):
    """Compares `.grad` of a float64 copy with central differences, at sampled elements of each parameter."""

    rule = Rule(
        id="gradient-wrong",
        severity="error",
        title="a gradient is not the derivative of the loss",
        why="The optimizer then does not minimise the loss: a custom Function, a hook, or detach() and no_grad in "
        "the path change the gradient.",
        detects=f"The loss of a float64 copy is computed at w ± {STEP:g} for up to {ELEMENTS} elements, those with "
        "the largest gradients and others; the relative error must stay below the threshold. An element at a kink is "
        "left out.",
        remedy="`check` compares each custom Function by itself; `why PARAMETER.grad` names cuts in its path.",
        source="torch.autograd.gradcheck documentation (eps 1e-6, rtol 1e-3); cs231n, 'Gradient checks'",
        threshold=1e-3,
        unit="relative error",
    )

    def run(self, trial: Trial) -> Answer:
        """Compare them."""
        trial.double()
        start = trial.held.keeper.capture()
        trial.optimizer.zero_grad()
        trial.loss().backward()  # type: ignore[no-untyped-call]
        named = [(name, p, p.grad) for name, p in trial.parameters() if p.grad is not None]
        each = max(1, ELEMENTS // max(1, len(named)))
        compared = 0
        worst: tuple[float, str, tuple[int, ...], float, float] = (0.0, "", (), 0.0, 0.0)
        for name, parameter, grad in named[:ELEMENTS]:
            flat, plain = grad.reshape(-1), parameter.detach().reshape(-1)
            for place in {*flat.abs().topk(min(each, flat.numel())).indices.tolist(), flat.numel() // 2}:
                values = []
                for shift in (STEP, -STEP, STEP / 2, -STEP / 2):
                    trial.held.keeper.restore(start)
                    with torch.no_grad():
                        before = float(plain[place])
                        plain[place] = before + shift
                    values.append(float(trial.loss().detach()))
                    with torch.no_grad():
                        plain[place] = before
                wide, narrow = (values[0] - values[1]) / (2 * STEP), (values[2] - values[3]) / STEP
                exact = float(flat[place])
                scale = max(abs(exact), abs(wide), 1e-4)
                if abs(wide - narrow) > 0.1 * self._most * scale + 1e-7:  # the loss has a kink here
                    continue
                compared += 1
                error = abs(exact - wide) / scale
                if error > worst[0]:
                    worst = (error, name, unravel(place, tuple(parameter.shape)), exact, wide)
        error, name, index, exact, wide = worst
        if error <= self._most:
            return Answer(
                f"The gradient is the derivative of the loss: {compared} elements, largest relative error {error:.1e}."
            )
        at = f"{name}{list(index)}" if index else name
        what = f"{at}.grad is {exact:.6g}, but the loss changes by {wide:.6g}: a relative error of {error:.1e}."
        return Answer(what, Seen(what, Where(parameter=name, panel="ledger"), {"error": error, "compared": compared}))

    @property
    def _most(self) -> float:
        return self.rule.threshold or 0.0
