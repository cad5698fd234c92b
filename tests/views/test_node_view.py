"""The view of a node: what arrives, J, what leaves, what was saved, and the chain from the loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from msgspec import msgpack
from running import runner_of
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.reads import read
from gradstep.values.commands import Forward
from gradstep.values.views.node import LookChain, LookNode, NodeView
from gradstep.views.node.view import NodeViewer
from gradstep.workload import Workload


def held_of(model: nn.Module, x: Tensor, loss: Callable[[nn.Module, Any], Tensor] | None = None) -> Held:
    made = Held(
        Workload(
            model=model,
            compute_loss=loss or (lambda model, batch: model(batch).pow(2).sum()),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[x],
        ),
        torch.device("cpu"),
    )
    runner_of(made).run(Forward())
    return made


def small() -> Held:
    torch.manual_seed(0)
    return held_of(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), torch.randn(5, 4))


def seen(held: Held, after: bool = False, **request: Any) -> dict[str, NodeView]:
    """Run the backward; return the view of each node, as it was before or after it ran, by name and number."""
    record = held.graph()
    assert record is not None
    look, views, arrived = NodeViewer(held), {}, {}

    def take(number: int, given: Any, left: Any = None) -> None:
        with torch.no_grad():
            view = read(look.view(7, LookNode(**request), record, number, given, left))
        views[f"{view.name} {number}"] = view

    handles = []
    for number, node in enumerate(record.nodes):
        if after:
            handles.append(node.register_prehook(lambda given, i=number: arrived.__setitem__(i, given)))
            handles.append(node.register_hook(lambda left, _, i=number: take(i, arrived[i], left)))
        else:
            handles.append(node.register_prehook(lambda given, i=number: take(i, given)))
    assert held.point.loss is not None
    held.point.loss.backward()  # type: ignore[no-untyped-call]
    for handle in handles:
        handle.remove()
    return views


def test_a_linear_layer_names_its_inputs_and_where_j_t_v_goes() -> None:
    view = seen(small())["AddmmBackward0 2"]
    assert (view.operation, view.module, view.when, view.exact) == ("b + x Wᵀ", "2 Linear", "before", False)
    assert view.forward == "y = b + x Wᵀ"
    b, x, w = view.edges
    assert (b.symbol, b.formula, b.operation, b.parameter, b.summed) == ("b", "v", "2.bias.grad", "2.bias", (0,))
    assert (x.symbol, x.formula, x.name) == ("x", "v W", "ReluBackward0")
    assert (w.symbol, w.formula, w.name, w.shape) == ("Wᵀ", "xᵀ v", "TBackward0", (3, 2))
    assert view.seen == 1
    assert x.leaves is not None
    assert view.arrives[0] is not None
    assert x.ratio == pytest.approx((x.leaves.norm or 0) / (view.arrives[0].norm or 1))


def test_the_windows_are_of_v_and_of_j_t_v() -> None:
    held = small()
    view = seen(held, rows=2, columns=2, top=1, left=1)["ReluBackward0 6"]
    flow, edge, saved = view.arrives[0], view.edges[0], view.saved[0]
    assert flow is not None
    assert edge.leaves is not None
    assert (saved.name, saved.symbol, saved.shape, saved.bytes, saved.state) == ("result", "y", (5, 3), 60, "alive")
    passed = [
        [v if y > 0 else 0 for v, y in zip(*rows, strict=True)] for rows in zip(flow.window, saved.window, strict=True)
    ]
    assert [list(row) for row in edge.leaves.window] == passed
    matrix = view.matrix
    assert matrix is not None
    assert (matrix.rows, matrix.columns, matrix.structure, matrix.top, matrix.left) == (15, 15, "diagonal", 4, 4)
    assert matrix.window[0][1] == 0
    assert (matrix.window[0][0], matrix.window[1][1]) == (float(saved.window[0][0] > 0), float(saved.window[0][1] > 0))


def test_after_the_node_it_is_what_the_engine_passed_on() -> None:
    before, after = seen(small()), seen(small(), after=True)
    assert list(before) == list(after)
    for name, view in after.items():
        assert (view.when, view.exact) == ("after", True)
        foreseen = before[name]
        assert [edge.leaves for edge in view.edges] == [edge.leaves for edge in foreseen.edges]
        assert view.matrix == foreseen.matrix


def test_a_leaf_adds_to_the_grad_of_its_parameter() -> None:
    view = seen(small())["AccumulateGrad 3"]
    assert (view.leaf, view.edges, view.matrix, view.note) == ("2.bias", (), None, "")
    assert view.words == "v is added to 2.bias.grad: backward ends here"


def test_a_saved_weight_is_named_as_the_parameter_that_it_is() -> None:
    view = seen(small())["AddmmBackward0 2"]
    assert {row.name: row.owner for row in view.saved} == {"mat1": "", "mat2": "2.weight"}
    assert dict(view.settings) == {"alpha": "1", "beta": "1"}


def test_without_v_there_is_j_still_and_a_word_on_what_to_do() -> None:
    held = small()
    record = held.graph()
    assert record is not None
    view = read(NodeViewer(held).view(1, LookNode(), record, 6))
    assert view.arrives == ()
    assert view.matrix is not None
    assert view.matrix.structure == "diagonal"
    assert view.note == "v is shown when backward is stepped to this node"
    assert read(NodeViewer(held).view(1, LookNode(), record, 99)).note == "the graph has no node #99"


def test_j_is_compared_with_finite_differences_when_asked() -> None:
    views = seen(small(), check=True)
    checked = {name: view.matrix.agrees for name, view in views.items() if view.matrix is not None}
    assert set(checked.values()) == {True}
    matrix = views["PowBackward0 1"].matrix
    assert matrix is not None
    assert matrix.check.startswith("J agrees with finite differences: all 100 elements of J, relative error ")


def test_j_is_not_shown_of_a_weight_that_was_written_unseen() -> None:
    held = small()
    record = held.graph()
    assert record is not None
    look, views, passed = NodeViewer(held), [], {}
    node = record.nodes[2]
    node.register_prehook(lambda given: passed.setdefault("given", given))
    node.register_hook(lambda left, _: passed.setdefault("left", left))
    assert held.point.loss is not None
    held.point.loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    for _ in range(2):
        with torch.no_grad():
            views.append(read(look.view(len(views), LookNode(), record, 2, passed["given"], passed["left"])))
        held.model.get_parameter("2.weight").data.mul_(2)  # torch does not count this write
    was, now = views[0].matrix, views[1].matrix
    assert was is not None
    assert now is not None
    assert was.window
    assert (now.window, now.note) == ((), "a saved tensor was modified since it ran: J would be different")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Tensor:
        return v * 2


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = Doubled.apply(self.weight * x)  # type: ignore[no-untyped-call]
        return made


def test_a_custom_function_is_run_once_more_only_when_asked() -> None:
    held = held_of(Custom(), torch.ones(3))
    view = seen(held)["DoubledBackward 2"]
    assert view.edges[0].leaves is None
    assert view.note == "a custom Function: its backward runs again only on request"
    assert view.matrix is not None
    assert view.matrix.note == view.note
    held = held_of(Custom(), torch.ones(3))
    view = seen(held, run=True)["DoubledBackward 2"]
    assert view.edges[0].leaves is not None
    assert view.matrix is not None
    assert view.matrix.words == "identity × 2"


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x).tanh()
        return x


def test_the_chain_is_the_shortest_way_and_counts_the_others() -> None:
    held = held_of(Residual(), torch.randn(2, 3))
    record = held.graph()
    assert record is not None
    last = max(i for i, node in enumerate(record.nodes) if node.name() == "AddBackward0")
    chain = NodeViewer(held).chain(1, LookChain(), record, last, {0: 1.0, last: 4.0}).chain
    assert [link.operation for link in chain.links] == ["sum", "x ** 2", "a + b", "a + b", "a + b", "a + b"]
    assert (chain.ways, chain.length, chain.skipped) == (8, 6, 0)
    assert [link.norm for link in chain.links] == [1.0, None, None, None, None, 4.0]
    assert [(link.symbol, link.columns) for link in chain.links[:3]] == [("x", 6), ("x", 6), ("a", 6)]
    short = NodeViewer(held).chain(1, LookChain(count=3), record, last).chain
    assert ([link.number for link in short.links], short.skipped) == (
        [chain.links[0].number, chain.links[4].number, chain.links[5].number],
        3,
    )


def test_what_meets_at_a_join_is_told_at_the_edge() -> None:
    views = seen(held_of(Residual(), torch.randn(2, 3)))
    view = next(view for view in views.values() if view.name == "AddBackward0")
    assert [(edge.symbol, edge.meets) for edge in view.edges] == [("a", 1), ("b", 0)]


def test_a_node_of_several_outputs_shows_the_ones_that_something_arrived_for() -> None:
    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.arange(6.0).reshape(2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return (self.weight * x).unbind(0)[1]

    view = next(v for v in seen(held_of(Split(), torch.ones(2, 3))).values() if v.name == "UnbindBackward0")
    assert [flow is None for flow in view.arrives] == [True, False]
    assert view.matrix is not None
    assert (view.matrix.output, view.matrix.structure) == (1, "selection")
    assert view.edges[0].leaves is not None
    assert view.edges[0].leaves.window == ((0, 0, 0), (6, 8, 10))


def test_a_row_that_costs_too_much_is_computed_when_asked() -> None:
    torch.manual_seed(0)
    big = held_of(nn.Sequential(nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 1024)), torch.randn(2, 1024))
    matrix = seen(big)["AddmmBackward0 2"].matrix
    assert matrix is not None
    assert matrix.window == ()
    assert matrix.words == "block diagonal: 2 blocks of 1,024×1,024, all the same"
    assert matrix.note == (
        "one row of J takes 1,053,696 elements of work in this node, more than 524,288: it is computed on request"
    )
    asked = seen(held_of(nn.Linear(1024, 1024), torch.randn(2, 1024).requires_grad_()), insist=True)
    matrix = asked["AddmmBackward0 2"].matrix
    assert matrix is not None
    assert len(matrix.window) == 8


def test_every_node_of_a_transformer_has_a_view_that_survives_the_wire() -> None:
    torch.manual_seed(0)
    views = seen(held_of(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 3, 8)))
    assert len(views) > 40
    for view in views.values():
        assert msgpack.decode(msgpack.encode(view), type=NodeView) == view
        assert view.words
        assert view.leaf or any(edge.leaves is not None for edge in view.edges)
