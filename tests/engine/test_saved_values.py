"""What a node keeps is read by name, and no unpack hook is run for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from gradstep.engine.autograd.buffers import SavedMemory, saved_memory, state_of
from gradstep.engine.autograd.derivatives import rerun
from gradstep.engine.autograd.derivatives.find import rule_of
from gradstep.engine.autograd.saved_values import SavedValue, has_hooks, saved_values, settings
from gradstep.views.graph.operations import operation_of
from gradstep.views.training import zeros


def kept(node: Any) -> dict[str, SavedValue]:
    return {value.name: value for value in saved_values(node)}


def test_saved_tensors_are_the_tensors_themselves() -> None:
    x, w = torch.randn(2, 3, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    values = kept((x @ w).grad_fn)
    assert {name: value.state for name, value in values.items()} == {"self": "alive", "mat2": "alive"}
    seen = values["mat2"].tensor
    assert seen is not None
    assert seen.data_ptr() == w.data_ptr()
    assert (values["mat2"].version_then, values["mat2"].version_now) == (0, 0)


def test_an_optional_one_that_is_none_is_left_out_and_a_list_is_numbered() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    assert list(kept((x * torch.ones(5)).grad_fn)) == ["other"]
    assert list(kept(x[torch.tensor([0, 1]), torch.tensor([2, 3])].grad_fn)) == ["indices[0]", "indices[1]"]


def test_what_is_no_tensor_is_a_setting() -> None:
    x = torch.randn(4, 5, requires_grad=True)
    assert settings((x**3).grad_fn) == {"exponent": 3}  # type: ignore[arg-type]
    assert settings(x.softmax(1).grad_fn) == {"dim": 1}  # type: ignore[arg-type]


def test_freed_ones_are_named() -> None:
    y = torch.randn(3, requires_grad=True).exp()
    y.sum().backward()
    assert kept(y.grad_fn) == {"result": SavedValue("result", "freed")}


def test_a_write_since_is_told_with_both_versions_and_what_is_there_now() -> None:
    h = torch.ones(3, requires_grad=True) * 1
    node = h.exp().mul(h).grad_fn
    with torch.no_grad():
        h.add_(1)
        h.add_(1)
    value = kept(node)["other"]
    assert (value.state, value.version_then, value.version_now) == ("written", 0, 2)
    assert value.tensor is not None
    assert value.tensor.tolist() == [3, 3, 3]


def test_packed_ones_are_not_unpacked() -> None:
    unpacked = []

    def unpack(packed: Tensor) -> Tensor:
        unpacked.append(packed)
        return packed

    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        node: Any = torch.randn(3, requires_grad=True).exp().grad_fn
    assert kept(node) == {"result": SavedValue("result", "hooked")}
    assert has_hooks(node)
    assert not unpacked


def test_a_checkpoint_is_not_run_for_what_its_nodes_keep() -> None:
    ran = []

    def part(x: Tensor) -> Tensor:
        ran.append(1)
        return x.tanh()

    node: Any = checkpoint(part, torch.randn(3, requires_grad=True), use_reentrant=False).grad_fn
    assert kept(node)["result"].state == "hooked"
    assert len(ran) == 1


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return v * 2 + 0 * x


def test_a_custom_function_keeps_what_it_saved_until_it_is_freed() -> None:
    x = torch.randn(3, requires_grad=True)
    y: Any = Doubled.apply(x)
    value = kept(y.grad_fn)["saved_tensors[0]"]
    assert value.state == "alive"
    assert value.tensor is not None
    assert value.tensor.data_ptr() == x.data_ptr()
    y.sum().backward()
    assert kept(y.grad_fn) == {"saved_tensors": SavedValue("saved_tensors", "freed")}
    assert not has_hooks(y.grad_fn)


def test_nodes_that_keep_nothing_say_nothing() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert saved_values(x.t().grad_fn) == ()  # type: ignore[arg-type]
    assert saved_values((x * 2).grad_fn.next_functions[0][0]) == ()  # type: ignore[union-attr, arg-type]


def test_no_reader_of_a_node_runs_an_unpack_hook() -> None:
    """Whoever asks what a node keeps: its state and storages, its words, its derivative, the zeros of a ReLU."""
    unpacked = []

    def unpack(packed: Tensor) -> Tensor:
        unpacked.append(packed)
        return packed

    x, some = torch.rand(4, 5, requires_grad=True), torch.tensor([0, 1])
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, unpack):
        nodes: list[Any] = [made.grad_fn for made in (x**2, x**x, x.relu(), x[some, some], Doubled.apply(x))]
    for node in nodes:
        assert saved_memory(node) == SavedMemory("packed")
        assert state_of(node) == "packed"
        assert has_hooks(node)
        assert {value.state for value in saved_values(node)} == {"hooked"}
        assert operation_of(node)
        rule_of(node)
        assert zeros._result(node) is None
    with pytest.raises(KeyError):
        rerun.SavedContext(nodes[3], 0, 0).listed("indices")
    assert not unpacked
