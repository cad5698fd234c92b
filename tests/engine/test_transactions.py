"""A phase that raises is rolled back: the state is the same as if it had never run."""

from __future__ import annotations

import weakref
from copy import deepcopy
from typing import Any

import pytest
import torch
from holding import ZEROS, B, Broken, F, Fused, N, S, Z, failed, hold, run
from hypothesis import given, settings
from hypothesis import strategies as st
from running import runner_of
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.values.commands import Backward
from gradstep.values.errors import GradstepError


class Own(torch.optim.Optimizer):
    """A user's optimizer: clips `.grad` in place, draws noise, and passes a fuse after each parameter."""

    def __init__(self, parameters: Any, fuse: Any) -> None:
        super().__init__(parameters, {"lr": 0.1, "decay": [0.5]})
        self.fuse = fuse

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["decay"].append(0.5)
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.clamp_(-0.1, 0.1)
                    p.add_(p.grad + 0.01 * torch.randn_like(p), alpha=-group["lr"])
                    self.state[p]["mean"] = self.state[p].get("mean", torch.zeros_like(p)).add_(p.grad)
                    self.state["steps"] = 1 + (self.state.get("steps") or 0)
                self.fuse()


class Tired:
    """A scheduler that changes lr and then passes a fuse."""

    def __init__(self, optimizer: torch.optim.Optimizer, fuse: Any) -> None:
        self.optimizer, self.fuse, self.steps = optimizer, fuse, 0

    def step(self) -> None:
        self.steps += 1
        self.optimizer.param_groups[0]["lr"] *= 0.5
        self.optimizer.param_groups[0]["new"] = 1
        self.fuse()

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


def everything(held: Held) -> dict[str, object]:
    """Return the state, with the ids of what must stay the same object."""
    state: dict[str, object] = {
        "digest": digest(held)[0],
        "losses": list(held.losses),
        "iteration": held.point.iteration,
    }
    for name, p in held.parameters:
        state[name] = (id(p), p._version, id(p.grad), held.ledger.state(name, p))
        state[name, "grad"] = None if p.grad is None else p.grad._version
    for name, b in held.buffers():
        state[name] = (id(b), b._version)
    state["lr"] = deepcopy([dict(g, params=len(g["params"])) for g in held.optimizer.param_groups])
    return state


def end_of(fused: Fused, *acts: Any) -> tuple[object, ...]:
    """Carry out acts; return the state after them, without the identity of objects."""
    held = run(fused.held, *acts)
    return fused.digest(), held.losses, held.point.done, held.point.iteration, held.point.freed, held.rates()


PREFIXES = {
    "at first": [],
    "after a forward": [N, F],
    "after a backward": [N, F, B],
    "with gradients added up": [N, F, B, N, F, B, F],
    "in the second epoch": [N, F, B, S, Z] * 3,
    "after zeros": [N, F, B, S, ZEROS, F],
}
AFTER = [B, S, Z, N, F, B, S, ZEROS, N, F, B, F, B, S]
ERRORS = [Broken, KeyboardInterrupt]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_forward_that_raises_anywhere_never_was(prefix: str, place: int, error: type[BaseException]) -> None:
    plain = end_of(Fused(), *PREFIXES[prefix], F, *AFTER)
    ours = Fused()
    run(ours.held, *PREFIXES[prefix])
    before = everything(ours.held)
    ours.fuse.light(place, error)
    problem = failed(ours.held, F)
    assert problem.kind == ("interrupted" if error is KeyboardInterrupt else "raised")
    assert everything(ours.held) == before
    run(ours.held, F, *AFTER)
    assert end_of(ours) == plain


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("prefix", list(PREFIXES)[1:])
def test_a_backward_that_raises_anywhere_never_was(prefix: str, place: int, error: type[BaseException]) -> None:
    plain = end_of(Fused(), *PREFIXES[prefix], F, *AFTER)
    ours = Fused()
    run(ours.held, *PREFIXES[prefix], F)
    before = everything(ours.held)
    ours.back.light(place, error)
    failed(ours.held, B)
    assert everything(ours.held) == before
    run(ours.held, *AFTER)
    assert end_of(ours) == plain


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_failed_forward_leaves_the_old_graph_and_what_revives_it(place: int) -> None:
    plain = end_of(Fused(), F, B)
    ours = Fused()
    run(ours.held, F)
    ours.fuse.light(place)
    failed(ours.held, F)
    ours.back.light(place)
    failed(ours.held, B)
    assert not ours.held.point.freed
    run(ours.held, B)
    assert end_of(ours) == plain


def test_a_backward_that_fails_after_the_next_batch_was_taken_can_be_run_again() -> None:
    plain = end_of(Fused(), F, N, B)
    ours = Fused()
    run(ours.held, F, N)
    ours.back.light(3)
    failed(ours.held, B)
    run(ours.held, B)
    assert end_of(ours) == plain


