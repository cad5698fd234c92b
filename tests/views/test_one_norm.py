"""Every panel that shows the norm of a tensor shows the same number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gradstep.engine.expressions.evaluate import evaluate
from gradstep.engine.expressions.scope import HeldScope
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import LookChanges, LookModel
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.node import LookChain, LookNode
from gradstep.values.views.tensor import LookTensor
from gradstep.values.views.training import LookLayers
from gradstep.workload import Workload


class Mixed(nn.Module):
    """Weights of every size and layout: one whose norm is taken by rows, a sparse gradient, other strides."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.large = nn.Linear(1024, 300).to(dtype)
        self.some = nn.Embedding(50, 4, sparse=True)
        self.tiles = nn.Conv2d(1, 3, 3).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        tiles = self.tiles(x.reshape(3, 1, 32, 32)).mean((1, 2, 3))[:, None]
        out: Tensor = self.large(x).sum(-1, keepdim=True) + self.some(torch.tensor([1, 2, 2])).sum() + tiles.tanh()
        return out


def shown(session: Session, name: str, grad: Tensor | None) -> Iterator[tuple[str, float | None]]:
    """Yield each number that a panel shows as the norm of a gradient, and where."""
    (model,) = session.look(LookModel())
    yield "Model", next(row.grad_norm for row in model.rows if row.kind == "parameter" and row.path == name)
    for _ in range(2):  # what takes long is measured for the second look
        (tensor,) = session.look(LookTensor())
    yield "Tensor", tensor.grad_statistics.norm
    (changes,) = session.look(LookChanges())
    yield from (("Changes", row.norm_after) for row in changes.rows if row.name == f"{name}.grad")
    looks = session._inspector
    assert looks is not None
    graph = looks.held.graph()
    assert graph is not None
    for number in graph.leaves:
        (node,) = session.look(LookNode(number))
        if node.leaf == name:
            yield from (("v", flow.norm) for flow in node.arrives)
            (chain,) = session.look(LookChain(number))
            yield "chain", chain.chain.links[-1].norm
    (ledger,) = session.look(LookLedger())
    yield from (("Ledger", row.norm) for row in ledger.rows if row.norm is not None)
    assert grad is not None
    line = next(iter(parse_line(f"print norm({name}.grad)")))
    made = evaluate(line.command.value, HeldScope(looks.held))  # type: ignore[union-attr]
    yield "print", float(made)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_norm_of_a_gradient_is_one_number_wherever_it_is_shown(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    batch = (torch.randn(3, 1024).to(dtype), torch.randn(3, 1).to(dtype))
    session = Session(Workload(Mixed(dtype), nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=1e-3), [batch]))
    session.look(LookLedger(), LookModel(), LookLayers())
    assert session.forward().ok
    assert session.backward().ok
    looks = session._inspector
    assert looks is not None
    for name, parameter in looks.held.parameters:
        session.show(name)
        found = list(shown(session, name, parameter.grad))
        first = found[0][1]
        assert first is not None
        close = 1e-7 if dtype is not torch.float64 else 1e-12  # `print` gives it in the dtype of the tensor
        for where, norm in found:
            assert norm == pytest.approx(first, rel=close if where == "print" else 1e-12), (name, where)
        assert {where for where, _ in found} >= {"Model", "Tensor", "Changes", "v", "chain", "print"}
