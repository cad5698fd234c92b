"""Adagrad, as in https://docs.pytorch.org/docs/stable/generated/torch.optim.Adagrad.html.

w is θ there, lr γ, η lr_decay, λ weight_decay, t the number of the step; s is the state's sum.
"""

from __future__ import annotations

from gradstep.views.why.formulas.sgd import gradient
from gradstep.views.why.formulas.term import Term
from gradstep.views.why.formulas.work import Work


def adagrad(work: Work) -> Term:
    """Return the new weight."""
    one, lr = work.number("1", 1), work.number("lr", work.option("lr"))
    g = gradient(work)
    decay = work.option("lr_decay")
    if decay:
        lr = work.line("lr now", lr / (one + (work.t - one) * work.number("η", decay)))
    s = work.line("s", work.kept("s", "sum") + g.square(), "sum")
    return work.w - lr * g / (s.root() + work.number("ε", work.option("eps")))
