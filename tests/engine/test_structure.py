"""The structure of a Jacobian is named from what it does to a few vectors, and the name is true of the whole of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import MODELS, nodes_of
from torch import Tensor
from torch.nn import functional as F

from gradstep.engine.autograd import structure
from gradstep.engine.autograd.jacobian import Jacobian, jacobian
from gradstep.engine.autograd.structure import Structure, structure_of


def wild(*shape: int) -> Tensor:
    return torch.randn(*shape, requires_grad=True)


CASES: dict[str, tuple[Callable[[], Tensor], int, str, str]] = {
    "relu": (lambda: wild(4, 5).relu(), 0, "diagonal", "diagonal"),
    "tanh": (lambda: wild(4, 5).tanh(), 0, "diagonal", "diagonal"),
    "view": (lambda: wild(4, 5).view(10, 2), 0, "identity", "identity"),
    "minus": (lambda: -wild(4, 5), 0, "scaled identity", "identity × −1"),
    "half": (lambda: wild(4, 5) / 2, 0, "scaled identity", "identity × 0.5"),
    "transpose": (lambda: wild(4, 5).t(), 0, "permutation", "a permutation: the same elements in another order"),
    "slice": (lambda: wild(4, 5)[1:3], 0, "selection", "ones and zeros: 10 of 20 inputs picked"),
    "sum": (lambda: wild(4, 5).sum(1), 0, "sums", "ones and zeros: each output is a sum of 5 inputs"),
    "bias": (
        lambda: torch.addmm(wild(5), wild(4, 3), wild(3, 5)),
        0,
        "copies",
        "ones and zeros: each input is read 4 times",
    ),
    "index": (lambda: wild(4, 5)[[0, 2, 0]], 0, "copies", "ones and zeros: each input is read 0 to 2 times"),
    "mean": (lambda: wild(4, 5).mean(), 0, "constant", "every element 0.05"),
    "input": (
        lambda: torch.addmm(wild(5), wild(4, 3), wild(3, 5)),
        1,
        "block diagonal",
        "block diagonal: 4 blocks of 5×3, all the same",
    ),
    "weight": (
        lambda: torch.addmm(wild(5), wild(4, 3), wild(3, 5)),
        2,
        "interleaved blocks",
        "5 blocks of 4×3, interleaved",
    ),
    "batched product": (
        lambda: torch.bmm(wild(2, 4, 3), wild(2, 3, 5)),
        1,
        "block diagonal",
        "block diagonal: 2 blocks of 20×15",
    ),
    "softmax": (lambda: wild(4, 5).softmax(1), 0, "block diagonal", "block diagonal: 4 blocks of 5×5"),
    "softmax of columns": (lambda: wild(4, 5).softmax(0), 0, "interleaved blocks", "5 blocks of 4×4, interleaved"),
    "running sums": (lambda: wild(5).cumsum(0), 0, "triangular", "lower triangular"),
    "loss": (lambda: F.mse_loss(wild(4), torch.randn(4)), 0, "no structure", "no zeros"),
    "loss of classes": (lambda: F.nll_loss(wild(2, 5), torch.tensor([1, 2])), 0, "no structure", "80% zeros"),
    "nothing": (lambda: wild(4, 5).relu() * 0, 0, "zero", "all zero"),
}


def found(name: str) -> tuple[Jacobian, Structure]:
    torch.manual_seed(5)
    make, edge, _, _ = CASES[name]
    node: Any = make().grad_fn
    j = jacobian(node, edge)
    assert isinstance(j, Jacobian)
    return j, structure_of(j)


@pytest.mark.parametrize("name", CASES)
def test_the_structure_has_its_name(name: str) -> None:
    _, named = found(name)
    assert (named.name, named.words) == CASES[name][2:]


@pytest.mark.parametrize("name", CASES)
def test_the_name_is_true_of_the_whole_matrix(name: str) -> None:
    j, named = found(name)
    whole = j.whole()
    ones = ((whole == 0) | (whole == 1)).all()
    shape = j.out_shape
    match named.name:
        case "identity" | "scaled identity" | "diagonal":
            assert named.diagonal is not None
            assert torch.equal(whole, torch.diag(named.diagonal))
        case "permutation":
            assert ones
            assert whole.sum(0).eq(1).all()
            assert whole.sum(1).eq(1).all()
        case "selection":
            assert ones
            assert whole.sum(0).le(1).all()
            assert whole.sum(1).eq(1).all()
        case "sums":
            assert ones
            assert whole.sum(0).eq(1).all()
        case "copies":
            assert ones
            assert whole.sum(1).eq(1).all()
        case "block diagonal":
            count = shape[0]
            blocks = whole.reshape(count, whole.shape[0] // count, count, -1)
            assert not any(blocks[a, :, b].any() for a in range(count) for b in range(count) if a != b)
            assert ("all the same" in named.words) == all(
                torch.equal(blocks[0, :, 0], blocks[a, :, a]) for a in range(count)
            )
        case "interleaved blocks":
            count = shape[-1]
            blocks = whole.reshape(whole.shape[0] // count, count, -1, count)
            assert not any(blocks[:, a, :, b].any() for a in range(count) for b in range(count) if a != b)
        case "constant":
            assert whole.unique().numel() == 1
        case "zero":
            assert not whole.any()
        case "triangular":
            assert torch.equal(whole, whole.tril())
        case _:
            assert whole.unique().numel() > 2 or not ones


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt", "gpt2", "llama", "in_place"])
def test_what_the_operation_tells_is_what_trying_finds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look() -> list[str]:
        torch.manual_seed(0)
        found = []
        for node in nodes_of(MODELS[name]()):
            for edge in range(len(node.next_functions)):
                j = jacobian(node, edge)
                if isinstance(j, Jacobian) and "CopySlices" not in node.name() and j.row_cost < 30_000:
                    found.append(f"{node.name()} {structure_of(j).words}")
        return found

    told = look()
    monkeypatch.setattr(structure, "_by_operation", lambda _: None)
    assert look() == told


def test_the_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    j = jacobian((torch.ones(4, 5, requires_grad=True) * 2).grad_fn, 0)  # type: ignore[arg-type]
    assert isinstance(j, Jacobian)
    structure_of(j)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_structure_is_found_where_j_is_far_too_large_to_be_written_down() -> None:
    node: Any = torch.randn(16, 256, requires_grad=True).relu().grad_fn
    j = jacobian(node, 0)
    assert isinstance(j, Jacobian)
    assert not j.fits
    named = structure_of(j)
    assert named.name == "diagonal"
    assert named.diagonal is not None
    assert named.diagonal.unique().tolist() == [0, 1]


def test_a_node_that_would_compute_too_much_is_not_tried_unasked() -> None:
    node: Any = torch.randn(1000, 2000, requires_grad=True).flip(0).grad_fn
    j = jacobian(node, 0)
    assert isinstance(j, Jacobian)
    assert structure_of(j).name == "not known"
    assert structure_of(j).words == "not searched for: one run computes 4,000,000 numbers"
    assert structure_of(j, insist=True).name == "permutation"
