from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gradstep.engine.expressions.evaluate import FUNCTIONS, describe, evaluate, explain_failure, holds, split_selection
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Print
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression, Number, Unary
from gradstep.values.outcomes import Problem


class Pair(NamedTuple):
    image: Tensor
    label: Tensor


class FakeScope:
    """Names of a small made-up model."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.arange(12.0).reshape(3, 4))
        self.weight.grad = torch.ones(3, 4)
        self.bias = nn.Parameter(torch.tensor([1.0, math.nan, 3.0]))
        self.values: dict[str, object] = {
            "2.weight": self.weight,
            "2.bias": self.bias,
            "de-en.weight": self.weight,
            "none.weight": self.weight,
            "2.weight.grad.scale": torch.tensor(7.0),
            "loss": torch.tensor(2.5),
            "iteration": 3,
            "lr": 0.001,
            "prediction": None,
            "half": torch.full((4,), 300.0, dtype=torch.float16),
            "mask": torch.tensor([True, False]),
            "computed": self.weight * 2,
            "batch": {"input_ids": torch.tensor([[1, 2]]), "deep": [torch.tensor(1), torch.tensor(2)]},
            "pair": Pair(torch.zeros(2), torch.tensor(1)),
        }

    inside = ""

    def find(self, name: str) -> object:
        return self.values[name]

    def names(self) -> Sequence[str]:
        return tuple(self.values)

    def state_of(self, tensor: Tensor) -> Mapping[str, object]:
        return {"exp_avg": torch.full((3, 4), 0.5)} if tensor is self.weight else {}


SCOPE = FakeScope()


def expression(text: str) -> Expression:
    (line,) = parse_line(f"print {text}")
    assert isinstance(line, StepsLine)
    assert isinstance(line.command, Print)
    return line.command.value


def value(text: str) -> object:
    return evaluate(expression(text), SCOPE)


def plain(text: str) -> object:
    """Return a value with its tensors as lists."""
    made = value(text)
    return made.tolist() if isinstance(made, Tensor) else made


def problem(text: str) -> Problem:
    with pytest.raises(GradstepError) as error:
        value(text)
    assert error.value.problem.kind == "wrong"
    return error.value.problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.weight[0]", [0, 1, 2, 3]),
        ("2.weight[-1, -1]", 11),
        ("2.weight[0, 0:10]", [0, 1, 2, 3]),
        ("2.weight[1:, ::2]", [[4, 6], [8, 10]]),
        ("2.weight[..., 1]", [1, 5, 9]),
        ("2.weight[iteration - 1, 0]", 8),
        ("2.weight[-3:-1, 0]", [0, 4]),
        ("2.weight.grad[0]", [1, 1, 1, 1]),
        ("2.weight[0].grad", [1, 1, 1, 1]),
        ("2.weight.grad.scale", 7),
        ("2.weight.state.exp_avg[0, 0]", 0.5),
        ("2.weight[0, 0].state.exp_avg", 0.5),
        ("2.bias.state", None),
        ("2.bias.grad", None),
        ("computed.grad", None),
        ("`de-en`.weight[0, 1]", 1),
        ("`none.weight`.grad[0, 0]", 1),
        ("batch.input_ids", [[1, 2]]),
        ('batch["input_ids"][0, 1]', 2),
        ("batch.deep.1", 2),
        ("batch.deep[0]", 1),
        ("pair.label", 1),
        ("loss", 2.5),
        ("loss - 0.5 * 2 ** 2", 0.5),
        ("-2 ** 2", -4),
        ("2 / 4 - 1", -0.5),
        ("[1, 2] == [1, 2]", True),
        ("2.weight[0] == [0, 1, 2, 4]", [True, True, True, False]),
        ("2.weight @ 2.weight[0]", [14, 38, 62]),
        ("2.bias == 2.bias", [True, False, True]),
        ("nan == nan", False),
        ("loss is not none or missing", True),
        ("not mask", [False, True]),
        ("mask and true", [True, False]),
        ("mask or mask", [True, False]),
        ("2.bias.grad is none and loss > 2", True),
        ("2.weight.grad is not none", True),
        ("prediction is none", True),
        ("norm([3, 4])", 5),
        ("norm([3, 4], p=1)", 7),
        ("norm(-3)", 3),
        ("norm(half)", 600),
        ("max(2.weight)", 11),
        ("max(2.weight, dim=0)", [8, 9, 10, 11]),
        ("min(2.weight)", 0),
        ("sum(2.weight)", 66),
        ("mean(mask)", 0.5),
        ("abs(-2)", 2),
        ("sqrt(4)", 2),
        ("log(exp(1))", 1),
        ("argmax(2.weight)", 11),
        ("argmax(2.weight, dim=1)", [3, 3, 3]),
        ("isnan(2.bias)", [False, True, False]),
        ("any(isnan(2.bias))", True),
        ("all(isfinite(2.weight))", True),
        ("isinf(inf)", True),
        ("shape(2.weight)", [3, 4]),
        ("shape(2.weight)[1]", 4),
        ('dtype(2.weight) == "float32"', True),
        ("numel(2.weight)", 12),
        ("close(1, 1.000001)", True),
        ("close(1, 1.1)", False),
        ("close(1, 1.1, rtol=0.2)", True),
        ("close(2.weight[0, 1:3], [1, 2.5])", [True, False]),
    ],
)
def test_values(text: str, expected: object) -> None:
    assert plain(text) == expected


def test_std_is_of_a_sample_and_nan_of_one() -> None:
    assert plain("std([1, 2, 3])") == 1
    assert math.isnan(plain("std(3)"))  # type: ignore[arg-type]


def test_a_left_side_that_decides_leaves_the_right_alone() -> None:
    assert value("2.bias.grad is not none and norm(2.bias.grad) > 0") is False


@pytest.mark.parametrize(
    ("text", "title", "subject", "says"),
    [
        ("2.wieght", "there is no `2.wieght`", "2.wieght", "Did you mean `2.weight`"),
        ("2.wieght.grad", "there is no `2.wieght.grad`", "2.wieght.grad", "Did you mean `2.weight.grad`"),
        ("nrom(loss)", "there is no function `nrom`", "nrom", "Did you mean `norm`?"),
        ("2.weight.gard", "`2.weight` has no `.gard`", "2.weight.gard", "Did you mean `grad`?"),
        ("2.weight.data", "`2.weight` has no `.data`", "2.weight.data", ""),
        ("pair.__class__", "`pair` has no `.__class__`", "pair.__class__", "It has image, label."),
        ("batch.input", "`batch` has no `.input`", "batch.input", "Did you mean `input_ids`?"),
        ("2.bias.grad[0]", "`2.bias.grad` is none", "2.bias.grad", "Run backward first"),
        ("2.bias.grad == 0", "`2.bias.grad` is none", "2.bias.grad", "`is none`"),
        ("norm(prediction)", "`prediction` is none", "prediction", "Run forward first."),
        ("2.bias.state.exp_avg", "`2.bias.state` is none", "2.bias.state.exp_avg", "first step"),
        ("2.weight[3]", "index 3 is out of range", "3", "(3, 4)"),
        ("2.weight[0, -5]", "index -5 is out of range", "-5", "(3, 4)"),
        ("2.weight[..., 4]", "index 4 is out of range", "4", "(3, 4)"),
        ("2.weight[4:]", "the slice begins at 4", "4:", "(3, 4)"),
        ("2.weight[..., 4:6]", "the slice begins at 4", "4:6", "Dimension 1"),
        ("2.weight[::-1]", "a slice must step forward", "::-1", "step of 1"),
        ("2.weight[0, 0, 0]", "3 indices are too many", "0", "(3, 4)"),
        ("loss[0]", "1 index is too many", "0", "a scalar"),
        ("2.weight[..., ...]", "`...` may appear only once in an index", "...", "(3, 4)"),
        ("2.weight[0.5]", "an index must be a whole number", "0.5", "a number"),
        ("2.weight[loss]", "an index must be a whole number", "loss", "a tensor"),
        ("lr[0]", "`lr` cannot be indexed", "lr", "a number"),
        ("2.weight == 2.bias", "the shapes do not match", "", "(3, 4) and (3,) do not broadcast"),
        ("2.weight + mask", "the shapes do not match", "", "(3, 4) and (2,)"),
        ("close(2.weight, 2.bias)", "the shapes do not match", "", "(3, 4) and (3,)"),
        ("norm(loss, q=2)", "`q` is not an option of `norm`", "q", "norm(x, p=2)"),
        ("norm(loss, loss)", "wrong number of arguments for `norm`", "norm", "norm(x, p=2)"),
        ("norm()", "wrong number of arguments for `norm`", "norm", "It takes 1, not 0."),
        ("close(1, 2, atol=-1)", "`atol` must be a number from 0 up", "atol", ""),
        ("max(2.weight, dim=0.5)", "`dim` must be a whole number", "dim", ""),
        ('norm("a")', "this is not a number", "", "a string"),
        ('"a" + 1', "unsupported operands for `+`", "", "a string and a number"),
        ("not loss", "`loss` is not a condition", "loss", "Compare"),
        ("any(loss)", "this is not a condition", "", "float32"),
        ("1 / 0", "division by zero", "", ""),
        ("(-8) ** 0.5", "this is not a real number", "", ""),
        ("9 ** 9 ** 9", "`9 ** 9 ** 9` cannot be computed", "", "OverflowError"),
        ("2.weight @ 2.weight", "`2.weight @ 2.weight` cannot be computed", "", "RuntimeError: mat1 and mat2"),
        ("max(2.weight[1:1])", "this has no largest element", "", "has no elements"),
    ],
)
def test_what_is_wrong_is_told(text: str, title: str, subject: str, says: str) -> None:
    found = problem(text)
    assert (found.title, found.subject) == (title, subject)
    assert says in f"{found.what} {found.remedy}"


def test_depth_is_bounded() -> None:
    deep: Expression = Number(1)
    for _ in range(5_000):
        deep = Unary("-", deep)
    with pytest.raises(GradstepError, match="nested too deeply"):
        evaluate(deep, SCOPE)


def test_a_name_is_the_live_tensor_and_computing_keeps_no_graph() -> None:
    assert value("2.weight") is SCOPE.weight
    made = value("2.weight * 2")
    assert isinstance(made, Tensor)
    assert not made.requires_grad


def test_holds_is_about_every_element() -> None:
    assert holds(value("2.weight >= 0"))
    assert not holds(value("2.weight > 0"))
    assert not holds(value("2.bias == 2.bias"))
    for text in ("2.weight", "1", "prediction", "2.weight[1:1] == 0"):
        with pytest.raises(GradstepError):
            holds(value(text))


@pytest.mark.parametrize(
    ("text", "path", "items", "there"),
    [
        ("2.weight[0, 0:2]", "2.weight", (0, slice(0, 2, None)), True),
        ("2.weight", "2.weight", (), True),
        ("2.weight.grad[..., 1]", "2.weight.grad", (..., 1), True),
        ("2.weight[0].grad", "2.weight.grad", (0,), True),
        ("2.bias.grad[2]", "2.bias.grad", (2,), False),
        ("`de-en`.weight[0]", "de-en.weight", (0,), True),
        ("prediction", "prediction", (), False),
        ("2.weight.state.exp_avg[0]", "2.weight.state.exp_avg", (0,), True),
    ],
)
def test_selections(text: str, path: str, items: tuple[object, ...], there: bool) -> None:
    found = split_selection(expression(text), SCOPE)
    assert (found.path, found.items, found.tensor is not None) == (path, items, there)


@pytest.mark.parametrize(
    "text", ["loss + 1", "iteration", "batch", "2.weight.state", "2.weight.state.exp_avg.grad", "2.bias.grad[3]"]
)
def test_what_cannot_be_shown(text: str) -> None:
    with pytest.raises(GradstepError):
        split_selection(expression(text), SCOPE)


@pytest.mark.parametrize(
    ("text", "expected", "actual", "difference"),
    [
        ("loss == 2", "== 2", "2.5", "0.5"),
        ("loss < 2", "< 2", "2.5", "0.5"),
        ("2.weight[0] == [0, 1, 2, 4]", "== [0, 1, 2, 4]", "[ 0.0000,  1.0000,  2.0000,  3.0000]", None),
        ("2.bias.grad is not none", "not none", "none", ""),
        ("any(2.weight > 11)", "true", "false", ""),
        ("isnan(loss)", "true", "false, where loss is 2.5", ""),
        ("loss > 0 and lr == 1", "== 1", "0.001", "0.999"),
        ("loss < 0 and lr == 1", "< 0", "2.5", "2.5"),
        ('dtype(loss) == "int64"', '== "int64"', '"float32"', ""),
        ("shape(2.weight) == [3, 5]", "== [3, 5]", "[3, 4]", ""),
        ("shape(2.weight) == [12]", "== [12]", "[3, 4]", ""),
    ],
)
def test_failures_are_explained(text: str, expected: str, actual: str, difference: str | None) -> None:
    found = explain_failure(expression(text), SCOPE)
    assert found[:2] == (expected, actual)
    assert difference is None or found[2] == difference


def test_the_greatest_difference_has_a_place_and_nan_are_counted() -> None:
    _, _, text = explain_failure(expression("2.weight == 2.weight[0]"), SCOPE)
    assert text == "8 of 12 elements differ; largest difference 8 at [2, 0]: 8 against 0"
    _, _, text = explain_failure(expression("2.bias == [1, 2, 3.5]"), SCOPE)
    assert text == (
        "2 of 3 elements differ; 1 NaN, which is not equal to anything; largest difference 0.5 at [2]: 3 against 3.5"
    )
    _, _, text = explain_failure(expression("2.weight > 1"), SCOPE)
    assert text == "2 of 12 elements do not hold; furthest off by 1 at [0, 0]: 0 against 1"


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (torch.tensor(0.1), "0.1"),
        (torch.tensor(3), "3"),
        (torch.tensor([True, False]), "[ true,  false]"),
        (torch.tensor([1.5, -22.25, math.nan]), "[ 1.500, -22.250,  nan]"),
        (torch.zeros(0, 3), "an empty tensor of shape (0, 3)"),
        (torch.empty(2, device="meta"), "a meta tensor of shape (2,), float32"),
        (torch.tensor([[1.0, -200.0], [0.5, 3.0]]), "2 × 2 float32\n  [1.0000, -200.00]\n  [0.5000,    3.00]"),
        (None, "none"),
        (True, "true"),
        (0.1, "0.1"),
        ([1, 2], "[1, 2]"),
        ("a", '"a"'),
    ],
)
def test_descriptions(tensor: object, text: str) -> None:
    assert describe(tensor) == text


@given(
    st.lists(st.integers(0, 12), max_size=4),
    st.sampled_from(
        [torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2, torch.int8, torch.bool, torch.complex64]
    ),
)
def test_any_tensor_has_a_short_description(shape: list[int], dtype: torch.dtype) -> None:
    text = describe(torch.zeros(shape, dtype=dtype))
    assert len(text) < 1_000
    assert text.count("\n") <= 8


def test_every_function_says_what_it_gives() -> None:
    assert all(f.usage.startswith(f"{name}(") and f.help for name, f in FUNCTIONS.items())
