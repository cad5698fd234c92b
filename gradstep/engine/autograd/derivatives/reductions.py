"""Sums, means, extremes, norms and softmax."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, dimension, number, unary


def _along(s: Settings) -> str:
    return f" along dim {dimension(s['dim'])}" if s.get("dim") not in (None, [], ()) else ""


def _correction(s: Settings) -> int:
    """Return what variance and standard deviation subtract from the number of elements."""
    correction = s.get("correction")
    return int(correction) if isinstance(correction, (int, float)) else 1


def _variance(s: Settings) -> Derivative:
    words = f"v times twice the deviation from the mean, divided by n − {_correction(s)}"
    return unary(f"y = var x{_along(s)}", f"v ⊙ 2 (x − x̄) ÷ (n − {_correction(s)})", words, {"self": "x"})


def _deviation(s: Settings) -> Derivative:
    words = f"v times the deviation from the mean, divided by n − {_correction(s)} and by the standard deviation"
    formula = f"v ⊙ (x − x̄) ÷ ((n − {_correction(s)}) y)"
    return unary(f"y = std x{_along(s)}", formula, words, {"self": "x", "result": "y"})


def _picked(name: str) -> Derivative:
    words = f"v goes to the {name} element, by the index that the forward saved; the others get 0"
    return unary(f"y = {name} of x", "v at i, 0 elsewhere", words, {"indices": "i"})


def _shared(name: str) -> Derivative:
    words = f"v goes to the {name} element, split equally among ties; the others get 0"
    return unary(f"y = {name} of x", "v ⊙ 1[x = y] ÷ how many", words, {"self": "x", "result": "y"})


def _norm(s: Settings) -> Derivative:
    order = s.get("ord")
    saved = {"self": "x", "result": "y"}
    if order == 2:
        return unary("y = ‖x‖", "v x ÷ y", "v times the unit vector in the direction of x", saved)
    if order == 1:
        return unary("y = Σ |x|", "v sign(x)", "v times the sign of each element", saved)
    p = number(order)
    words = "v times the derivative of the norm"
    return unary(f"y = (Σ |x|^{p})^(1/{p})", f"v x |x|^({p} − 2) ÷ y^({p} − 1)", words, saved)


def _softmax(s: Settings) -> Derivative:
    return unary(
        f"y = softmax x{_along(s)}",
        "y ⊙ (v − Σ v ⊙ y)",
        "y times v minus the mean of v weighted by y: adding a constant to v changes nothing",
        {"result": "y"},
    )


def _log_softmax(s: Settings) -> Derivative:
    return unary(
        f"y = log softmax x{_along(s)}",
        "v − exp(y) Σ v",
        "v minus the probabilities times the sum of v",
        {"result": "y"},
    )


TABLE: Table = {
    "SumBackward0": unary("y = Σ x", "v for every element", "every element gets v unchanged"),
    "SumBackward1": lambda s: unary(
        f"y = Σ x{_along(s)}", "v repeated", "every element gets the v of the sum it is part of"
    ),
    "MeanBackward0": lambda s: unary(
        "y = Σ x ÷ n", f"v ÷ {number(s.get('self_sym_numel'))}", "every element gets an equal share of v"
    ),
    "MeanBackward1": lambda s: unary(
        f"y = mean x{_along(s)}", "v ÷ n, repeated", "every element gets an equal share of the v of its mean"
    ),
    "ProdBackward0": unary(
        "y = Π x", "v y ÷ x", "every element gets v times the product of all the others", {"self": "x", "result": "y"}
    ),
    "VarBackward0": _variance,
    "StdBackward0": _deviation,
    "AmaxBackward0": _shared("largest"),
    "AminBackward0": _shared("smallest"),
    "MaxBackward0": _picked("largest"),
    "MinBackward0": _picked("smallest"),
    "MaxBackward1": _shared("largest"),
    "MinBackward1": _shared("smallest"),
    "TopkBackward0": unary(
        "y = k largest of x",
        "v at i, 0 elsewhere",
        "v goes to the elements that were picked; the others get 0",
        {"indices": "i"},
    ),
    "SortBackward0": unary("y = x, sorted", "v at i", "v in the order before sorting", {"indices": "i"}),
    "LinalgVectorNormBackward0": _norm,
    "LogsumexpBackward0": lambda s: unary(
        f"y = log Σ exp x{_along(s)}",
        "v ⊙ exp(x − y)",
        "v times the softmax of x",
        {"self": "x", "result": "y"},
    ),
    "SoftmaxBackward0": _softmax,
    "SafeSoftmaxBackward0": _softmax,
    "LogSoftmaxBackward0": _log_softmax,
}
