"""Losses: v is one number, 1 unless something scales the loss, and J^T v is where the gradient begins."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Rule, Settings, Table, number

_SAVED = {"self": "x", "target": "t"}


def _over(s: Settings) -> str:
    """Write the division by the number of elements that `reduction="mean"` makes (0 none, 1 mean, 2 sum)."""
    return " ÷ N" if s.get("reduction") == 1 else ""


def _sign(s: Settings) -> str:
    reduction = s.get("reduction")
    return "mean " if reduction == 1 else "Σ " if reduction == 2 else ""


def _mse(s: Settings) -> Rule:
    return Rule(
        f"y = {_sign(s)}(x − t)²",
        (("x", f"2 (x − t) v{_over(s)}"), ("t", f"−2 (x − t) v{_over(s)}")),
        "twice the error: the farther off, the harder the pull",
        _SAVED,
    )


def _smooth_l1(s: Settings) -> Rule:
    beta = number(s.get("beta"))
    return Rule(
        f"y = {_sign(s)}smooth |x − t|",
        (("x", f"clip((x − t) ÷ {beta}, −1, 1) v{_over(s)}"), ("t", f"−clip((x − t) ÷ {beta}, −1, 1) v{_over(s)}")),
        "the error, but never more than 1 a sample: an outlier pulls no harder than others",
        _SAVED,
    )


def _huber(s: Settings) -> Rule:
    delta = number(s.get("delta"))
    return Rule(
        f"y = {_sign(s)}Huber(x − t)",
        (("x", f"clip(x − t, −{delta}, {delta}) v{_over(s)}"), ("t", f"−clip(x − t, −{delta}, {delta}) v{_over(s)}")),
        f"the error, but never more than {delta} a sample: an outlier pulls no harder than others",
        _SAVED,
    )


def _nll(s: Settings) -> Rule:
    over = " ÷ Σw" if s.get("reduction") == 1 else ""
    return Rule(
        f"y = {_sign(s)}−w x[target]",
        (("x", f"−w v{over} at the target, 0 elsewhere"),),
        "only the target's entry of each sample gets a gradient; w is the weight of its class, 1 where none is given",
        {"target": "target"},
    )


def _bce(s: Settings) -> Rule:
    return Rule(
        f"y = {_sign(s)}−(t log x + (1 − t) log(1 − x))",
        (("x", f"(x − t) ÷ (x (1 − x)) v{_over(s)}"), ("t", f"(log(1 − x) − log x) v{_over(s)}")),
        "the error over x (1 − x): steep where the prediction is sure; times a sample's weight where it has one",
        _SAVED,
    )


def _bce_logits(s: Settings) -> Rule:
    return Rule(
        f"y = {_sign(s)}binary cross-entropy of σ(x)",
        (("x", f"(σ(x) − t) v{_over(s)}"), ("t", f"−x v{_over(s)}")),
        "the error in probability; times a sample's or class's weight where it has one",
        _SAVED,
    )


_CTC = Rule(
    "y = −log Σ of the chances of all alignments",
    (("x", "(exp x − p) v"),),
    "at each time: what the model gives a label, less p, the label's part in all alignments that spell the target",
    {"log_probs": "x", "result0": "−log chance", "result1": "log α", "targets": "target"},
)
"""Its v for the normalised log probabilities x is already less the part that a log softmax behind it would take out
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
