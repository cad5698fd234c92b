"""Every panel that shows the norm of a tensor shows the same number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gradstep.engine.expressions.evaluate import evaluate
from gradstep.engine.expressions.scope import HeldScope
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values import numbers
from gradstep.values.views import LookChanges, LookModel
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.node import LookChain, LookNode
from gradstep.values.views.tensor import LookTensor
from gradstep.values.views.training import LookLayers
from gradstep.workload import Workload


@dataclass(frozen=True)
class Recipe:
    """A small model, and what its gradients are like."""

    dtype: torch.dtype
    width: int
    channels_last: bool
    sparse: bool
    tied: bool
    scale: float

    def build(self) -> Workload:
        torch.manual_seed(0)
        batch = (torch.randn(3, self.width).to(self.dtype), torch.randn(3, 1).to(self.dtype))

        def loss(output: Tensor, target: Tensor) -> Tensor:
            return nn.functional.mse_loss(output, target) * self.scale

        return Workload(Mixed(self), loss, lambda p: torch.optim.SGD(p, lr=1e-3), [batch])


RECIPES = st.builds(
    Recipe,
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64]),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from([1.0, 1e-6, 1e3]),
)


class Mixed(nn.Module):
    """A matrix, rows of a table, which may be sparse, and tiles, whose strides may be of another order."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        rows = 300 if recipe.width >= 1024 else 4
        self.matrix = nn.Linear(recipe.width, rows, bias=not recipe.tied).to(recipe.dtype)
        self.rows = nn.Embedding(50, 4, sparse=recipe.sparse)
        form = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.tiles = nn.Conv2d(2, 3, 2).to(recipe.dtype).to(memory_format=form)  # type: ignore[call-overload]
        self.again = self.matrix if recipe.tied else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.matrix(x).sum(-1, keepdim=True)
        if self.again is self.matrix:
            out = out + self.again(x * 2).sum(-1, keepdim=True)
        tiles = self.tiles(x.mean() * torch.ones(3, 2, 5, 5, dtype=x.dtype)).mean((1, 2, 3))[:, None]
        return out + (self.rows(torch.tensor([1, 2, 2])).sum() + tiles.tanh()).to(out.dtype)


def shown(session: Session, name: str, grad: Tensor | None) -> Iterator[tuple[str, float | None]]:
    """Yield each number that a panel or a sentence shows as the norm of a gradient, and where."""
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
@settings(max_examples=5, deadline=None)
@example(Recipe(torch.float32, 1024, True, True, False, 1.0))  # a norm that is taken by rows
@given(RECIPES)
def test_the_norm_of_a_gradient_is_one_number_wherever_it_is_shown(recipe: Recipe) -> None:
    session = Session(recipe.build())
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
        # `print` gives it in the dtype of the tensor
        close = {torch.float64: 1e-12, torch.float32: 1e-7}.get(parameter.dtype, 1e-2)
        for where, norm in found:
            assert norm == pytest.approx(first, rel=close if where == "print" else 1e-12), (name, where)
        assert {where for where, _ in found} >= {"Model", "Tensor", "Changes", "v", "chain", "print"}
        (changes,) = session.look(LookChanges())
        (text,) = (row.after for row in changes.rows if row.name == f"{name}.grad")
        assert text == (f"norm {numbers.norm(first)}" if first else "zero")
