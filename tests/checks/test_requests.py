"""Checks on request: what they say of sound and of broken training, and that nothing they run stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.checks.checker import all_requests
from gradstep.session.local import Session
from gradstep.values import commands as cmd
from gradstep.values.views import Digest, LookDigest
from gradstep.workload import Workload


class Doubled(torch.autograd.Function):
    """A Function whose backward is not the derivative of its forward."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad * 3


class Wrong(nn.Module):
    """A linear layer behind that Function."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = Doubled.apply(self.inner(x))
        return result


class Mixed(nn.Module):
    """A view where a permute was meant: samples are mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.t().reshape(16, 4).repeat(1, 4))
        return out


def masked(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Return the mean over the tokens that count: samples of the second half have fewer."""
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-1)


def tokens(loss: Callable[[nn.Module, tuple[Tensor, Tensor]], Tensor], pad: bool) -> Session:
    """Return a session on eight samples of six tokens, some of which are padding."""
    torch.manual_seed(0)
    x, y = torch.randn(8, 6, 4), torch.randint(0, 3, (8, 6))
    if pad:
        y[4:, 2:] = -1
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = Session(Workload(model, compute_loss=loss, optimizer=optimizer, batches=[(x, y)]))
    session.forward()
    return session


class Forgetful(nn.Module):
    """Draws from a generator of its own that nobody restores."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.calls = nn.Linear(4, 3), [0]

    def __deepcopy__(self, memo: dict[int, object]) -> Forgetful:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        out: Tensor = self.inner(x) * self.calls[0]
        return out


def session_of(model: nn.Module, lr: float = 0.1) -> Session:
    """Return a session that has run one forward."""
    torch.manual_seed(0)
    x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
    work = Workload(model, loss=F.cross_entropy, optimizer=torch.optim.SGD(model.parameters(), lr=lr), batches=[(x, y)])
    session = Session(work)
    session.forward()
    return session


def mlp() -> nn.Module:
    """Return a model that can memorise sixteen samples."""
    return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 3))


@pytest.mark.parametrize(
    ("word", "sound", "broken", "rule"),
    [
        ("gradients", mlp, Wrong, "gradient-wrong"),
        ("batch-leak", mlp, Mixed, "batch-leak"),
        ("determinism", mlp, Forgetful, "nondeterministic-forward"),
    ],
)
def test_a_fault_is_found_in_what_is_broken_and_not_in_what_is_sound(
    word: str, sound: Callable[[], nn.Module], broken: Callable[[], nn.Module], rule: str
) -> None:
    session = session_of(sound())
    assert session.execute(cmd.Check(word)).ok
    assert all(each.rule != rule for each in session.findings)
    session = session_of(broken())
    outcome = session.execute(cmd.Check(word))
    assert outcome.ok, outcome.problem
    assert rule in {each.rule for each in session.findings}
    (found,) = [each for each in session.findings if each.rule == rule]
    assert found.what == outcome.text


def test_token_means_of_micro_batches_are_not_that_of_the_large_batch() -> None:
    assert "is that of the batch of 8" in tokens(masked, pad=False).execute(cmd.Check("accumulation")).text
    total = tokens(lambda model, batch: masked(model, batch) * (batch[1] >= 0).sum(), pad=True)
    assert total.execute(cmd.Check("accumulation")).text.startswith("The loss is a sum")
    assert not total.findings
    session = tokens(masked, pad=True)
    text = session.execute(cmd.Check("accumulation")).text
    assert "0.375, 0.375, 0.125, 0.125, not 0.25 each" in text  # 12, 12, 4 and 4 tokens of 32
    assert [each.rule for each in session.findings] == ["accumulation"]


def test_one_batch_is_fitted_where_the_rate_allows_it() -> None:
    assert session_of(mlp(), lr=0.5).execute(cmd.Check("overfit-one-batch")).text.startswith("It can")
    session = session_of(mlp(), lr=1e-6)
    assert "stays at" in session.execute(cmd.Check("overfit-one-batch")).text
    assert "overfit-one-batch" in {each.rule for each in session.findings}


def test_the_range_test_names_a_rate_between_its_ends() -> None:
    text = session_of(mlp()).execute(cmd.Check("lr-range")).text
    assert "falls fastest at lr" in text
    rate = float(text.rpartition("fastest at lr ")[2].partition(";")[0])
    assert 1e-4 < rate < 10


@pytest.mark.parametrize("word", list(all_requests()))
def test_nothing_of_the_session_changes_not_one_bit(word: str) -> None:
    session = session_of(nn.Sequential(nn.Linear(4, 64), nn.BatchNorm1d(64), nn.Dropout(0.2), nn.Linear(64, 3)))
    session.backward()

    def digest() -> Digest:
        (found,) = session.look(LookDigest())
        assert isinstance(found, Digest)
        return found

    before = digest().digest
    session.execute(cmd.Check(word))
    assert digest().digest == before


def test_a_script_is_checked_on_a_copy_and_runs_on_as_alone() -> None:
    def train(weights: list[Tensor]) -> Callable[[], None]:
        def run() -> None:
            torch.manual_seed(0)
            net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
            opt = torch.optim.SGD(net.parameters(), lr=0.1)
            x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
            for _ in range(3):
                opt.zero_grad()
                F.cross_entropy(net(x), y).backward()
                opt.step()
            weights[:] = [p.detach().clone() for p in net.parameters()]

        return run

    alone: list[Tensor] = []
    watched: list[Tensor] = []
    train(alone)()
    with stepped(train(watched)) as session:
        session.execute(cmd.Step())
        session.execute(cmd.Forward())
        for word in ("gradients", "determinism", "overfit-one-batch", "lr-range"):
            outcome = session.execute(cmd.Check(word))
            assert outcome.ok, outcome.problem
        phases(session)
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))
