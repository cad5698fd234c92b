"""Adam and AdamW, as in https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html, and of AdamW.html there.

w is θ there, lr γ, λ weight_decay, t the number of the step; m, v and v_max are exp_avg, exp_avg_sq and max_exp_avg_sq.
"""

from __future__ import annotations

from gradstep.views.why.formulas.sgd import gradient
from gradstep.views.why.formulas.term import Term
from gradstep.views.why.formulas.work import Work


def adam(work: Work) -> Term:
    """Return the new weight of Adam; newer AdamW is Adam with `decoupled_weight_decay`."""
    return _adam(work, bool(work.hyper.get("decoupled_weight_decay")))


def adamw(work: Work) -> Term:
    """Return the new weight of AdamW: the weight decay is decoupled from the moments."""
    return _adam(work, True)


def _adam(work: Work, decoupled: bool) -> Term:
    lr, one, t = work.number("lr", work.option("lr")), work.number("1", 1), work.t
    betas = work.hyper["betas"]
    assert isinstance(betas, tuple)
    beta1, beta2 = work.number("β₁", betas[0]), work.number("β₂", betas[1])
    w, decay = work.w, work.option("weight_decay")
    if decoupled:
        g = work.line("g", -work.grad) if work.option("maximize") else work.grad
        w = work.line("w′", w * (one - lr * work.number("λ", decay))) if decay else w
    else:
        g = gradient(work)
    m = work.line("m", work.kept("m", "exp_avg").moved_towards(g, beta1), "exp_avg")
    v = work.line("v", beta2 * work.kept("v", "exp_avg_sq") + (one - beta2) * g.square(), "exp_avg_sq")
    if work.option("amsgrad"):
        v = work.line("v_max", work.kept("v_max", "max_exp_avg_sq").greatest(v), "max_exp_avg_sq")
    m_hat = work.line("m̂", m / (one - beta1.power(t)))
    v_hat = work.line("v̂", v / (one - beta2.power(t)))
    return w - lr * m_hat / (v_hat.root() + work.number("ε", work.option("eps")))
