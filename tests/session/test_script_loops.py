"""Loops of many kinds, each stepped phase by phase: the phases, their iterations, and the weights of a run alone."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd

X, Y = torch.linspace(-1, 1, 24).reshape(6, 4), torch.linspace(0, 1, 12).reshape(6, 2)
Weights = list[Tensor]
Loop = Callable[[], "Weights | None"]


def net(*sizes: int) -> nn.Sequential:
    sizes = sizes or (4, 8, 2)
    layers: list[nn.Module] = []
    for one, two in itertools.pairwise(sizes):
        layers += [nn.Linear(one, two), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def sgd(*models: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD([p for model in models for p in model.parameters()], lr=lr, momentum=0.9)


def weights(*models: nn.Module) -> Weights:
    return [each for model in models for each in model.state_dict().values()]


# -- the loops: each returns what it has trained -----------------------------------------------------------------------
def plain() -> Weights:
    model = net()
    opt, criterion = sgd(model), nn.MSELoss()
    for _ in range(3):
        opt.zero_grad()
        loss = criterion(model(X), Y)
        loss.backward()
        opt.step()
    return weights(model)


def gan() -> Weights:
    gen, dis = net(3, 8, 4), net(4, 8, 1)
    opt_g, opt_d = torch.optim.Adam(gen.parameters()), torch.optim.Adam(dis.parameters())
    for _ in range(2):
        dis.zero_grad()
        real = F.softplus(-dis(X)).mean()
        real.backward()
        fake = gen(torch.randn(6, 3))
        F.softplus(dis(fake.detach())).mean().backward()
        opt_d.step()
        gen.zero_grad()
        F.softplus(-dis(fake)).mean().backward()
        opt_g.step()
    return weights(gen, dis)


def wgan_gp() -> Weights:
    gen, critic = net(3, 4), net(4, 8, 1)
    opt_g, opt_c = sgd(gen, lr=0.01), sgd(critic, lr=0.01)
    for turn in range(4):
        fake = gen(torch.randn(6, 3))
        mixed = (X + fake.detach()).div(2).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        loss = critic(fake.detach()).mean() - critic(X).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
        opt_c.zero_grad()
        loss.backward()
        opt_c.step()
        if turn % 2:
            opt_g.zero_grad()
            (-critic(fake).mean()).backward()
            opt_g.step()
    return weights(gen, critic)


def several_losses() -> Weights:
    body, head, other = net(4, 8), net(8, 2), net(8, 1)
    opt = sgd(body, head, other)
    for _ in range(2):
        features = body(X)
        first, second = F.mse_loss(head(features), Y), other(features).square().mean()
        first.backward(retain_graph=True)
        second.backward()
        opt.step()
        opt.zero_grad()
    return weights(body, head, other)


def accumulation() -> Weights:
    model = net()
    opt = sgd(model)
    for i in range(6):
        loss = F.mse_loss(model(X[i : i + 1]), Y[i : i + 1]) / 3
        loss.backward()
        if i % 3 == 2:
            opt.step()
            opt.zero_grad()
    return weights(model)


def lbfgs() -> Weights:
    model = net()
    opt = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure() -> Tensor:
        opt.zero_grad()
        loss = F.mse_loss(model(X), Y)
        loss.backward()
        return loss

    for _ in range(2):
        opt.step(closure)  # type: ignore[arg-type]
    return weights(model)


def amp() -> Weights:
    model = net()
    opt, scaler = sgd(model), torch.amp.GradScaler("cpu")
    for i in range(3):
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.mse_loss(model(X * (float("inf") if i == 1 else 1)), Y)
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
    return weights(model)


def scheduler_and_ema() -> Weights:
    model = net()
    opt = sgd(model)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=4)
    ema = torch.optim.swa_utils.AveragedModel(model)
    for _ in range(3):
        opt.zero_grad(set_to_none=False)
        F.mse_loss(model(X), Y).backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.1)
        opt.step()
        schedule.step()
        ema.update_parameters(model)
        with torch.no_grad():
            ema(X)
    return weights(model, ema)


def evaluation_and_teacher() -> Weights:
    model, teacher = net(), net()
    opt = sgd(model)
    for _ in range(2):
        for _ in range(2):
            with torch.no_grad():
                wanted = teacher(X)
            opt.zero_grad()
            F.mse_loss(model(X), wanted).backward()
            opt.step()
        model.eval()
        with torch.inference_mode():
            for _ in range(2):
                model(X)
        model.train()
        F.mse_loss(model(X), Y).item()  # an evaluation that makes a graph
    return weights(model)


def double_backward() -> Weights:
    model = net()
    opt = sgd(model)
    for _ in range(2):
        loss = F.mse_loss(model(X), Y)
        grads = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
        (loss + sum(g.square().sum() for g in grads)).backward()
        opt.step()
        model.zero_grad()
    return weights(model)


def written_under_no_grad() -> Weights:
    model = net()
    for _ in range(3):
        F.mse_loss(model(X), Y).backward()
        with torch.no_grad():
            for p in model.parameters():
                assert p.grad is not None
                p -= 0.1 * p.grad
                p.grad = None
    return weights(model)


def written_through_data() -> Weights:
    model = net()
    for _ in range(3):
        model.zero_grad()
        F.mse_loss(model(X), Y).backward()
        for p in model.parameters():
            assert p.grad is not None
            p.data.add_(p.grad.data, alpha=-0.1)
    return weights(model)


def without_modules() -> Weights:
    w, b = torch.ones(4, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    for _ in range(3):
        loss = (X @ w + b - Y).square().mean()
        loss.backward()
        with torch.no_grad():
            for p in (w, b):
                assert p.grad is not None
                p -= 0.1 * p.grad
                p.grad.zero_()
    return [w.detach(), b.detach()]


def new_leaves_each_time() -> Weights:
    w = torch.ones(4, 2, requires_grad=True)
    for _ in range(3):
        (grad,) = torch.autograd.grad((X @ w - Y).square().mean(), [w])
        w = (w - 0.1 * grad).detach().requires_grad_()
    return [w.detach()]


def grad_of_parameters() -> Weights:
    model = net()
    opt = sgd(model)
    for _ in range(2):
        grads = torch.autograd.grad(F.mse_loss(model(X), Y), list(model.parameters()))
        for p, grad in zip(model.parameters(), grads, strict=True):
            p.grad = grad
        opt.step()
    return weights(model)


def checkpointed(reentrant: bool) -> Loop:
    def train() -> Weights:
        first, second = net(4, 8), net(8, 2)
        opt = sgd(first, second)
        for _ in range(2):
            x = X.clone().requires_grad_()
            middle = checkpoint(first, x, use_reentrant=reentrant)
            F.mse_loss(checkpoint(second, middle, use_reentrant=reentrant), Y).backward()
            opt.step()
            opt.zero_grad()
        return weights(first, second)

    return train


def reinforcement() -> Weights:
    policy = net()
    opt = sgd(policy, lr=0.01)
    for _ in range(2):
        logs, state = [], X[:1]
        for _ in range(20):
            chosen = torch.distributions.Categorical(logits=policy(state))
            action = chosen.sample()
            logs.append(chosen.log_prob(action))
            state = state.roll(int(action))
        opt.zero_grad()
        torch.stack(logs).sum().neg().backward()
        opt.step()
    return weights(policy)


def contrastive() -> Weights:
    model, temperature = net(), nn.Parameter(torch.tensor(0.5))
    opt = torch.optim.SGD([*model.parameters(), temperature], lr=0.1)
    for _ in range(2):
        views = [model(X + shift) for shift in (0.0, 0.1, 0.2, 0.3)]
        loss = F.cross_entropy(views[0] @ views[1].T / temperature, torch.arange(6))
        loss = loss + F.cross_entropy(views[2] @ views[3].T / temperature, torch.arange(6))
        opt.zero_grad()
        loss.backward()
        opt.step()
    return [*weights(model), temperature.detach()]


def rebuilt_half_way() -> Weights:
    found: Weights = []
    for width in (8, 6):
        model = net(4, width, 2)
        opt = sgd(model)
        for _ in range(2):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
        found += weights(model)
    return found


def group_added() -> Weights:
    body, head = net(4, 8), net(8, 2)
    opt = sgd(head)
    for turn in range(3):
        if turn == 1:
            opt.add_param_group({"params": body.parameters(), "lr": 0.01})
        opt.zero_grad()
        F.mse_loss(head(body(X)), Y).backward()
        opt.step()
    return weights(body, head)


def data_parallel() -> Weights:
    model = nn.DataParallel(net())
    opt = sgd(model)
    for _ in range(2):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
    return weights(model)


def distributed() -> Weights:
    model = nn.parallel.DistributedDataParallel(net())
    opt = sgd(model)
    for i in range(4):
        with model.no_sync() if i % 2 == 0 else contextlib.nullcontext():
            F.mse_loss(model(X), Y).backward()
        if i % 2:
            opt.step()
            opt.zero_grad()
    return weights(model)


def fused_amp() -> Weights:
    model = net()
    opt, scaler = torch.optim.AdamW(model.parameters(), fused=True), torch.amp.GradScaler("cpu")
    for i in range(3):
        loss = F.mse_loss(model(X * (float("nan") if i == 1 else 1)), Y)
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    return weights(model)


def several_roots() -> Weights:
    one, two = net(), net()
    opt = sgd(one, two)
    for _ in range(2):
        losses = [F.mse_loss(one(X), Y), F.mse_loss(two(X), Y)]
        torch.autograd.backward(losses)
        opt.step()
        opt.zero_grad()
        out = one(X)
        out.backward(torch.ones_like(out))  # not a scalar
        opt.step()
        opt.zero_grad()
    return weights(one, two)


def attack() -> Weights:
    model = net()
    opt = sgd(model)
    for _ in range(2):
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(F.mse_loss(model(x), Y), x)
        opt.zero_grad()
        F.mse_loss(model(X + 0.1 * slope.sign()), Y).backward()
        opt.step()
    return weights(model)


def meta_learning() -> Weights:
    model = net()
    opt = sgd(model)
    for _ in range(2):
        named = dict(model.named_parameters())
        inner = F.mse_loss(torch.func.functional_call(model, named, (X,)), Y)
        grads = torch.autograd.grad(inner, list(named.values()), create_graph=True)
        fast = {name: p - 0.1 * g for (name, p), g in zip(named.items(), grads, strict=True)}
        opt.zero_grad()
        F.mse_loss(torch.func.functional_call(model, fast, (X,)), Y).backward()
        opt.step()
    return weights(model)


def sharpness_aware() -> Weights:
    model = net()
    opt = sgd(model)
    for _ in range(2):
        F.mse_loss(model(X), Y).backward()
        moved = [(p, p.grad * 0.05) for p in model.parameters() if p.grad is not None]
        with torch.no_grad():
            for p, change in moved:
                p.add_(change)
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        with torch.no_grad():
            for p, change in moved:
                p.sub_(change)
        opt.step()
        opt.zero_grad()
    return weights(model)


def physics_informed() -> Weights:
    model = net(1, 8, 1)
    opt = sgd(model)
    for _ in range(2):
        t = torch.linspace(0, 1, 6).reshape(6, 1).requires_grad_()
        u = model(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        opt.zero_grad()
        (slope + u).square().mean().backward()
        opt.step()
    return weights(model)


def functional() -> Weights:
    model = net()
    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss_of(params: dict[str, Tensor]) -> Tensor:
        return F.mse_loss(torch.func.functional_call(model, params, (X,)), Y)

    for _ in range(2):
        grads = torch.func.grad(loss_of)(params)
        params = {name: p - 0.1 * grads[name] for name, p in params.items()}
    return list(params.values())


def scripted() -> Weights:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.script(net())
    opt = sgd(model)
    for _ in range(2):
        opt.zero_grad()
        F.mse_loss(model(X), Y).backward()
        opt.step()
    return weights(model)


def compiled() -> Weights:
    torch.compiler.reset()
    model = net()
    fast = torch.compile(model, backend="aot_eager")
    opt = sgd(model)
    for _ in range(2):
        opt.zero_grad()
        F.mse_loss(fast(X), Y).backward()
        opt.step()
    return weights(model)


def step_in_backward() -> Weights:
    model = net()
    several = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def update(p: Tensor) -> None:
        several[p].step()  # type: ignore[index]
        several[p].zero_grad()  # type: ignore[index]

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    for _ in range(2):
        F.mse_loss(model(X), Y).backward()
    return weights(model)


def no_update() -> Weights:
    model = net()
    for row in X.split(2):
        model(row).sum().backward()
    return [p.grad for p in model.parameters() if p.grad is not None]


def accumulation_with_optimizers_in_a_list() -> Weights:
    model = net()
    optimizers = [sgd(model)]
    for _ in range(2):
        for row in X.split(2):
            model(row).sum().backward()
        optimizers[0].step()
    return weights(model)


# -- stepped -----------------------------------------------------------------------------------------------------------
def run(loop: Loop, into: list[Weights | None]) -> Callable[[], None]:
    def train() -> None:
        torch.manual_seed(0)
        into.append(copy.deepcopy(loop()))

    return train


def story(session: ScriptSession) -> list[str]:
    """Step over all phases; return for each iteration the first letters of the phases that ended in it."""
    found: dict[int, str] = {}
    outcomes = phases(session, 500)
    for each in outcomes[:-1]:
        found[each.stop.iteration] = found.get(each.stop.iteration, "") + each.stop.phase[0]
    assert session.ended is not None
    assert session.ended.problem is None, session.ended.problem
    assert list(found) == sorted(found)
    assert [each.text for each in outcomes if "gradstep" in each.text] == []  # no fault of its own
    return [found.get(number, "") for number in range(max(found, default=-1) + 1)]


LOOPS: list[tuple[Loop, list[str]]] = [
    (plain, ["fbs", "zfbs", "zfbs"]),
    (gan, ["fbfbszfbs", "zfbfbszfbs"]),
    (wgan_gp, ["zfbs", "zfbszfbs", "zfbs", "zfbszfbs"]),
    (several_losses, ["fbbsz", "fbbsz"]),
    (accumulation, ["fbfbfbsz", "fbfbfbsz"]),
    (lbfgs, ["fbzfbs", "zfbzfbs"]),
    (amp, ["fbs", "zfbs", "zfbs"]),
    (scheduler_and_ema, ["fbs", "zfbs", "zfbs"]),
    (evaluation_and_teacher, ["fbs", "zfbs", "zfbs", "zfbs"]),
    (double_backward, ["fbsz", "fbsz"]),
    (written_under_no_grad, ["fbs", "fbs", "fb"]),
    (written_through_data, ["fbs", "zfbs", "zfb"]),
    (without_modules, ["bs", "fbs", "fb"]),
    (new_leaves_each_time, ["bs", "fbs", "fb"]),
    (grad_of_parameters, ["fbs", "fbs"]),
    (checkpointed(True), ["fbsz", "fbsz"]),
    (checkpointed(False), ["fbsz", "fbsz"]),
    (reinforcement, ["zfbs", "zfbs"]),
    (contrastive, ["zfbs", "zfbs"]),
    (rebuilt_half_way, ["fbs", "zfbs", "zfbs", "zfbs"]),
    (group_added, ["fbs", "zfbs", "zfbs"]),
    (data_parallel, ["fbs", "zfbs"]),
    (fused_amp, ["fbsz", "fbsz", "fbsz"]),
    (several_roots, ["fbszfbsz", "fbszfbsz"]),
    (attack, ["zfbs", "zfbs"]),
    (meta_learning, ["zfbs", "zfbs"]),
    (sharpness_aware, ["fbzfbsz", "fbzfbsz"]),
    (physics_informed, ["zfbs", "zfbs"]),
    (functional, ["fb", "fb"]),
    (scripted, ["fbs", "zfbs"]),
    (compiled, ["fbs", "zfbs"]),
    (no_update, ["fb", "fb", "fb"]),
    (accumulation_with_optimizers_in_a_list, ["fbfbfbs", "fbfbfbs"]),
    (step_in_backward, ["fszszszszb", "fszszszszb"]),
]


@pytest.mark.parametrize(("loop", "expected"), LOOPS, ids=lambda each: getattr(each, "__name__", ""))
def test_phases_come_in_order_and_the_weights_are_those_of_a_run_alone(loop: Loop, expected: list[str]) -> None:
    alone: list[Weights | None] = []
    watched: list[Weights | None] = []
    run(loop, alone)()
    with stepped(run(loop, watched)) as session:
        found = story(session)
    assert alone[0] is not None
    assert watched[0] is not None
    assert all(torch.equal(a, b) for a, b in zip(alone[0], watched[0], strict=True))
    assert found == expected


@pytest.mark.parametrize(("loop", "phase"), [(plain, "step"), (functional, "backward"), (no_update, "backward")])
def test_a_breakpoint_at_an_iteration_stops_at_the_end_of_its_last_phase(loop: Loop, phase: str) -> None:
    with stepped(loop) as session:
        session.execute(cmd.Break("iteration", "1"))
        stop = session.execute(cmd.Continue()).stop
        assert (stop.iteration, stop.phase, stop.hit) == (1, phase, "breakpoint 1")
        assert session.execute(cmd.Continue()).stop.ended


_ON_GLOO = """
import os, torch
from test_script_loops import distributed, run, stepped, story
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
alone, watched = [], []
run(distributed, alone)()
with stepped(run(distributed, watched)) as session:
    print(story(session), all(torch.equal(a, b) for a, b in zip(alone[0], watched[0], strict=True)), flush=True)
os._exit(0)  # a group that is destroyed may wait for a thread that waits for the GIL
"""


def test_a_process_of_ddp_on_gloo_is_stepped() -> None:
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), str(folder.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", _ON_GLOO]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120)
    assert done.stdout == "['fbfbsz', 'fbfbsz'] True\n", done.stderr