def test_a_graph_kept_by_retain_graph_survives_a_failed_backward() -> None:
    plain = end_of(Fused(), F, Backward(retain_graph=True), B)
    ours = Fused()
    run(ours.held, F, Backward(retain_graph=True))
    ours.back.light(2)
    failed(ours.held, B)
    run(ours.held, B)
    assert end_of(ours) == plain


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", range(1, 7))
@pytest.mark.parametrize("turns", [0, 2])
def test_a_users_step_that_raises_half_way_never_was(turns: int, place: int, error: type[BaseException]) -> None:
    def build() -> tuple[Fused, Any]:
        holder: list[Any] = []
        fused = Fused(lambda p: holder.append(Own(p, None)) or holder[0])  # type: ignore[func-returns-value]
        holder[0].fuse = type(fused.fuse)()
        return run(fused.held, *[F, B, S] * turns, F, B) and fused, holder[0].fuse

    plain = end_of(build()[0], S, *AFTER[2:])
    ours, fuse = build()
    before = everything(ours.held)
    fuse.light(place, error)
    failed(ours.held, S)
    assert everything(ours.held) == before
    assert {k for k in ours.held.optimizer.state if isinstance(k, str)} == ({"steps"} if turns else set())
    run(ours.held, S, *AFTER[2:])
    assert end_of(ours) == plain


MAKERS: dict[str, Any] = {
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.1),
    "fused AdamW": lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
    "lr as a tensor": lambda p: torch.optim.AdamW(p, lr=torch.tensor(0.1), foreach=False),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("where", ["in torch's step", "in the scheduler"])
@pytest.mark.parametrize("turns", [0, 2])
def test_a_step_of_torchs_that_raises_never_was(maker: str, where: str, turns: int, monkeypatch: Any) -> None:
    def build() -> Fused:
        fused = Fused(MAKERS[maker], schedulers=lambda o: Tired(o, None))
        fused.held.schedulers[0].fuse = fused.pull
        return run(fused.held, *[F, B, S] * turns, F, B) and fused

    plain = end_of(build(), S, *AFTER[2:])
    ours = build()
    before = everything(ours.held)
    if where == "in the scheduler":
        ours.pull.light()
        failed(ours.held, S)
    else:
        step = type(ours.held.optimizer).step

        def breaks(self: Any, *a: Any) -> None:
            step(self, *a)
            raise Broken("on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(type(ours.held.optimizer), "step", breaks)
            failed(ours.held, S)
    assert everything(ours.held) == before
    run(ours.held, S, *AFTER[2:])
    assert end_of(ours) == plain


def test_a_step_hook_that_clips_gradients_is_undone_with_the_step() -> None:
    ours = Fused()
    ours.held.optimizer.register_step_pre_hook(
        lambda o, *_: [p.grad.mul_(0) for p in o.param_groups[0]["params"] if p.grad is not None] and None
    )
    ours.held.optimizer.register_step_post_hook(lambda *_: ours.pull())
    run(ours.held, F, B)
    before = everything(ours.held)
    ours.pull.light()
    failed(ours.held, S)
    assert everything(ours.held) == before


def test_a_step_that_adds_a_group_or_loads_state_is_undone() -> None:
    ours = Fused(lambda p: torch.optim.SGD(list(p)[:2], lr=0.1, momentum=0.9))
    optimizer = ours.held.optimizer
    run(ours.held, F, B, S, Z, F, B)
    before = everything(ours.held)

    def hook(*_: Any) -> None:
        optimizer.load_state_dict(optimizer.state_dict())
        optimizer.add_param_group({"params": [ours.model.last.weight]})
        raise Broken("on purpose")

    handle = optimizer.register_step_post_hook(hook)
    failed(ours.held, S)
    handle.remove()
    assert everything(ours.held) == before
    assert len(optimizer.param_groups) == 1
    run(ours.held, S)


def test_a_group_added_by_a_step_takes_part_from_then_on() -> None:
    ours = Fused(lambda p: torch.optim.SGD(list(p)[:2], lr=0.1))
    run(ours.held, F, B)
    ours.held.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2))]})
    run(ours.held, S, Z, F, B, S)
    assert ours.held.point.iteration == 2


def test_an_optimizer_that_steps_inside_backward_is_undone_with_it() -> None:
    fused = Fused()
    inner = {p: torch.optim.AdamW([p], lr=0.1) for _, p in fused.held.parameters if p.requires_grad}

    def hook(p: torch.Tensor) -> None:
        inner[p].step()
        p.grad = None
        fused.pull()

    for p in inner:
        p.register_post_accumulate_grad_hook(hook)
    run(fused.held, F)
    before = everything(fused.held)
    fused.pull.light(3)
    failed(fused.held, B)
    assert everything(fused.held) == before


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("place", range(1, 5))
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_pull_that_raises_never_was(prefix: str, place: int, error: type[BaseException]) -> None:
    plain = end_of(Fused(), *PREFIXES[prefix], N, F, *AFTER)
    ours = Fused()
    run(ours.held, *PREFIXES[prefix])
    before = everything(ours.held)
    ours.pull.light(place, error)
    failed(ours.held, N)
    assert everything(ours.held) == before
    run(ours.held, N, F, *AFTER)
    assert end_of(ours) == plain


