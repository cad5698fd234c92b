"""Elementwise operations: their Jacobians are diagonal."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, factor, number, unary

X, Y = {"self": "x"}, {"result": "y"}


def _one(forward: str, formula: str, words: str, saved: dict[str, str]) -> Derivative:
    return unary(f"y = {forward}", formula, words, saved)


def _power(s: Settings) -> Derivative:
    n = s.get("exponent")
    if n == 2:
        return _one("x²", "v ⊙ 2x", "v times twice the input", X)
    below = number(n - 1) if isinstance(n, (int, float)) and not isinstance(n, bool) else "(n − 1)"
    return _one(
        f"x^{number(n)}", f"v ⊙ {number(n)} x^{below}", f"v times {number(n)} times the input to the power {below}", X
    )


def _clamp(s: Settings) -> Derivative:
    low, high = s.get("min"), s.get("max")
    ends = [f"{number(low)} ≤ " if low is not None else "", f" ≤ {number(high)}" if high is not None else ""]
    return _one(
        f"clamp(x, {number(low)}, {number(high)})",
        f"v ⊙ 1[{ends[0]}x{ends[1]}]",
        "v passes where the input is within the bounds, and is zeroed outside",
        X,
    )


def _hardtanh(s: Settings) -> Derivative:
    low, high = number(s.get("min_val")), number(s.get("max_val"))
    return _one(
        f"clamp(x, {low}, {high})",
        f"v ⊙ 1[{low} < x < {high}]",
        "v passes where the input is strictly within the bounds, and is zeroed outside",
        X,
    )


def _threshold(s: Settings) -> Derivative:
    t = number(s.get("threshold"))
    words = "v passes where the input is above the threshold, and is zeroed elsewhere"
    return _one(f"x where x > {t}, else a constant", f"v ⊙ 1[x > {t}]", words, X)


def _leaky(s: Settings) -> Derivative:
    slope = number(s.get("negative_slope"))
    return _one(
        f"x where x > 0, else {slope} x",
        f"v where x > 0, else {slope} v",
        f"v passes where the input is above 0, and is multiplied by {slope} elsewhere",
        X,
    )


def _gelu(s: Settings) -> Derivative:
    if s.get("approximate") == "tanh":
        words = "v times the derivative of GELU's tanh approximation at the input"
        return _one("½ x (1 + t), t = tanh(√(2/π) (x + 0.044715 x³))", "v ⊙ gelu′(x)", words, X)
    return _one("x Φ(x)", "v ⊙ (Φ(x) + x φ(x))", "v times the derivative of GELU at the input", X)


def _softplus(s: Settings) -> Derivative:
    beta = s.get("beta")
    return _one(
        f"log(1 + exp({factor(beta)}x)){'' if beta == 1 else f' ÷ {number(beta)}'}",
        f"v ⊙ σ({factor(beta)}x)",
        f"v times the sigmoid of {factor(beta)}x",
        X,
    )


def _add(s: Settings) -> Derivative:
    a = factor(s.get("alpha", 1))
    words = "both inputs get v unchanged" if not a else f"the first input gets v, the second {a}v"
    return Derivative(f"y = a + {a}b", (("a", "v"), ("b", f"{a}v")), words)


def _sub(s: Settings) -> Derivative:
    a = factor(s.get("alpha", 1))
    return Derivative(f"y = a − {a}b", (("a", "v"), ("b", f"−{a}v")), f"the first input gets v, the second −{a}v")


def _rsub(s: Settings) -> Derivative:
    a = factor(s.get("alpha", 1))
    inputs = (("a", f"−{a}v"), ("b", "v"))
    return Derivative(f"y = b − {a}a", inputs, f"the input that is subtracted gets −{a}v, the other v")


def _rsub_number(s: Settings) -> Derivative:
    a = factor(s.get("alpha", 1))
    return Derivative(f"y = c − {a}x", (("x", f"−{a}v"),), f"the input gets −{a}v")


def _mul_number(s: Settings) -> Derivative:
    c = number(s.get("other"))
    return Derivative(f"y = {c} x", (("x", f"{c} v"),), f"v times {c}")


def _div_number(s: Settings) -> Derivative:
    c = number(s.get("other"))
    return Derivative(f"y = x ÷ {c}", (("x", f"v ÷ {c}"),), f"v divided by {c}")


def _dropout(s: Settings) -> Derivative:
    p = number(s.get("p"))
    return Derivative(
        f"y = m ⊙ x ÷ (1 − {p})",
        (("x", f"m ⊙ v ÷ (1 − {p})"),),
        "v is zeroed where the forward dropped the element, and scaled as the forward was elsewhere",
        {"result1": "m"},
    )


TABLE: Table = {
    "ReluBackward0": _one(
        "max(x, 0)", "v ⊙ 1[y > 0]", "v passes where the output is above 0, and is zeroed elsewhere", Y
    ),
    "ThresholdBackward0": _threshold,
    "LeakyReluBackward0": _leaky,
    "HardtanhBackward0": _hardtanh,
    "ClampBackward1": _clamp,
    "GeluBackward0": _gelu,
    "SoftplusBackward0": _softplus,
    "SiluBackward0": _one("x σ(x)", "v ⊙ σ(x) (1 + x (1 − σ(x)))", "v times the derivative of SiLU at the input", X),
    "SigmoidBackward0": _one(
        "σ(x)", "v ⊙ y (1 − y)", "v times y (1 − y): at most ¼, and nearly 0 where y saturates at 0 or 1", Y
    ),
    "TanhBackward0": _one(
        "tanh x", "v ⊙ (1 − y²)", "v times 1 − y²: at most 1, and nearly 0 where y saturates at −1 or 1", Y
    ),
    "LogSigmoidBackward0": _one("log σ(x)", "v ⊙ σ(−x)", "v times the sigmoid of −x", X),
    "ExpBackward0": _one("exp x", "v ⊙ y", "v times the output: exp is its own derivative", Y),
    "Expm1Backward0": _one("exp x − 1", "v ⊙ (y + 1)", "v times exp x", Y),
    "LogBackward0": _one("log x", "v ÷ x", "v divided by the input: large where the input is near 0", X),
    "Log2Backward0": _one("log₂ x", "v ÷ (x log 2)", "v divided by the input, and by log 2", X),
    "Log10Backward0": _one("log₁₀ x", "v ÷ (x log 10)", "v divided by the input, and by log 10", X),
    "Log1PBackward0": _one("log(1 + x)", "v ÷ (1 + x)", "v divided by one more than the input", X),
    "SqrtBackward0": _one("√x", "v ÷ (2y)", "v divided by twice the output: infinite where the output is 0", Y),
    "RsqrtBackward0": _one("1 ÷ √x", "−½ v ⊙ y³", "v times minus half the cube of the output", Y),
    "ReciprocalBackward0": _one("1 ÷ x", "−v ⊙ y²", "v times minus the square of the output", Y),
    "AbsBackward0": _one("|x|", "v ⊙ sign(x)", "v where the input is above 0, −v where it is below, 0 at 0", X),
    "NegBackward0": Derivative("y = −x", (("x", "−v"),), "v with its sign flipped"),
    "SinBackward0": _one("sin x", "v ⊙ cos x", "v times the cosine of the input", X),
    "CosBackward0": _one("cos x", "−v ⊙ sin x", "v times minus the sine of the input", X),
    "ErfBackward0": _one("erf x", "v ⊙ 2/√π exp(−x²)", "v times the Gaussian 2/√π exp(−x²)", X),
    "PowBackward0": _power,
    "PowBackward1": Derivative(
        "y = a^b",
        (("a", "v ⊙ b a^(b − 1)"), ("b", "v ⊙ y log a")),
        "the base gets v times b a^(b − 1), the exponent v times the output times log a",
        {"self": "a", "exponent": "b", "result": "y"},
    ),
    "AddBackward0": _add,
    "AddBackward1": Derivative("y = x + c", (("x", "v"),), "v unchanged: a constant has no derivative"),
    "SubBackward0": _sub,
    "SubBackward1": Derivative("y = x − c", (("x", "v"),), "v unchanged: a constant has no derivative"),
    "RsubBackward0": _rsub,
    "RsubBackward1": _rsub_number,
    "MulBackward0": Derivative(
        "y = a ⊙ b",
        (("a", "v ⊙ b"), ("b", "v ⊙ a")),
        "each input gets v times the other",
        {"self": "a", "other": "b"},
    ),
    "MulBackward1": _mul_number,
    "DivBackward0": Derivative(
        "y = a ÷ b",
        (("a", "v ÷ b"), ("b", "−v ⊙ a ÷ b²")),
        "the numerator gets v divided by b, the denominator minus v times a ÷ b²",
        {"self": "a", "other": "b"},
    ),
    "DivBackward1": _div_number,
    "AddcmulBackward0": lambda s: Derivative(
        f"y = a + {factor(s.get('value', 1))}b ⊙ c",
        (("a", "v"), ("b", f"{factor(s.get('value', 1))}v ⊙ c"), ("c", f"{factor(s.get('value', 1))}v ⊙ b")),
        "the first input gets v, each factor v times the other factor",
        {"tensor1": "b", "tensor2": "c"},
    ),
    "MaximumBackward0": Derivative(
        "y = max(a, b)",
        (("a", "v ⊙ (1[a > b] + ½ 1[a = b])"), ("b", "v ⊙ (1[b > a] + ½ 1[a = b])")),
        "v goes to the larger of the two; half to each where they are equal",
        {"self": "a", "other": "b"},
    ),
    "MinimumBackward0": Derivative(
        "y = min(a, b)",
        (("a", "v ⊙ (1[a < b] + ½ 1[a = b])"), ("b", "v ⊙ (1[b < a] + ½ 1[a = b])")),
        "v goes to the smaller of the two; half to each where they are equal",
        {"self": "a", "other": "b"},
    ),
    "WhereBackward0": Derivative(
        "y = a where c, else b",
        (("a", "v ⊙ 1[c]"), ("b", "v ⊙ 1[not c]")),
        "v goes to the input that was selected; the condition has no gradient",
        {"condition": "c"},
    ),
    "MaskedFillBackward0": Derivative(
        "y = x, filled where m",
        (("x", "v ⊙ 1[not m]"),),
        "v is zeroed where the mask filled in a constant, and passes elsewhere",
        {"mask": "m"},
    ),
    "NativeDropoutBackward0": _dropout,
    "CloneBackward0": Derivative("y = x", (("x", "v"),), "v unchanged: a copy"),
    "AliasBackward0": Derivative("y = x", (("x", "v"),), "v unchanged: the same tensor"),
    "ToCopyBackward0": Derivative("y = x in another dtype", (("x", "v"),), "v, cast back to the dtype of the input"),
}
