"""Double backward, recorded under `create_graph`: `u` is the v of the first backward."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, number


def _threshold(s: Settings) -> Derivative:
    t = number(s.get("threshold"))
    return Derivative(
        f"y = u ⊙ 1[x > {t}]",
        (("u", f"v ⊙ 1[x > {t}]"), ("x", "0")),
        "v passes to u where x is above the threshold; x gets 0: a line has no second derivative",
        {"self": "x"},
    )


TABLE: Table = {
    "TanhBackwardBackward0": Derivative(
        "y = u ⊙ (1 − t²), t = tanh",
        (("u", "v ⊙ (1 − t²)"), ("t", "−2 v ⊙ u ⊙ t")),
        "u gets v times 1 − t²; t gets v times u times the derivative of 1 − t²",
        {"grad_output": "u", "output": "t"},
    ),
    "SigmoidBackwardBackward0": Derivative(
        "y = u ⊙ s (1 − s), s = σ",
        (("u", "v ⊙ s (1 − s)"), ("s", "v ⊙ u ⊙ (1 − 2 s)")),
        "u gets v times s (1 − s); s gets v times u times the derivative of s (1 − s)",
        {"grad_output": "u", "output": "s"},
    ),
    "ThresholdBackwardBackward0": _threshold,
}