def test_no_grad_left_on_by_a_forward_that_raised_is_switched_back() -> None:
    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        torch.set_grad_enabled(False)
        raise Broken("on purpose")

    held = hold(nn.Linear(4, 2), compute_loss=loss)
    failed(held, F)
    assert torch.is_grad_enabled()


def test_modes_and_requires_grad_set_by_a_forward_that_raised_are_put_back() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.Dropout())

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        model.eval().requires_grad_(False)
        raise Broken("on purpose")

    held = hold(model, compute_loss=loss)
    before = digest(held)
    failed(held, F)
    assert digest(held) == before
    assert model[1].training


def test_an_expanded_buffer_is_no_obstacle() -> None:
    class Expanded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.register_buffer("mask", torch.ones(1, 4).expand(3, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if broken:
                raise Broken("on purpose")
            return self.layer(x * self.mask)

    broken = True
    held = hold(Expanded())
    assert failed(held, F).what == "Broken: on purpose"
    broken = False
    run(held, F, B, S)


def test_a_sparse_gradient_keeps_its_object_and_its_contents() -> None:
    model = nn.Embedding(6, 2, sparse=True)
    fail = False

    def hook(grad: torch.Tensor) -> None:
        if fail:
            model.weight.grad = torch.zeros(6, 2)
            raise Broken("on purpose")

    held = hold(model, [(torch.tensor([1, 3]), torch.zeros(2, 2))])
    run(held, F, B, F)
    model.weight.register_hook(hook)
    grad, before = model.weight.grad, digest(held)
    run(held, F)
    before, fail = digest(held), True
    failed(held, B)
    assert model.weight.grad is grad
    assert digest(held) == before


@pytest.mark.parametrize("act", [B, S, F, N])
def test_what_torch_would_refuse_leaves_all_as_it_was(act: Any) -> None:
    """Backward before forward, and backward twice through one graph."""
    fused = Fused()
    before = everything(fused.held)
    assert failed(fused.held, B).title == "there is no loss yet"
    assert everything(fused.held) == before
    run(fused.held, F, B)
    before = everything(fused.held)
    problem = failed(fused.held, B)
    assert "backward through the graph a second time" in problem.what
    assert "retain_graph=true" in problem.remedy
    assert everything(fused.held) == before
    run(fused.held, act) if act is not B else None


def test_backward_after_a_step_is_torchs_own_refusal_every_time() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    run(held, F, Backward(retain_graph=True), S)
    for _ in range(2):
        assert "modified by an inplace operation" in failed(held, B).what
        assert not held.point.freed


ACTS = st.sampled_from([F, F, B, B, S, Z, ZEROS, N, Backward(retain_graph=True)])
FAULTS = st.tuples(st.sampled_from(["fuse", "back", "pull"]), st.integers(1, 4), st.sampled_from(ERRORS))


@settings(max_examples=80)
@given(st.lists(st.tuples(ACTS, st.none() | FAULTS), max_size=14), st.sampled_from(sorted(MAKERS)))
def test_any_acts_with_faults_between_equal_the_acts_that_went_through(steps: Any, maker: str) -> None:
    """With all failed acts rolled back, the others give the same bits as alone."""

    def build() -> Fused:
        return Fused(MAKERS[maker], schedulers=lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9))

    ours = build()
    through, digests = [], []
    for act, fault in steps:
        before = everything(ours.held)
        if fault is not None:
            getattr(ours, fault[0]).light(*fault[1:])
        try:
            runner_of(ours.held).run(act)
        except GradstepError:
            assert everything(ours.held) == before
        else:
            through.append(act)
            digests.append(ours.digest())
        for fuse in (ours.fuse, ours.back, ours.pull):
            fuse.light(0)
    plain = build()
    assert [run(plain.held, act) and plain.digest() for act in through] == digests
    assert end_of(ours) == end_of(plain)


def test_what_undoes_a_phase_is_let_go_of_as_the_next_begins() -> None:
    held = Fused(optimizer=lambda p: torch.optim.AdamW(p, lr=0.1)).held
    weights, kept = {id(parameter) for _, parameter in held.parameters}, list[weakref.ref[Tensor]]()
    for act in (F, B, S, F, B, S):
        runner_of(held).run(act)
        kept += [weakref.ref(copy) for copy in held.saved.copies.of("weight").copies]
        assert sum(each() is not None for each in kept) in {0, len(weights)}
    assert len(kept) == 2 * len(weights)  # of the steps: no forward has written one
    runner_of(held).run(Z)
    assert all(each() is None for each in kept)
