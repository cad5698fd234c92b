"""Matrix products. Their Jacobians consist of blocks: each block is one of the matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradstep.engine.autograd.derivatives.rule import Derivative, Entry, Settings, Table, factor

_PRODUCT_WORDS = "each matrix gets v times the other one, transposed"


def _added(forward: str, inputs: Sequence[tuple[str, str]], words: str, saved: Mapping[str, str]) -> Entry:
    """Return the rule of a product that is added to an input; `{a}` and `{b}` in it are the factors alpha and beta."""

    def rule(s: Settings) -> Derivative:
        factors = {"a": factor(s.get("alpha", 1)), "b": factor(s.get("beta", 1))}
        formulas = tuple((symbol, formula.format(**factors)) for symbol, formula in inputs)
        return Derivative(forward.format(**factors), formulas, words, saved)

    return rule


def _sparse(s: Settings) -> Derivative:
    a, b = factor(s.get("alpha", 1)), factor(s.get("beta", 1))
    start = "" if s.get("beta") == 0 else f"{b}b + "
    return Derivative(
        f"y = {start}{a}x W, x sparse",
        (("b", f"{b}v"), ("x", f"{a}v Wᵀ where x has entries"), ("W", f"{a}xᵀ v")),
        "the dense matrix gets xᵀ v, the sparse one v Wᵀ at its stored entries only",
        {"mat1": "x", "mat2": "W"},
    )


TABLE: Table = {
    "AddmmBackward0": _added(
        "y = {b}b + {a}x W",
        (("b", "{b}v"), ("x", "{a}v Wᵀ"), ("W", "{a}xᵀ v")),
        "the bias gets v, the input v Wᵀ, the weight xᵀ v, summed over the batch",
        {"mat1": "x", "mat2": "W"},
    ),
    "MmBackward0": Derivative("y = A B", (("A", "v Bᵀ"), ("B", "Aᵀ v")), _PRODUCT_WORDS, {"self": "A", "mat2": "B"}),
    "BmmBackward0": Derivative(
        "y = A B in each batch",
        (("A", "v Bᵀ"), ("B", "Aᵀ v")),
        f"in each batch {_PRODUCT_WORDS}",
        {"self": "A", "mat2": "B"},
    ),
    "BaddbmmBackward0": _added(
        "y = {b}c + {a}A B in each batch",
        (("c", "{b}v"), ("A", "{a}v Bᵀ"), ("B", "{a}Aᵀ v")),
        f"c gets v; in each batch {_PRODUCT_WORDS}",
        {"batch1": "A", "batch2": "B"},
    ),
    "MvBackward0": Derivative(
        "y = A x",
        (("A", "v xᵀ"), ("x", "Aᵀ v")),
        "the matrix gets the outer product of v and x, the vector Aᵀ v",
        {"self": "A", "vec": "x"},
    ),
    "AddmvBackward0": _added(
        "y = {b}b + {a}A x",
        (("b", "{b}v"), ("A", "{a}v xᵀ"), ("x", "{a}Aᵀ v")),
        "b gets v, the matrix the outer product of v and x, the vector Aᵀ v",
        {"mat": "A", "vec": "x"},
    ),
    "SparseAddmmBackward0": _sparse,
    "GroupedMmBackward0": Derivative(
        "y = A B in each group",
        (("A", "v Bᵀ in each group"), ("B", "Aᵀ v in each group")),
        f"in each group {_PRODUCT_WORDS}",
        {"self": "A", "mat2": "B", "offs": "ends of groups"},
    ),
    "VdotBackward0": Derivative(
        "y = ā · b, ā the conjugate",
        (("a", "v̄ b"), ("b", "v a")),
        "each vector gets v times the other; the first, the conjugate of v",
        {"self": "a", "other": "b"},
    ),
    "DotBackward0": Derivative(
        "y = a · b", (("a", "v b"), ("b", "v a")), "each vector gets v times the other", {"self": "a", "tensor": "b"}
    ),
}

TRANSPOSED: dict[str, Entry] = {
    "AddmmBackward0": _added(
        "y = {b}b + {a}x Wᵀ",
        (("b", "{b}v"), ("x", "{a}v W"), ("Wᵀ", "{a}xᵀ v")),
        "the bias gets v, the input v W, the transposed weight xᵀ v, summed over the batch",
        {"mat1": "x", "mat2": "Wᵀ"},
    ),
    "MmBackward0": Derivative(
        "y = x Wᵀ",
        (("x", "v W"), ("Wᵀ", "xᵀ v")),
        "the input gets v W, the transposed weight xᵀ v, summed over the batch",
        {"self": "x", "mat2": "Wᵀ"},
    ),
}
"""Products whose second matrix is a transposed weight."""

SUMS = frozenset({"AddmmBackward0", "BaddbmmBackward0", "AddmvBackward0"})
"""Nodes whose first input is added to the product, and may be broadcast."""
