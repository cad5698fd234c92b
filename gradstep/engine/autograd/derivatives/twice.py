"""Backwards that were recorded under `create_graph`, differentiated once more: `u` is the v of the first time."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Rule, Settings, Table, number


def _threshold(s: Settings) -> Rule:
    t = number(s.get("threshold"))
    return Rule(
        f"y = u ⊙ 1[x > {t}]",
        (("u", f"v ⊙ 1[x > {t}]"), ("x", "0")),
        "a straight line has no second derivative: v passes to u where the first backward let u pass, x gets 0",
        {"self": "x"},
    )


TABLE: Table = {
    "TanhBackwardBackward0": Rule(
        "y = u ⊙ (1 − t²), t = tanh",
        (("u", "v ⊙ (1 − t²)"), ("t", "−2 v ⊙ u ⊙ t")),
        "u gets v as u itself went back, and tanh the change of its own slope",
        {"grad_output": "u", "output": "t"},
    ),
    "SigmoidBackwardBackward0": Rule(
        "y = u ⊙ s (1 − s), s = σ",
        (("u", "v ⊙ s (1 − s)"), ("s", "v ⊙ u ⊙ (1 − 2 s)")),
        "u gets v as u itself went back, and σ the change of its own slope",
        {"grad_output": "u", "output": "s"},
    ),
    "ThresholdBackwardBackward0": _threshold,
}
