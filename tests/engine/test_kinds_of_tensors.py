"""Every function and operator of expressions on every kind of tensor: a result, or an error with a message."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from gradstep.engine.expressions.assign import AssignTarget
from gradstep.engine.expressions.evaluate import FUNCTIONS, describe, evaluate, holds
from gradstep.engine.numbers.norms import norm_of
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Print
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression

GRID = [[0.0, -2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.5, 0.0]]
ROWS = [torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 4.0], [3.0, 0.0]])]


def coo() -> Tensor:
    """Return the grid as a sparse gradient of an embedding: whole rows are stored, one of them twice."""
    rows = torch.tensor([[0.0, -2.0, 0.0], [1.0, 0.5, 0.0], [2.0, 0.0, 0.0]])
    return torch.sparse_coo_tensor(torch.tensor([[0, 2, 2]]), rows, (3, 3))


def dense(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(GRID).to(dtype)


def wide_integers(dtype: torch.dtype) -> Tensor:
    return torch.tensor([[0, 2, 0], [0, 0, 0], [3, 1, 0]]).to(dtype)


KINDS: dict[str, Callable[[], Tensor]] = {
    "float32": dense,
    "float64": lambda: dense(torch.float64),
    "float16": lambda: dense(torch.float16),
    "bfloat16": lambda: dense(torch.bfloat16),
    "float8": lambda: dense(torch.float8_e4m3fn),
    "strided views": lambda: dense().t()[:, ::2],
    "one number": lambda: torch.tensor(-2.5),
    "sparse COO": coo,
    "sparse COO, elements": lambda: dense().to_sparse(),
    "sparse COO, nothing stored": lambda: torch.zeros(3, 3).to_sparse(),
    "sparse COO, all stored": lambda: (dense() + 7).to_sparse(),
    "sparse COO of halves": lambda: dense(torch.float16).to_sparse(),
    "sparse CSR": lambda: dense().to_sparse_csr(),
    "sparse CSC": lambda: dense().to_sparse_csc(),
    "sparse BSR": lambda: dense().to_sparse_bsr((3, 3)),
    "quantised": lambda: torch.quantize_per_tensor(dense(), 0.5, 10, torch.quint8),
    "quantised by channel": lambda: torch.quantize_per_channel(
        dense(), torch.tensor([0.5, 0.25, 1.0]), torch.tensor([0, 0, 0]), 0, torch.qint8
    ),
    "complex64": lambda: torch.complex(dense(), dense().flip(0)),
    "complex128": lambda: torch.complex(dense(torch.float64), dense(torch.float64).flip(0)),
    "conjugated": lambda: torch.complex(dense(), dense().flip(0)).conj(),
    "bool": lambda: dense() > 0,
    "int64": lambda: wide_integers(torch.int64),
    "int8": lambda: wide_integers(torch.int8),
    "uint8": lambda: wide_integers(torch.uint8),
    "uint16": lambda: wide_integers(torch.uint16),
    "uint32": lambda: wide_integers(torch.uint32),
    "uint64": lambda: wide_integers(torch.uint64),
    "mkldnn": lambda: dense().to_mkldnn(),
    "empty": lambda: torch.empty(0, 3),
    "empty sparse": lambda: torch.empty(0, 3).to_sparse(),
    "nested, jagged": lambda: torch.nested.nested_tensor(ROWS, layout=torch.jagged),
    "nested, strided": lambda: torch.nested.nested_tensor(ROWS, layout=torch.strided),
    "meta": lambda: torch.empty(3, 3, device="meta"),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]


class OneTensor:
    """Has one tensor, `x`."""

    inside = ""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def find(self, name: str) -> object:
        return {"x": self._tensor}[name]

    def names(self) -> Sequence[str]:
        return ("x",)

    def state_of(self, tensor: Tensor) -> Mapping[str, object]:
        return {}


def expression(text: str) -> Expression:
    (line,) = parse_line(f"print {text}")
    assert isinstance(line, StepsLine)
    assert isinstance(line.command, Print)
    return line.command.value


def value(text: str, tensor: Tensor) -> object:
    return evaluate(expression(text), OneTensor(tensor))


LINES = [
    *(f"{name}(x, x)" if function.count == 2 else f"{name}(x)" for name, function in FUNCTIONS.items()),
    *(f"{name}(x, dim=0)" for name, function in FUNCTIONS.items() if "dim" in function.options),
    *(f"norm(x, p={p})" for p in (0, 1, 3, "inf", "-inf")),
    *("any(isnan(x))", "all(isfinite(x))", "any(abs(x) > 1)", "max(abs(x))", "norm(x - x)", "not isnan(x)"),
    *(f"x {op} 1" for op in ("+", "-", "*", "/", "**", "==", "!=", "<", "<=", ">", ">=")),
    *("x == x", "x + x", "x @ x", "-x", "+x", "isnan(x) or isinf(x)", "isfinite(x) and isnan(x)", "x"),
    *("x[0]", "x[-1]", "x[0, 1]", "x[0:2]", "x[..., 0]", "x[1:1]"),
]


def outcome(text: str, tensor: Tensor) -> object:
    """Return a value; None when it is refused, after checking the message."""
    try:
        made = value(text, tensor)
    except GradstepError as refused:
        problem = refused.problem
    else:
        assert describe(made)
        return made
    words = f"{problem.title} {problem.what} {problem.remedy}"
    assert not any(bad in words for bad in ("NotImplementedError", "Could not run", "backend", "aten", "_cpu")), words
    assert problem.what, words
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_every_line_over_every_kind_of_tensor_gives_a_value_or_words(kind: str) -> None:
    tensor = KINDS[kind]()
    before = describe(tensor)
    for text in LINES:
        made = outcome(text, tensor)
        if isinstance(made, Tensor) and made.dtype is torch.bool and made.numel():
            holds(made)
    assert describe(tensor) == before


def as_grid(kind: str) -> Tensor:
    """Return the contents of a tensor of any kind, dense and in double precision."""
    tensor = KINDS[kind]()
    if tensor.is_nested:
        return torch.cat([row.double().flatten() for row in tensor.unbind()])
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    tensor = tensor.float() if tensor.element_size() == 1 and tensor.is_floating_point() else tensor
    tensor = tensor.to_dense() if tensor.layout is not torch.strided else tensor
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


REDUCED = [
    "norm(x)",
    "norm(x, p=1)",
    "norm(x, p=0)",
    "norm(x, p=inf)",
    "norm(x, p=-inf)",
    "sum(x)",
    "mean(x)",
    "std(x)",
]
REDUCED += ["max(x)", "min(x)", "any(isnan(x))", "all(isfinite(x))", "max(abs(x))", "sum(exp(x))", "any(x > 2)"]
VALUES = [kind for kind in KINDS if kind not in ("meta", "empty", "empty sparse")]


@pytest.mark.parametrize("kind", VALUES)
def test_what_is_computed_is_that_of_the_numbers_written_out(kind: str) -> None:
    tensor, written = KINDS[kind](), as_grid(kind)
    close = {torch.float16: 2e-2, torch.bfloat16: 2e-2, torch.float8_e4m3fn: 0.1}.get(tensor.dtype, 1e-5)
    computed = 0
    for text in REDUCED:
        made, wanted = outcome(text, tensor), outcome(text, written)
        if tensor.is_nested and ">" in text:
            assert made is None
            continue
        assert (made is None) == (wanted is None), text
        if isinstance(made, Tensor) and isinstance(wanted, Tensor):
            one, other = complex(made.item()), complex(wanted.item())
            assert abs(one - other) <= close * max(1.0, abs(other)) or (
                math.isnan(one.real) and math.isnan(other.real)
            ), text
            computed += 1
    assert computed >= len(REDUCED) - 5


@pytest.mark.parametrize("kind", VALUES)
def test_a_norm_is_the_one_that_the_panels_show(kind: str) -> None:
    tensor = KINDS[kind]()
    shown, made = norm_of(tensor), value("norm(x)", tensor)
    assert isinstance(made, Tensor)
    assert shown is None or made.item() == pytest.approx(shown, rel=1e-7)


@pytest.mark.parametrize("kind", ["sparse COO", "sparse CSR", "quantised", "quantised by channel", "float8"])
def test_a_part_is_read_as_the_numbers_written_out(kind: str) -> None:
    tensor, written = KINDS[kind](), as_grid(kind)
    for text, part in (("x[2]", written[2]), ("x[0, 1]", written[0, 1]), ("x[:, 0:2]", written[:, :2])):
        made = value(text, tensor)
        assert isinstance(made, Tensor)
        assert torch.equal(made.double(), part), text


def test_a_sparse_tensor_stays_sparse_where_zero_stays_zero() -> None:
    for text in ("abs(x)", "isnan(x)", "sqrt(x)"):
        made = value(text, coo())
        assert isinstance(made, Tensor)
        assert made.layout is torch.sparse_coo
    assert not holds(value("isinf(x)", coo()))


def test_a_sparse_tensor_that_is_too_large_is_reduced_and_not_written_out() -> None:
    large = torch.sparse_coo_tensor(torch.tensor([[5, 1 << 30]]), torch.tensor([3.0, -4.0]), (1 << 40,))
    assert value("norm(x)", large) == 5
    assert value("max(abs(x))", large) == 4
    assert value("any(isnan(x))", large) == torch.tensor(False)
    assert value("x[5]", large) == 3
    with pytest.raises(GradstepError, match="too large") as raised:
        value("x + 1", large)
    assert "x[0]" in raised.value.problem.remedy


def test_a_refusal_says_what_to_do() -> None:
    for text, kind, remedy in (
        ("max(x)", "complex64", "abs(x)"),
        ("x < 1", "complex64", "abs(x)"),
        ("min(x)", "empty", "Widen"),
        ("norm(x)", "meta", "Load the model on a device"),
        ("mean(x, dim=0)", "nested, jagged", "x[0]"),
        ("x + 1", "nested, strided", "x[0]"),
        ("-x", "bool", "not x"),
    ):
        with pytest.raises(GradstepError) as raised:
            value(text, KINDS[kind]())
        assert remedy in raised.value.problem.remedy, (text, kind)


def test_what_torch_can_not_write_by_elements_is_refused_with_a_way_out() -> None:
    place = AssignTarget("grad", "emb.weight", "emb.weight.grad[0]", "", (0,), coo())
    with pytest.raises(GradstepError, match="can't write elements of a sparse_coo tensor") as raised:
        place.put(0.0)
    assert "set emb.weight.grad = none" in raised.value.problem.remedy
    with pytest.raises(GradstepError, match="can't write elements of a quantized tensor"):
        AssignTarget("tensor", "q", "q", "", (), KINDS["quantised"]()).put(0.0)
