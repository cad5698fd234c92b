"""Whole layers that torch differentiates as one operation: norms, convolution, pooling, embedding, attention."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Rule, Settings, Table

_NORM_WORDS = "v w less its mean and less its part along x̂, over the deviation: shift and scale of x do not count"


def _normalised(what: str, over: str) -> Rule:
    return Rule(
        f"y = x̂ w + b, x̂ = (x − μ) ÷ σ over {what}",
        (
            ("x", "(g − mean g − x̂ mean(g ⊙ x̂)) ÷ σ, g = v ⊙ w"),
            ("w", f"Σ v ⊙ x̂ over {over}"),
            ("b", f"Σ v over {over}"),
        ),
        _NORM_WORDS,
        {"input": "x", "weight": "w", "result1": "μ", "result2": "1 ÷ σ"},
    )


def _batch_norm(s: Settings) -> Rule:
    if s.get("training"):
        return _normalised("the batch", "the batch")
    return Rule(
        "y = x̂ w + b, x̂ = (x − μ) ÷ σ with running μ and σ",
        (("x", "v ⊙ w ÷ σ"), ("w", "Σ v ⊙ x̂ over the batch"), ("b", "Σ v over the batch")),
        "in eval mode μ and σ are constants: v times w over the running deviation",
        {"input": "x", "weight": "w", "running_mean": "μ", "running_var": "σ²"},
    )


def _convolution(s: Settings) -> Rule:
    turned = bool(s.get("transposed"))
    return Rule(
        "y = b + W ⋆ᵀ x, a transposed convolution" if turned else "y = b + W ⋆ x",
        (
            ("x", "W ⋆ v" if turned else "W ⋆ᵀ v"),
            ("W", "x and v correlated"),
            ("b", "Σ v over the batch and all places"),
        ),
        "every input gets the v of the outputs it was part of, through the kernel's own weights; "
        "every weight the sum of input times v over all places it stood at",
        {"input": "x", "weight": "W"},
    )


_WEIGHT_NORM = Rule(
    "y = g d ÷ n, n = ‖d‖ of each row",
    (("d", "g (v − d (d · v) ÷ n²) ÷ n"), ("g", "(d · v) ÷ n")),
    "the length g gets the part of v along the direction d, and d gets only the part across it",
    {"v": "d", "g": "g", "result1": "n"},
)

_ATTENTION = Rule(
    "y = P V, P = softmax(s Q Kᵀ)",
    (
        ("Q", "s D K, D = P ⊙ (v Vᵀ − rowsum(v ⊙ y))"),
        ("K", "s Dᵀ Q"),
        ("V", "Pᵀ v"),
    ),
    "the values get v by the attention they were given; queries and keys get it through the softmax",
    {"query": "Q", "key": "K", "value": "V", "output": "y"},
)

TABLE: Table = {
    "NativeLayerNormBackward0": _normalised("the last dims", "the others"),
    "NativeGroupNormBackward0": _normalised("each group", "the batch and all places"),
    "NativeBatchNormBackward0": _batch_norm,
    "ConvolutionBackward0": _convolution,
    "MaxPool2DWithIndicesBackward0": Rule(
        "y = greatest of each window",
        (("x", "v added at i, 0 elsewhere"),),
        "v goes to the element that won its window, and is added up where it won several; the others get 0",
        {"self": "x", "result1": "i"},
    ),
    "AvgPool2DBackward0": Rule(
        "y = mean of each window",
        (("x", "v ÷ size of the window, added up"),),
        "every element gets an equal share of the v of each window it was in",
        {"self": "x"},
    ),
    "AdaptiveAvgPool2DBackward0": Rule(
        "y = mean of each window",
        (("x", "v ÷ size of the window, added up"),),
        "every element gets an equal share of the v of each window it was in",
        {"self": "x"},
    ),
    "WeightNormInterfaceBackward0": _WEIGHT_NORM,
    "EmbeddingBackward0": Rule(
        "y = W[i]",
        (("W", "rows of v added at i, 0 elsewhere"),),
        "each row of v is added to the row of W that it was read from; rows nobody read get 0",
        {"indices": "i"},
    ),
    "ScaledDotProductFlashAttentionForCpuBackward0": _ATTENTION,
    "ScaledDotProductFlashAttentionBackward0": _ATTENTION,
    "ScaledDotProductEfficientAttentionBackward0": _ATTENTION,
}
