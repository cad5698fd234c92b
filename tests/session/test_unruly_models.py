"""Models that do as they please while they are stepped: threads, catching everything, raising wherever they can."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest, Request
from gradstep.values.views.node import LookNode
from gradstep.workload import Workload


def session_of(model: nn.Module, x: Tensor | None = None) -> Session:
    torch.manual_seed(0)
    batch = (torch.randn(3, 4) if x is None else x, torch.zeros(3, 1))
    return Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]), seed=0)


def do(session: Session, text: str) -> Outcome:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    return outcomes[-1]


def state(session: Session) -> str:
    view = session.look(LookDigest())[0]
    assert isinstance(view, Digest)
    return view.digest


class Threaded(nn.Module):
    """Runs two modules at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        made: dict[str, Tensor] = {}
        together = threading.Barrier(2)

        def run(name: str, module: nn.Module) -> None:
            together.wait(10)
            made[name] = module(x)

        threads = [threading.Thread(target=run, args=(n, m)) for n, m in (("l", self.left), ("r", self.right))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.head(made["l"] + made["r"])


def test_modules_on_threads_of_the_models_own_run_whole() -> None:
    session = session_of(Threaded())
    outcome = do(session, "into forward")
    seen = []
    while outcome.stop.position is not None:
        seen.append(outcome.stop.position.path)
        outcome = do(session, "over" if outcome.stop.position.kind == "op" else "into")
    assert outcome.ok
    assert "head" in seen
    assert not {"left", "right"} & set(seen)
    session.close()


class Catching(nn.Module):
    """Catches whatever is raised in it; then raises something of its own, or goes on."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.body, self.head, self.raises = nn.Linear(4, 4), nn.Linear(4, 1), raises
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        try:
            x = self.body(x)
        except BaseException as error:
            if self.raises:
                raise ValueError("not my fault") from error
        return self.head.weight.sum() + x.sum(1, keepdim=True)


@pytest.mark.parametrize("raises", [True, False])
def test_a_model_that_catches_everything_can_be_left_half_way(raises: bool) -> None:
    session = session_of(Catching(raises))
    before = state(session)
    do(session, "into forward; into; into")
    assert session.stop.position is not None
    assert do(session, "undo phase").ok
    assert (state(session), session.stop.phase, session.stop.loss) == (before, "", None)
    assert do(session, "forward").ok
    session.close()


def test_a_sparse_gradient_is_walked_past_while_somebody_looks() -> None:
    table = nn.Embedding(10, 4, sparse=True)
    session = session_of(nn.Sequential(table, nn.Flatten(), nn.Linear(12, 1)), torch.tensor([[1, 2, 3]] * 3))
    outcome = do(session, "forward; into backward")
    while outcome.stop.position is not None:
        session.look(LookNode())
        outcome = do(session, "into")
    assert outcome.ok, outcome.problem
    assert table.weight.grad is not None
    assert table.weight.grad.is_sparse
    session.close()


class Failing(torch.autograd.Function):
    """Raises in its backward."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        raise ArithmeticError("in a backward of my own")


class Custom(nn.Module):
    """Goes through `Failing`."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(Failing.apply(self.body(x)))


def _raise(*_: object) -> None:
    raise ArithmeticError("in a hook")


def _with(hook: Callable[[nn.Sequential], object]) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        hook(model)
        return model

    return make


@pytest.mark.parametrize(
    ("make", "phase"),
    [
        (Custom, "backward"),
        (_with(lambda m: m[0].weight.register_hook(_raise)), "backward"),
        (_with(lambda m: m[0].weight.register_post_accumulate_grad_hook(_raise)), "backward"),
        (_with(lambda m: m[1].register_full_backward_hook(_raise)), "backward"),
        (_with(lambda m: m[1].register_forward_hook(_raise)), "forward"),
        (_with(lambda m: m[2].register_forward_pre_hook(_raise)), "forward"),
    ],
)
@pytest.mark.parametrize("stepped", ["into", "over"])
def test_what_is_raised_deep_inside_is_shown_and_undone(
    make: Callable[[], nn.Module], phase: str, stepped: str
) -> None:
    session = session_of(make())
    if phase == "backward":
        assert do(session, "forward").ok
    before, threads = state(session), threading.active_count()
    outcome = do(session, f"into {phase}")
    while outcome.ok:
        outcome = do(session, stepped)
    assert outcome.problem is not None
    assert (outcome.problem.kind, outcome.problem.title) == ("raised", f"{phase} raised")
    assert outcome.problem.what.startswith("ArithmeticError: in a ")
    assert session.stop.position is None
    assert state(session) == before
    assert threading.active_count() == threads
    session.close()


@pytest.mark.parametrize("end", ["out phase", "undo phase", "close"])
def test_nothing_of_a_phase_is_held_on_to_after_it(end: str) -> None:
    kept: list[weakref.ref[Tensor]] = []

    class Seen(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            kept.append(weakref.ref(out))
            if out.requires_grad:
                out.register_hook(lambda grad: kept.append(weakref.ref(grad)))
            return out * 1.5

    session = session_of(nn.Sequential(Seen(4, 4), nn.Tanh(), Seen(4, 1)))
    threads = threading.active_count()
    do(session, "into forward; into; into; print norm(op.out); into; out phase")
    do(session, "into backward; into; into; into; into; print norm(node.in)")
    session.look(LookNode())
    if end == "close":
        session.close()
    else:
        assert do(session, end).ok
        do(session, "backward; step; zero_grad; into forward; undo phase")
        session.execute(next(iter(parse_line("forward"))).command)  # type: ignore[union-attr]
        session.close()
    del session
    gc.collect()
    assert kept
    assert [ref() for ref in kept if ref() is not None] == []
    assert threading.active_count() <= threads


class Kept(nn.Linear):
    """Keeps weak references to what it made."""

    made: list[weakref.ref[Tensor]]

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.made.append(weakref.ref(out))
        return out * 1.5


def saved_memory(session: Session, text: str, *requests: Request) -> int:
    """Carry lines out, look, and then at nothing; return how many of the activations are alive after that."""
    Kept.made = []
    do(session, text)
    session.look(*requests)
    session.look(LookDigest())
    gc.collect()
    assert Kept.made
    return sum(ref() is not None for ref in Kept.made)


def test_a_live_session_keeps_no_activation_of_a_phase_that_is_over() -> None:
    session = session_of(nn.Sequential(Kept(4, 4), nn.Tanh(), Kept(4, 1)))
    assert saved_memory(session, "into forward; into; into; into; undo phase") == 0
    assert saved_memory(session, "forward; into backward; into; into; out phase") == 0
    assert saved_memory(session, "forward; backward", LookNode(3)) == 0
    session.close()


def test_a_session_that_is_dropped_inside_a_phase_takes_its_hooks_and_its_thread_along() -> None:
    threads = threading.active_count()
    session = session_of(nn.Linear(4, 1))
    assert do(session, "into forward; into").stop.position is not None
    assert nn.modules.module._global_forward_hooks
    del session
    gc.collect()
    assert not nn.modules.module._global_forward_hooks
    assert threading.active_count() == threads


def test_a_session_that_is_dropped_inside_a_phase_does_not_rewind_the_generators_of_the_process() -> None:
    session = session_of(nn.Sequential(nn.Dropout(), nn.Linear(4, 1)))
    do(session, "into forward")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    del session
    gc.collect()
    assert torch.equal(torch.rand(3), expected)
