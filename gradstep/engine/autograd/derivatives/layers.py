"""Whole layers that torch differentiates as one operation: norms, convolution, pooling, embedding, attention."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table

_NORM_WORDS = "v w minus its mean and its projection on x̂, divided by σ: shifting or scaling x does not change y"


def _normalised(group: str, over: str) -> Derivative:
    return Derivative(
        f"y = x̂ w + b, x̂ = (x − μ) ÷ σ over {group}",
        (
            ("x", "(g − mean g − x̂ mean(g ⊙ x̂)) ÷ σ, g = v ⊙ w"),
            ("w", f"Σ v ⊙ x̂ over {over}"),
            ("b", f"Σ v over {over}"),
        ),
        _NORM_WORDS,
        {"input": "x", "weight": "w", "result1": "μ", "result2": "1 ÷ σ"},
    )


def _batch_norm(s: Settings) -> Derivative:
    if s.get("training"):
        return _normalised("the batch", "the batch")
    return Derivative(
        "y = x̂ w + b, x̂ = (x − μ) ÷ σ with running μ and σ",
        (("x", "v ⊙ w ÷ σ"), ("w", "Σ v ⊙ x̂ over the batch"), ("b", "Σ v over the batch")),
        "in eval mode μ and σ are constants: v times w ÷ σ",
        {"input": "x", "weight": "w", "running_mean": "μ", "running_var": "σ²"},
    )


def _convolution(s: Settings) -> Derivative:
    transposed = bool(s.get("transposed"))
    return Derivative(
        "y = b + W ⋆ᵀ x, a transposed convolution" if transposed else "y = b + W ⋆ x",
        (
            ("x", "W ⋆ v" if transposed else "W ⋆ᵀ v"),
            ("W", "x ⋆ v"),
            ("b", "Σ v over the batch and all positions"),
        ),
        "every input gets the v of the outputs it contributed to, weighted by the kernel; "
        "every weight gets the sum of input times v over all positions",
        {"input": "x", "weight": "W"},
    )


_WEIGHT_NORM = Derivative(
    "y = g d ÷ n, n = ‖d‖ of each row",
    (("d", "g (v − d (d · v) ÷ n²) ÷ n"), ("g", "(d · v) ÷ n")),
    "the magnitude g gets the component of v along d, and d only the component orthogonal to it",
    {"v": "d", "g": "g", "result1": "n"},
)

_AVERAGE_POOL = Derivative(
    "y = mean of each window",
    (("x", "v ÷ size of the window, summed"),),
    "every element gets an equal share of the v of each window it is in",
    {"self": "x"},
)

_ATTENTION = Derivative(
    "y = P V, P = softmax(s Q Kᵀ)",
    (
        ("Q", "s D K, D = P ⊙ (v Vᵀ − rowsum(v ⊙ y))"),
        ("K", "s Dᵀ Q"),
        ("V", "Pᵀ v"),
    ),
    "the values get v weighted by their attention; queries and keys get it through the softmax",
    {"query": "Q", "key": "K", "value": "V", "output": "y"},
)

TABLE: Table = {
    "NativeLayerNormBackward0": _normalised("the last dims", "the others"),
    "NativeGroupNormBackward0": _normalised("each group", "the batch and all positions"),
    "NativeBatchNormBackward0": _batch_norm,
    "ConvolutionBackward0": _convolution,
    "MaxPool2DWithIndicesBackward0": Derivative(
        "y = max of each window",
        (("x", "v added at i, 0 elsewhere"),),
        "v goes to the maximum of each window, summed where windows overlap; the others get 0",
        {"self": "x", "result1": "i"},
    ),
    "AvgPool2DBackward0": _AVERAGE_POOL,
    "AdaptiveAvgPool2DBackward0": _AVERAGE_POOL,
    "WeightNormInterfaceBackward0": _WEIGHT_NORM,
    "EmbeddingBackward0": Derivative(
        "y = W[i]",
        (("W", "rows of v added at i, 0 elsewhere"),),
        "each row of v is added to the row of W that was looked up; the other rows get 0",
        {"indices": "i"},
    ),
    "ScaledDotProductFlashAttentionForCpuBackward0": _ATTENTION,
    "ScaledDotProductFlashAttentionBackward0": _ATTENTION,
    "ScaledDotProductEfficientAttentionBackward0": _ATTENTION,
}
