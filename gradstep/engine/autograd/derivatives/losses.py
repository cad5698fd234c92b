"""Losses: v is a scalar unless the reduction is `none`, and 1 unless the loss is scaled."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, number

_SAVED = {"self": "x", "target": "t"}


def _over(s: Settings) -> str:
    """Return the division by the number of elements for `reduction="mean"` (0 none, 1 mean, 2 sum)."""
    return " ÷ N" if s.get("reduction") == 1 else ""


def _sign(s: Settings) -> str:
    reduction = s.get("reduction")
    return "mean " if reduction == 1 else "Σ " if reduction == 2 else ""


def _mse(s: Settings) -> Derivative:
    return Derivative(
        f"y = {_sign(s)}(x − t)²",
        (("x", f"2 (x − t) v{_over(s)}"), ("t", f"−2 (x − t) v{_over(s)}")),
        "v times twice the error: the gradient grows with the error",
        _SAVED,
    )


def _smooth_l1(s: Settings) -> Derivative:
    beta = number(s.get("beta"))
    return Derivative(
        f"y = {_sign(s)}smooth |x − t|",
        (("x", f"clip((x − t) ÷ {beta}, −1, 1) v{_over(s)}"), ("t", f"−clip((x − t) ÷ {beta}, −1, 1) v{_over(s)}")),
        "v times the error, clipped to ±1: an outlier gets no larger a gradient",
        _SAVED,
    )


def _huber(s: Settings) -> Derivative:
    delta = number(s.get("delta"))
    return Derivative(
        f"y = {_sign(s)}Huber(x − t)",
        (("x", f"clip(x − t, −{delta}, {delta}) v{_over(s)}"), ("t", f"−clip(x − t, −{delta}, {delta}) v{_over(s)}")),
        f"v times the error, clipped to ±{delta}: an outlier gets no larger a gradient",
        _SAVED,
    )


def _nll(s: Settings) -> Derivative:
    over = " ÷ Σw" if s.get("reduction") == 1 else ""
    return Derivative(
        f"y = {_sign(s)}−w x[target]",
        (("x", f"−w v{over} at the target, 0 elsewhere"),),
        "only the target class of each sample gets a gradient; w is its class weight, 1 by default",
        {"target": "target"},
    )


def _bce(s: Settings) -> Derivative:
    return Derivative(
        f"y = {_sign(s)}−(t log x + (1 − t) log(1 − x))",
        (("x", f"(x − t) ÷ (x (1 − x)) v{_over(s)}"), ("t", f"(log(1 − x) − log x) v{_over(s)}")),
        "v times the error over x (1 − x): large where a confident prediction is wrong; times the weight, if any",
        _SAVED,
    )


def _bce_logits(s: Settings) -> Derivative:
    return Derivative(
        f"y = {_sign(s)}binary cross-entropy of σ(x)",
        (("x", f"(σ(x) − t) v{_over(s)}"), ("t", f"−x v{_over(s)}")),
        "v times the error in probability, σ(x) − t; times the weight, if any",
        _SAVED,
    )


_CTC = Derivative(
    "y = −log Σ of the probabilities of all alignments",
    (("x", "(exp x − p) v"),),
    "at each time step: the model's probability of a label minus p, its probability given the target",
    {"log_probs": "x", "result0": "−log likelihood", "result1": "log α", "targets": "target"},
)
"""torch returns the gradient for x as if x were the input of the log softmax before it
(aten/src/ATen/native/LossCTC.cpp, `ctc_loss_backward_cpu_template`)."""

TABLE: Table = {
    "MseLossBackward0": _mse,
    "SmoothL1LossBackward0": _smooth_l1,
    "HuberLossBackward0": _huber,
    "CtcLossBackward0": _CTC,
    "NllLossBackward0": _nll,
    "NllLoss2DBackward0": _nll,
    "BinaryCrossEntropyBackward0": _bce,
    "BinaryCrossEntropyWithLogitsBackward0": _bce_logits,
}
