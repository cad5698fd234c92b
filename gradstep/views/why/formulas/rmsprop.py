"""RMSprop, as in https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html.

w is θ there, lr γ, λ weight_decay, μ momentum; v, ḡ and b are square_avg, grad_avg and momentum_buffer.
"""

from __future__ import annotations

from gradstep.views.why.formulas.sgd import gradient
from gradstep.views.why.formulas.term import Term
from gradstep.views.why.formulas.work import Work


def rmsprop(work: Work) -> Term:
    """Return the new weight."""
    lr, one = work.number("lr", work.option("lr")), work.number("1", 1)
    alpha, eps = work.number("α", work.option("alpha")), work.number("ε", work.option("eps"))
    g = gradient(work)
    v = work.line("v", alpha * work.kept("v", "square_avg") + (one - alpha) * g.square(), "square_avg")
    if work.option("centered"):
        mean = work.line("ḡ", work.kept("ḡ", "grad_avg").moved_towards(g, alpha), "grad_avg")
        v = v - mean.square()
    scaled = g / (v.root() + eps)
    momentum = work.option("momentum")
    if not momentum:
        return work.w - lr * scaled
    kept = work.number("μ", momentum) * work.kept("b", "momentum_buffer")
    return work.w - lr * work.line("b", kept + scaled, "momentum_buffer")
