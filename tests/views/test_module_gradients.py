"""The gradients of a module's outputs and inputs after the fact: against torch's own retain_grad and hooks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import Digest, LookDigest
from gradstep.values.views.inside import InsideView, LookInside
from gradstep.workload import Workload


class Block(nn.Module):
    """A residual connection around two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(torch.relu(self.a(x)))


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), Block(), Block(), nn.Linear(4, 2))


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(5, 3), torch.randn(5, 2)


def stepped(of: nn.Module, data: tuple[Tensor, Tensor], text: str = "forward; backward") -> Session:
    session = Session(Workload(of, nn.functional.mse_loss, torch.optim.SGD(of.parameters(), lr=0.1), [data]))
    for statement in parse_line(text):
        assert session.execute(statement.command).ok  # type: ignore[union-attr]
    return session


def seen(session: Session, request: LookInside) -> InsideView:
    (view,) = session.look(request)
    assert isinstance(view, InsideView)
    return view


def norms(view: InsideView) -> dict[str, float | None]:
    return {row.name: row.norm for row in (*view.outputs, *view.inputs)}


@pytest.mark.parametrize("path", ["0", "1", "2", "1.a", "2.a", "2.b", "3", ""])
def test_they_are_what_torch_keeps_and_hands_to_hooks(path: str) -> None:
    torchs, (x, target) = model(), batch()
    kept: dict[str, Tensor] = {}

    def keep(_module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        for name, tensor in (("input", given[0]), ("output", made)):
            if tensor.requires_grad:
                tensor.retain_grad()
                kept[name] = tensor

    def through(_module: nn.Module, into: tuple[Tensor | None, ...], _out: object) -> None:
        if into[0] is not None:
            kept["through"] = into[0].clone()

    module = torchs.get_submodule(path)
    handle = module.register_forward_hook(keep)
    nn.functional.mse_loss(torchs(x), target).backward()
    handle.remove()
    module.register_full_backward_hook(through)
    nn.functional.mse_loss(torchs(x), target).backward()

    session = stepped(model(), batch())
    view = seen(session, LookInside(path=path))
    found = norms(view)
    assert view.module.startswith(path)
    assert found.pop("grad of output") == pytest.approx(float(kept["output"].grad.norm()), rel=1e-5)  # type: ignore[union-attr]
    if "input" in kept:
        assert found.pop("grad of input") == pytest.approx(float(kept["through"].norm()), rel=1e-5)
        whole = float(kept["input"].grad.norm())  # type: ignore[union-attr]
        assert found.pop("grad of input, all uses", whole) == pytest.approx(whole, rel=1e-5)
    else:
        assert "none of its inputs requires grad" in view.note
    assert found == {}
    session.close()


def test_looking_changes_nothing_and_a_parameter_stands_for_its_module() -> None:
    session = stepped(model(), batch())
    before = session.look(LookDigest())[0]
    assert isinstance(before, Digest)
    assert norms(seen(session, LookInside(path="1.a.weight"))) == norms(seen(session, LookInside(path="1.a")))
    assert session.look(LookDigest())[0] == before
    session.close()


def test_of_several_calls_a_node_chooses_one() -> None:
    session = Session()
    for statement in parse_line("load rnn seed=0; forward; backward"):
        assert session.execute(statement.command).ok  # type: ignore[union-attr]
    last, other = seen(session, LookInside(path="cell")), seen(session, LookInside(52, "cell"))
    assert [(view.module, view.call, view.calls) for view in (last, other)] == [
        ("cell RNNCell", 16, 16),
        ("cell RNNCell", 10, 16),
    ]
    assert other.outputs[0].place == "#52 tanh of cell RNNCell"
    assert seen(session, LookInside(52)) == other
    session.close()


def test_what_there_is_not_is_said() -> None:
    session = stepped(model(), batch(), "forward")
    assert "run `backward`, or step into it with `into`" in seen(session, LookInside(path="1")).note
    assert "made outside of the model" in seen(session, LookInside(0)).note
    assert "no operation of nothing" in seen(session, LookInside(path="nothing")).note
    session.close()
    empty = Session(Workload(model(), nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch()]))
    assert "run `forward`" in seen(empty, LookInside()).note
    empty.close()
