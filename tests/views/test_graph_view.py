"""The Graph view: source lines, states of `.grad`, and what the nodes keep."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.checkpoint import checkpoint

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.autograd.saved_values import saved_names
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Forward, Load, Step, ZeroGrad
from gradstep.values.commands.stepping import Into, Out, Over
from gradstep.values.commands.time_travel import Undo
from gradstep.values.views import LookDigest
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow
from gradstep.values.views.node import LookNode
from gradstep.views.graph import memory
from gradstep.views.graph.operations import operation_of
from gradstep.views.graph.view import GraphViewer
from gradstep.views.node import view as node_view
from gradstep.views.node.chain import Paths
from gradstep.workload import Workload


def workload(model: nn.Module) -> Workload:
    return Workload(
        model=model,
        loss=nn.functional.mse_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=[(torch.randn(3, 4), torch.randn(3, 4))],
    )


def view_of(session: Session, **more: object) -> GraphView:
    (view,) = session.look(LookGraph(count=10_000, **more))  # type: ignore[arg-type]
    assert isinstance(view, GraphView)
    return view


def rows_of(session: Session, **more: object) -> dict[str, NodeRow]:
    return {row.operation: row for row in view_of(session, **more).rows}


def loaded(name: str) -> Session:
    session = Session()
    assert session.execute(Load(name, seed=0, device="cpu")).ok
    session.look(LookGraph())
    return session


def test_each_row_says_the_line_that_made_it() -> None:
    session = loaded("cnn")
    session.execute(Forward())
    rows = rows_of(session)
    assert rows["relu"].source.startswith("features = functional.relu(")
    assert rows["max pool"].source == "pooled = functional.max_pool2d(features, 2)"
    assert Path(rows["relu"].file).name == "cnn.py"
    lines = Path(rows["relu"].file).read_text().split("\n")
    assert lines[rows["relu"].line - 1].strip() == rows["relu"].source
    assert rows["head.weight.grad"].line == 0
    (group,) = [row for row in view_of(session, level=0).rows if row.group == "head"]
    assert "self.head(" in group.source


def test_without_code_of_the_users_the_row_says_what_gradstep_called() -> None:
    session = loaded("mlp")
    session.execute(Forward())
    rows = rows_of(session)
    assert (rows["relu"].file, rows["relu"].line, rows["relu"].source) == ("", 0, "prediction = model(x)")
    assert rows["sum"].source == "return (ideal_output - prediction).pow(2).sum()"
    rows = rows_of(session_with(nn.Linear(4, 4)))
    assert rows["mean (a − b)²"].source == "loss = loss_fn(prediction, target)"


def session_with(model: nn.Module) -> Session:
    session = Session(workload(model))
    session.look(LookGraph())
    assert session.execute(Forward()).ok
    return session


@pytest.mark.parametrize(("quick", "noted"), [(0.0, False), (60.0, True)])
def test_of_a_slow_forward_lines_are_noted_only_while_somebody_looks(
    monkeypatch: pytest.MonkeyPatch, quick: float, noted: bool
) -> None:
    monkeypatch.setattr("gradstep.engine.phases.QUICK", quick)
    session = Session()
    session.execute(Load("cnn", seed=0, device="cpu"))
    session.execute(Forward())
    assert not view_of(session).lined
    assert all(row.line == 0 and not row.source for row in view_of(session).rows)
    session.execute(Forward())
    assert view_of(session).lined
    session.look()  # the first look at a stop says what is on screen
    session.execute(ZeroGrad())
    session.look()
    session.execute(Forward())
    assert view_of(session).lined is noted


def test_leaves_show_the_state_of_grad_as_the_model_does() -> None:
    session = loaded("mlp")
    session.execute(Forward())
    states = []
    for act in (ZeroGrad(set_to_none=False), Backward(), Step(), Forward(), Backward()):
        assert session.execute(act).ok
        states.append(rows_of(session)["2.weight.grad"].grad)
    assert states == ["none", "fresh", "stale", "stale", "x2, 1 used"]
    (group,) = [row for row in view_of(session, level=0).rows if row.group == "2"]
    assert group.grad == "x2, 1 used"


def test_bytes_are_those_of_the_activations_each_storage_once() -> None:
    session = loaded("mlp")
    session.execute(Forward())
    rows = rows_of(session, sizes=True)
    # float32: what pow saved, the two inputs of the linears; the weights are not the graph's own
    assert (rows["x ** 2"].bytes, rows["relu"].bytes) == (16 * 10 * 4, 16 * 256 * 4)
    assert sorted(row.bytes for row in view_of(session, sizes=True).rows if row.name == "AddmmBackward0") == [
        16 * 256 * 4,
        16 * 784 * 4,
    ]
    # the output of relu is the input of the second linear: one storage, two rows
    assert view_of(session, sizes=True).bytes == (16 * 10 + 16 * 256 + 16 * 784) * 4
    assert view_of(session).bytes is None
    assert {row.bytes for row in view_of(session).rows} == {None}
    session.execute(Backward())
    assert view_of(session, sizes=True).bytes == 0
    assert {row.saved for row in view_of(session).rows} == {"", "freed"}


@pytest.mark.parametrize("name", ["mlp", "rnn", "gpt"])
def test_from_node_to_node_the_bytes_are_those_that_are_there(name: str) -> None:
    session = loaded(name)
    session.execute(Forward())
    looks = session._inspector
    assert looks is not None
    found = set()
    for command in [Into("backward"), *[Over()] * 6, Undo(1), Undo(1), *[Into("")] * 4, Out(True)]:
        assert session.execute(command).ok
        view = view_of(session, sizes=True)
        kept, looks._graphs = looks._graphs, GraphViewer(looks.held)  # knows nothing of the stops before
        assert view == view_of(session, sizes=True)
        looks._graphs = kept
        found.add(view.bytes)
    assert len(found) > 2


def test_from_node_to_node_only_those_that_have_run_are_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    session, reads = loaded("gpt"), list[Node]()
    assert session.execute(Forward()).ok
    read = memory.saved_memory
    monkeypatch.setattr(memory, "saved_memory", lambda node: reads.append(node) or read(node))
    assert session.execute(Into("backward")).ok
    nodes = view_of(session, sizes=True).nodes
    assert len(reads) == nodes
    for _ in range(10):
        reads.clear()
        assert session.execute(Over()).ok
        view_of(session, sizes=True)
        assert len([node for node in reads if saved_names(type(node))]) <= 3


def test_another_look_at_a_stop_keeps_what_was_found_once_for_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[GraphRecord]()

    class Counted(Paths):
        def __init__(self, record: GraphRecord) -> None:
            super().__init__(record)
            found.append(record)

    monkeypatch.setattr(node_view, "Paths", Counted)
    session = loaded("mlp")
    for command in (Forward(), Into("backward"), Over(), Over()):
        assert session.execute(command).ok
        session.look(LookGraph())
        session.look(LookNode())
        session.look(LookDigest())
    assert len(found) == 1


def test_a_retained_graph_is_alive_and_one_that_a_step_wrote_into_says_so() -> None:
    session = loaded("mlp")
    session.execute(Forward())
    session.execute(Backward(retain_graph=True))
    assert rows_of(session)["relu"].saved == "alive"
    assert all(row.done for row in view_of(session).rows)
    session.execute(Step())
    saved = {row.operation: row.saved for row in view_of(session).rows}
    assert saved["b + x Wᵀ"] in ("written", "alive")
    assert "written" in {row.saved for row in view_of(session).rows}


class Saving(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.block, self.reentrant, self.runs = nn.Linear(4, 4), reentrant, 0

    def forward(self, x: Tensor) -> Tensor:
        def inner(x: Tensor) -> Tensor:
            self.runs += 1
            return self.block(x).tanh()

        return checkpoint(inner, x * self.block.bias, use_reentrant=self.reentrant)


def test_what_a_checkpoint_keeps_is_not_unpacked() -> None:
    model = Saving(reentrant=False)
    session = session_with(model)
    view = view_of(session, sizes=True)
    packed = [row.operation for row in view.rows if row.saved == "packed"]
    assert packed == ["tanh", "b + x Wᵀ"]
    assert (view.packed, model.runs) == (2, 1)
    assert session.execute(Backward()).ok
    assert model.runs == 2


def test_nodes_that_python_made_have_honest_words() -> None:
    rows = view_of(session_with(Saving(reentrant=True))).rows
    assert "checkpoint: runs its forward again" in {row.operation for row in rows}

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return 2 * x

        @staticmethod
        def backward(ctx: object, grad: Tensor) -> Tensor:
            return 2 * grad

    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x).clone()
            y[0] = 0.0
            return Twice.apply(y) @ self.weight

    words = {row.operation for row in view_of(session_with(Own(4, 4))).rows}
    assert {"Twice, a custom Function", "in-place write to a view", "a @ b", "b + x Wᵀ"} <= words


def test_addmm_without_a_transposed_weight_says_so() -> None:
    a, b = torch.randn(3, 3, requires_grad=True), torch.randn(3, requires_grad=True)
    plain, linear = torch.addmm(b, a, a).grad_fn, nn.functional.linear(a, a, b).grad_fn
    assert plain is not None
    assert linear is not None
    assert (operation_of(plain), operation_of(linear)) == ("b + x W", "b + x Wᵀ")


def test_a_leaf_that_is_no_parameter_has_no_state() -> None:
    outside = torch.randn(4, requires_grad=True)

    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * outside

    (row,) = [row for row in view_of(session_with(Own(4, 4))).rows if row.operation == "a leaf.grad"]
    assert (row.parameter, row.module) == ("", "loss")
