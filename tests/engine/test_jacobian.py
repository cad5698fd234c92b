"""J^T v of a node is what the engine passes on, and J is the Jacobian of its operation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_models import MODELS, nodes_of
from torch import Tensor, nn
from torch.autograd.functional import jacobian as jacobian_of
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gradstep.engine.autograd.jacobian import WORK, Jacobian, Refusal, jacobian, refusal, vjp


def bits(tensor: Tensor | None) -> tuple[Any, ...] | None:
    if tensor is None:
        return None
    plain = tensor.detach().resolve_conj().resolve_neg()
    return tensor.dtype, tuple(tensor.shape), plain.numpy().tobytes()


def walked(loss: Tensor, visit: Callable[[Any, tuple[Any, ...]], None]) -> dict[Any, tuple[Any, ...]]:
    """Run backward; visit every node before it runs; return what each passed on, as bits."""
    left: dict[Any, tuple[Any, ...]] = {}

    def before(node: Any) -> Any:
        return lambda arrived: visit(node, arrived)

    def after(node: Any) -> Any:
        def hook(passed: Any, _: Any) -> None:
            ends = zip(passed, node.next_functions, strict=True)
            left[node] = tuple(bits(value) if following is not None else None for value, (following, _) in ends)

        return hook

    nodes = nodes_of(loss)
    handles = [node.register_prehook(before(node)) for node in nodes]
    handles += [node.register_hook(after(node)) for node in nodes if node.next_functions]
    loss.backward()
    for handle in handles:
        handle.remove()
    return left


@pytest.mark.parametrize("name", MODELS)
def test_j_t_v_is_what_the_engine_passes_on_to_the_last_bit(name: str) -> None:
    torch.manual_seed(0)
    loss = MODELS[name]()
    made: dict[Any, Any] = {}

    def visit(node: Any, arrived: tuple[Any, ...]) -> None:
        found = vjp(node, arrived)
        made[node] = found.kind if isinstance(found, Refusal) else tuple(map(bits, found))

    left = walked(loss, visit)
    assert {node: made[node] for node in left} == left
    assert sum(map(len, left.values())) >= 5
    leaves = [made[node] for node in made if node not in left]
    assert set(leaves) == {"leaf"}


@pytest.mark.parametrize("name", ["cnn", "in_place", "dense", "gpt2"])
def test_looking_at_every_node_leaves_the_gradients_and_the_generator_as_they_are(name: str) -> None:
    def gradients(visit: Callable[[Any, tuple[Any, ...]], None]) -> list[Any]:
        torch.manual_seed(0)
        loss = MODELS[name]()
        leaves = [node.variable for node in nodes_of(loss) if hasattr(node, "variable")]
        walked(loss, visit)
        return [bits(leaf.grad) for leaf in leaves] + [torch.rand(1).item()]

    def look(node: Any, arrived: tuple[Any, ...]) -> None:
        vjp(node, arrived)
        for edge in range(len(node.next_functions)):
            j = jacobian(node, edge)
            if isinstance(j, Jacobian):
                j.rows(0, j.rows_that_fit(1))

    assert gradients(look) == gradients(lambda node, arrived: None)


class Scaled(torch.autograd.Function):
    """Takes a number between its tensors, and draws in its backward."""

    ran = 0

    @staticmethod
    def forward(ctx: Any, a: Tensor, factor: float, b: Tensor, c: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        ctx.factor = factor
        return a * factor + b + c

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Any:
        Scaled.ran += 1
        torch.rand(1)
        return v * ctx.factor, None, None, v * 3


def test_a_custom_function_is_run_only_when_asked_and_its_draws_are_put_back() -> None:
    a, b, c = torch.ones(2, requires_grad=True), torch.ones(2), torch.ones(2, requires_grad=True)
    node: Any = Scaled.apply(a, 2.0, b, c).grad_fn
    Scaled.ran = 0
    refused = vjp(node, torch.ones(2))
    assert isinstance(refused, Refusal)
    assert refused.kind == "custom"
    assert Scaled.ran == 0
    state = torch.get_rng_state()
    made = vjp(node, torch.ones(2), asked=True)
    assert isinstance(made, tuple)
    assert [None if m is None else m.tolist() for m in made] == [[2, 2], None, [3, 3]]
    assert torch.equal(torch.get_rng_state(), state)
    j = jacobian(node, 0, asked=True)
    assert isinstance(j, Jacobian)
    assert j.whole().tolist() == [[2, 0], [0, 2]]


def test_a_freed_node_says_so_and_one_that_saved_nothing_can_be_run_still() -> None:
    x = torch.ones(3, requires_grad=True)
    loss = x.tanh().sum()
    total: Any = loss.grad_fn
    tanh = total.next_functions[0][0]
    loss.backward()
    refused = vjp(tanh, torch.ones(3))
    assert isinstance(refused, Refusal)
    assert refused.kind == "freed"
    assert refused.why == "backward freed its saved tensors when it ran"
    made = vjp(total, torch.tensor(2.0))
    assert isinstance(made, tuple)
    assert made[0] is not None
    assert made[0].tolist() == [2, 2, 2]


def test_a_node_whose_saved_tensor_was_written_says_so() -> None:
    x = torch.ones(3, requires_grad=True)
    h = x * 2
    node: Any = h.exp().mul(h).grad_fn
    with torch.no_grad():
        h.add_(1)
    refused = refusal(node)
    assert refused is not None
    assert refused.kind == "written"


@pytest.mark.parametrize("write", [False, True])
def test_a_checkpoint_is_never_unpacked(write: bool) -> None:
    ran = []
    layer = nn.Linear(4, 4)

    def part(x: Tensor) -> Tensor:
        ran.append(1)
        h = layer(x).tanh()
        if write:
            h = h * 1
            h[0] = h[1].exp()
            h[1].tanh_()
        return h

    x = torch.randn(2, 4, requires_grad=True)
    loss = checkpoint(part, x, use_reentrant=False).sum()
    kinds = []

    def visit(node: Any, arrived: tuple[Any, ...]) -> None:
        before = len(ran)
        found = vjp(node, arrived, asked=True)
        kinds.append(found.kind if isinstance(found, Refusal) else "")
        for edge in range(len(node.next_functions)):
            j = jacobian(node, edge)
            if isinstance(j, Jacobian) and "CopySlices" not in node.name():
                j.rows(0, 1)
        assert len(ran) == before

    walked(loss, visit)
    assert kinds.count("hooked") >= (4 if write else 2)
    assert len(ran) == 2
    seen = x.grad
    x.grad = None
    part(x).sum().backward()
    assert bits(seen) == bits(x.grad)


def test_the_checkpoint_of_old_is_not_run_even_when_asked() -> None:
    x = torch.randn(2, 4, requires_grad=True)
    node: Any = checkpoint(torch.tanh, x, use_reentrant=True).grad_fn
    refused = vjp(node, torch.ones(2, 4), asked=True)
    assert isinstance(refused, Refusal)
    assert refused.kind == "checkpoint"


def test_a_write_into_a_view_is_not_run_while_someone_measures() -> None:
    x = torch.randn(2, 4, requires_grad=True) * 1
    x[0] = 0
    node: Any = x.grad_fn
    assert isinstance(vjp(node, torch.ones(2, 4)), tuple)
    assert sys.getprofile() is None

    def measure(*_: object) -> None:
        return None

    sys.setprofile(measure)
    try:
        assert isinstance(vjp(node, torch.ones(2, 4)), Refusal)
        assert sys.getprofile() is measure
    finally:
        sys.setprofile(None)


@pytest.mark.skipif(not hasattr(torch.Tensor, "grad_dtype"), reason="this torch has no grad_dtype")
def test_a_leaf_may_want_its_gradient_in_another_dtype() -> None:
    x = torch.randn(3, dtype=torch.half, requires_grad=True)
    x.grad_dtype = torch.float32
    made: dict[Any, Any] = {}

    def visit(node: Any, arrived: tuple[Any, ...]) -> None:
        found = vjp(node, arrived)
        made[node] = () if isinstance(found, Refusal) else tuple(map(bits, found))

    loss = (x * 3).sum()
    left = walked(loss, visit)
    assert {node: made[node] for node in left} == left
    assert left[loss.grad_fn.next_functions[0][0]][0][0] == torch.float32  # type: ignore[union-attr, index]


POSITIVE = torch.rand(3, 4, dtype=torch.float64) + 0.5
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "softmax": lambda x: x.softmax(1),
    "matmul": lambda x: x @ torch.arange(8, dtype=x.dtype).reshape(4, 2),
    "transpose": lambda x: x.t(),
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(),
    "layer norm": lambda x: F.layer_norm(x, (4,)),
    "convolution": lambda x: F.conv1d(x[None], torch.arange(18, dtype=x.dtype).reshape(2, 3, 3)),
    "slice": lambda x: x[1:, ::2],
    "index": lambda x: x[[0, 2, 0]],
    "cumsum": lambda x: x.cumsum(1),
    "broadcast": lambda x: x.expand(2, 3, 4),
    "power": lambda x: x**3,
    "norm": lambda x: x.norm(),
    "cross entropy": lambda x: F.nll_loss(x, torch.tensor([0, 3, 1])),
    "max": lambda x: x.max(1)[0],
    "reshape": lambda x: x.reshape(2, 6),
    "pool": lambda x: F.max_pool2d(x[None, None], 2),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_j_is_the_jacobian_of_the_operation(name: str) -> None:
    x = POSITIVE.clone().requires_grad_()
    node: Any = OPERATIONS[name](x).grad_fn
    # a view before or after the operation is a node of its own: the Jacobians of a path multiply
    whole = None
    while node.next_functions:
        j = jacobian(node, 0)
        assert isinstance(j, Jacobian)
        part = j.whole()
        assert tuple(part.shape) == j.shape
        columns = [column for column in map(j.column, range(j.shape[1])) if column is not None]
        torch.testing.assert_close(torch.stack(columns, 1), part)
        whole = part if whole is None else whole @ part
        node = node.next_functions[0][0]
    wanted = jacobian_of(OPERATIONS[name], POSITIVE)
    assert whole is not None
    torch.testing.assert_close(whole, wanted.reshape(whole.shape))


@pytest.mark.parametrize("edge", [0, 1, 2])
def test_j_of_each_input_of_a_linear_layer(edge: int) -> None:
    given = [torch.randn(*shape, dtype=torch.float64) for shape in ((5,), (4, 3), (3, 5))]
    node: Any = torch.addmm(*(g.requires_grad_() for g in given)).grad_fn
    j = jacobian(node, edge)
    assert isinstance(j, Jacobian)
    assert j.shape == (20, given[edge].numel())
    wanted = jacobian_of(lambda *inputs: torch.addmm(*inputs), tuple(given))[edge]
    torch.testing.assert_close(j.whole(), wanted.reshape(j.shape))
    assert torch.equal(j.rows(7, 3), j.whole()[7:10])


def test_j_of_one_of_several_outputs() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    node: Any = x.unbind(1)[0].grad_fn
    j = jacobian(node, 0, output=2)
    assert isinstance(j, Jacobian)
    assert (j.shape, j.whole().nonzero().tolist()) == ((3, 12), [[0, 2], [1, 6], [2, 10]])


def test_j_that_is_too_large_is_looked_at_by_rows_and_columns() -> None:
    x, w = torch.randn(16, 784, requires_grad=True), torch.randn(784, 256, requires_grad=True)
    node: Any = (x @ w).grad_fn
    j = jacobian(node, 0)
    assert isinstance(j, Jacobian)
    assert j.shape == (4096, 12544)
    assert not j.fits
    assert j.rows_that_fit(16) == 16
    assert j.rows_that_fit(10**6) == WORK // (12544 + 200704 + 4096)
    torch.testing.assert_close(j.rows(257, 1)[0].reshape(16, 784)[1], w[:, 1].detach())
    column = j.column(784 + 5)
    assert column is not None
    torch.testing.assert_close(column.reshape(16, 256)[1], w[5].detach())
    assert not column.reshape(16, 256)[0].any()


def test_a_column_is_not_made_up_where_torch_has_no_way_to_it() -> None:
    given = [torch.randn(1, 2, 5, 4, requires_grad=True) for _ in range(3)]
    node: Any = F.scaled_dot_product_attention(*given).grad_fn
    j = jacobian(node, 0)
    assert isinstance(j, Jacobian)
    assert j.column(0) is None


def test_j_of_complex_numbers_and_of_what_needs_no_gradient_is_refused() -> None:
    x = torch.randn(3, requires_grad=True)
    turned: Any = (x * torch.randn(3, dtype=torch.complex64)).grad_fn
    plain: Any = (x * torch.randn(3)).grad_fn
    for node, edge, kind in ((turned, 0, "complex"), (plain, 1, "nothing")):
        refused = jacobian(node, edge)
        assert isinstance(refused, Refusal)
        assert refused.kind == kind


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
@pytest.mark.parametrize("mode", ["", "sum", "mean"])
def test_j_of_a_sparse_gradient_is_that_of_the_dense_one(mode: str) -> None:
    ids = torch.tensor([[1, 4], [4, 2]])
    weight = torch.randn(5, 3)
    kind: Any = nn.EmbeddingBag if mode else nn.Embedding
    found = []
    for sparse in (True, False):
        layer = kind(5, 3, sparse=sparse, _weight=weight, **({"mode": mode} if mode else {}))
        node = layer(ids).grad_fn
        assert node is not None
        made = jacobian(node, 0)
        assert isinstance(made, Jacobian)
        found.append(made)
    v = torch.randn(found[0].out_shape)
    assert torch.equal(found[0].times(v), found[1].times(v))
    assert torch.equal(found[0].whole(), found[1].whole())
    left = vjp(found[0].node, [v, *[None] * (len(found[0].node._input_metadata) - 1)])
    assert not isinstance(left, Refusal)
    assert left[0] is not None
    assert left[0].layout is torch.sparse_coo
