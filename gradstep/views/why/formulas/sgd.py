"""SGD, as in https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html.

w is θ there, lr γ, λ weight_decay, μ momentum, τ dampening, b the momentum buffer.
"""

from __future__ import annotations

from gradstep.views.why.formulas.term import Term
from gradstep.views.why.formulas.work import Work


def sgd(work: Work) -> Term:
    """Return the new weight. The first step copies the gradient to the buffer: dampening applies from the second on."""
    g = gradient(work)
    momentum, dampening = work.option("momentum"), work.option("dampening")
    if momentum:
        mu = work.number("μ", momentum)
        made = g
        if work.has("momentum_buffer"):
            share = (work.number("1", 1) - work.number("τ", dampening)) * g if dampening else g
            made = mu * work.kept("b", "momentum_buffer") + share
        b = work.line("b", made, "momentum_buffer")
        g = work.line("g", g + mu * b) if work.option("nesterov") else b
    return work.w - work.number("lr", work.option("lr")) * g


def gradient(work: Work) -> Term:
    """Return the gradient that the update uses: negated for `maximize`, with the weight decay added."""
    g = -work.grad if work.option("maximize") else work.grad
    decay = work.option("weight_decay")
    if decay:
        g = g + work.number("λ", decay) * work.w
    return work.line("g", g) if g.write is not None else g
