"""The observer: phases of a loop that gradstep does not drive, hooks only for what is asked for, and the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from inspect import currentframe
from types import FrameType
from typing import Any

import pytest
import torch
from holding import B, F, S, Z, failed, hold, run
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as hooks_of_all
from torch.nn.utils import clip_grad
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedulers
from torch.optim import optimizer as optimizers
from torch.utils.checkpoint import checkpoint

from gradstep.engine.debuggee.optimizers import is_torchs
from gradstep.engine.observe.hooks import engine
from gradstep.engine.observe.loop_phases import Edge, LoopPhases, Name, Phase
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import (
    EngineEntered,
    EngineLeft,
    FunctionEntered,
    FunctionLeft,
    GradientArrives,
    GradientsClipped,
    ModuleEntered,
    ModuleLeft,
    NodeAbout,
    NodeRan,
    OpRan,
    ScalerCalled,
    SchedulerSteps,
    StepEntered,
    StepLeft,
    StepSkipped,
    Zeroed,
    ZeroEntered,
)

X, Y = torch.linspace(-1, 1, 12).reshape(3, 4), torch.linspace(0, 1, 6).reshape(3, 2)


class Net(nn.Module):
    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.a, self.b, self.how = nn.Linear(4, 4), nn.Linear(4, 2), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how:
            x = checkpoint(self.a, x.requires_grad_(), use_reentrant=self.how == "reentrant")  # type: ignore[assignment]
        out: Tensor = self.b(self.a(x).tanh())
        return out


class Seen(list[Phase]):
    """Keeps the phases that it is told of."""

    def begins(self, name: Name, of: Any, within: tuple[str, ...], grad_mode: bool, *called: Any) -> None:
        self.append(Phase(name, "begins", of, within, grad_mode, *called))

    def ended(
        self, name: Name, of: Any, within: tuple[str, ...], grad_mode: bool, frame: FrameType | None, edge: Edge
    ) -> None:
        self.append(Phase(name, edge, of, within, grad_mode, frame=frame))


def line(phase: Phase) -> str:
    """`step > forward Net begins`, for instance."""
    of = "" if phase.name == "backward" else f" {type(phase.of).__name__}"
    grad = "" if phase.grad_mode or phase.name != "forward" else " without grad"
    return " > ".join([*phase.within, f"{phase.name}{of}{grad}{' begins' if phase.edge == 'begins' else ''}"])


def phases(loop: Callable[[], object]) -> list[str]:
    """Return the phases that begin in a loop, with those that they are in; of each it is checked that it ends."""
    seen = Seen()
    with observe(LoopPhases(seen).consumer()):
        loop()
    begun = [each for each in seen if each.edge == "begins"]
    ended = [each for each in seen if each.edge == "ended"]
    assert sorted(map(id, (each.of for each in begun))) == sorted(map(id, (each.of for each in ended)))
    return [line(each).removesuffix(" begins") for each in begun]


def plain(model: nn.Module, steps: int = 2, optimizer: Optimizer | None = None) -> list[float]:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    optimizer, losses = optimizer or torch.optim.Adam(model.parameters(), lr=0.1), []
    criterion = nn.MSELoss()
    for _ in range(steps):
        loss = criterion(model(X.clone()), Y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


TURN = ["forward Net", "forward MSELoss", "backward", "step Adam", "zero_grad Adam"]


@pytest.mark.parametrize("how", ["", "reentrant", "not reentrant"])
def test_the_phases_of_a_plain_loop_come_in_its_order_and_a_checkpoint_is_no_forward(how: str) -> None:
    assert phases(lambda: plain(Net(how))) == TURN * 2


def test_what_a_closure_calls_is_inside_of_the_step() -> None:
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(model(X), Y)
        loss.backward()
        return loss

    turn = ["step > zero_grad LBFGS", "step > forward Net", "step > backward"]
    seen = phases(lambda: optimizer.step(closure))  # type: ignore[arg-type]
    assert seen[0] == "step LBFGS"
    assert seen[1:] == turn * ((len(seen) - 1) // 3)
    assert len(seen) > 3


def test_two_optimizers_a_gradient_penalty_and_a_clearing_by_the_model_are_told_apart() -> None:
    real, fake = Net(), Net()
    first, second = torch.optim.SGD(real.parameters(), lr=0.1), torch.optim.RMSprop(fake.parameters())

    def loop() -> None:
        x = X.clone().requires_grad_()
        (slope,) = torch.autograd.grad(real(x).sum(), x, create_graph=True)  # is part of a forward
        slope.square().mean().backward()
        first.step()
        real.zero_grad()
        fake(X).mean().backward()
        second.step()
        second.zero_grad()

    assert phases(loop) == [
        *("forward Net", "backward", "step SGD", "zero_grad Net"),
        *("forward Net", "backward", "step RMSprop", "zero_grad RMSprop"),
    ]


def test_several_backwards_to_a_step_and_an_evaluation_without_grad() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop() -> None:
        for _ in range(2):
            model(X).mean().backward()
        optimizer.step()
        with torch.no_grad():
            model(X)

    assert phases(loop) == ["forward Net", "backward"] * 2 + ["step SGD", "forward Net without grad"]


def test_a_phase_that_raised_is_over() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def refuses() -> float:
        raise ValueError("refused")

    seen = Seen()
    with observe(LoopPhases(seen).consumer()):
        with pytest.raises(ValueError, match="refused"):
            optimizer.step(refuses)
        with pytest.raises(RuntimeError):
            model(X[:, :2])
        with pytest.raises(RuntimeError):
            model(X).backward()  # no scalar: the engine is not called
        optimizer.zero_grad()
    assert [line(each) for each in seen] == [
        *("step SGD begins", "forward Net begins", "forward Net"),
        *("forward Net begins", "forward Net", "zero_grad SGD begins", "zero_grad SGD"),
    ]


def test_a_held_workload_is_one_more_loop_that_is_watched() -> None:
    held, seen = hold(Net()), Seen()
    with observe(LoopPhases(seen).consumer()):
        run(held, F, B, S, Z)
    begun = [each.name for each in seen if each.edge == "begins"]
    assert begun == ["forward", "backward", "step", "zero_grad"]


# -- what is hooked ----------------------------------------------------------------------------------------------------
def hooked() -> dict[str, object]:
    """Return what may be hooked of torch, as it is now."""
    return {
        "enter": tuple(hooks_of_all._global_forward_pre_hooks.values()),
        "leave": tuple(hooks_of_all._global_forward_hooks.values()),
        "ops": torch._C._len_torch_function_stack(),
        "functions": vars(torch.autograd.function._SingleLevelFunction).get("apply"),
        "engine": torch.autograd._engine_run_backward,  # type: ignore[attr-defined]
        "step begins": tuple(optimizers._global_optimizer_pre_hooks.values()),
        "step ended": tuple(optimizers._global_optimizer_post_hooks.values()),
        "scaler": torch.amp.GradScaler._maybe_opt_step,
        "scaler calls": tuple(vars(torch.amp.GradScaler)[name] for name in ("scale", "unscale_", "step", "update")),
        "schedulers": tuple(vars(each)["step"] for each in (schedulers.LRScheduler, schedulers.ReduceLROnPlateau)),
        "clips": clip_grad._group_tensors_by_device_and_dtype,
        "zero_grad": (Optimizer.zero_grad, nn.Module.zero_grad),
        "warnings": warnings.showwarning,
    }


@pytest.mark.parametrize(
    ("kind", "installed"),
    [
        (ModuleEntered, {"enter"}),
        (ModuleLeft, {"leave"}),
        (OpRan, {"ops", "enter", "leave", "warnings"}),  # composites are one op
        (FunctionEntered, {"functions", "warnings"}),
        (FunctionLeft, {"functions", "warnings"}),
        (EngineEntered, {"engine"}),
        (EngineLeft, {"engine"}),
        (NodeAbout, {"engine"}),
        (NodeRan, {"engine"}),
        (GradientArrives, {"engine"}),
        (StepEntered, {"step begins"}),
        (StepLeft, {"step ended"}),
        (StepSkipped, {"scaler"}),
        (ZeroEntered, {"zero_grad"}),
        (Zeroed, {"zero_grad"}),
        (GradientsClipped, {"clips"}),
        (SchedulerSteps, {"schedulers"}),
        (ScalerCalled, {"scaler calls"}),
    ],
)
def test_what_nobody_asks_for_is_not_hooked(kind: type, installed: set[str]) -> None:
    before = hooked()
    with observe({kind: lambda _: None}):
        inside = hooked()
        with observe({kind: lambda _: None}):
            assert hooked() == inside  # once, however many ask for it
        assert hooked() == inside
    assert {name for name, there in inside.items() if there != before[name]} == installed
    assert hooked() == before


def test_clipping_schedulers_and_scalers_are_observed_however_they_were_imported() -> None:
    net, seen, clip = Net(), list[str](), clip_grad.clip_grad_value_
    optimizer, scaler = torch.optim.SGD(net.parameters(), lr=0.1), torch.amp.GradScaler("cpu")
    schedule = schedulers.SequentialLR(
        optimizer, [schedulers.ConstantLR(optimizer), schedulers.StepLR(optimizer, 2)], [2]
    )
    kinds: Any = {
        GradientsClipped: lambda event: seen.append(f"clips {len(event.gradients)}"),
        ScalerCalled: lambda event: seen.append(event.name),
        SchedulerSteps: lambda event: seen.append(type(event.scheduler).__name__),
    }
    with observe(kinds):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # every .grad is None
        schedulers.ExponentialLR(optimizer, 0.9)  # its constructor steps it, which is not a call of the user's
        scaler.scale(net(X).sum()).backward()
        scaler.unscale_(optimizer)
        nn.utils.get_total_norm([each.grad for each in net.parameters() if each.grad is not None])
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        clip(net.a.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
        schedule.step()
    assert seen == [
        "clips 0",
        "scale",
        "unscale_",
        "clips 4",
        "clips 2",
        "step",
        "update",
        "SequentialLR",
        "ConstantLR",
    ]


def test_a_step_that_is_observed_writes_no_more_than_before() -> None:
    optimizer = torch.optim.SGD(Net().parameters(), lr=0.1)
    with observe({StepEntered: lambda _: None, StepLeft: lambda _: None}):
        assert is_torchs(optimizer)
        with optimizers.register_optimizer_step_post_hook(lambda *_: None):
            assert not is_torchs(optimizer)
    assert is_torchs(optimizer)


def test_no_bit_of_a_loop_changes_under_every_kind() -> None:
    seen: list[Any] = []
    kinds = (ModuleEntered, ModuleLeft, OpRan, FunctionEntered, EngineEntered, NodeAbout, NodeRan, StepLeft, Zeroed)
    alone, watched = Net("not reentrant"), Net("not reentrant")
    losses = plain(alone)
    with observe({kind: lambda event: seen.append(type(event)) for kind in kinds}):
        assert plain(watched) == losses
    assert {*kinds} - {FunctionEntered} == {*seen}
    for one, other in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_warning_of_torchs_names_the_line_that_called_the_operation() -> None:
    value, always = torch.ones(1, requires_grad=True), torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings(record=True) as shown, observe({OpRan: lambda _: None}):
            warnings.simplefilter("always")
            line, _ = currentframe().f_lineno, float(value)  # type: ignore[union-attr]
            warnings.warn("the user's own", stacklevel=1)
    finally:
        torch.set_warn_always(always)
    assert [(each.filename, each.lineno) for each in shown] == [(__file__, line), (__file__, line + 1)]


def test_a_rollback_ends_what_began_in_the_phase_and_nothing_before_it() -> None:
    held, seen, before = hold(Net()), list[str](), hooked()
    with observe({StepLeft: lambda _: seen.append("step")}):
        outside = hooked()
        failed(held, B)  # there is no loss
        assert hooked() == outside
        run(held, F, B, S)
    assert seen == ["step"]
    assert hooked() == before


# -- the nodes of a backward that nobody has recorded ------------------------------------------------------------------
def test_nodes_are_told_before_and_after_they_run_leaves_before_they_are_added() -> None:
    model, seen = nn.Linear(4, 2), list[str]()
    told = {
        NodeAbout: lambda event: seen.append(f"about {event.node.name()}"),
        NodeRan: lambda event: seen.append(f"ran {event.node.name()}"),
        GradientArrives: lambda event: seen.append(f"{tuple(event.leaf.shape)} had {event.leaf.grad}"),
    }
    loss = model(X).sum()
    with observe(told, leaves=[model.bias]):
        loss.backward()
    leaf = "torch::autograd::AccumulateGrad"
    assert seen == [
        *("about SumBackward0", "ran SumBackward0", "about AddmmBackward0", "ran AddmmBackward0"),
        *(f"about {leaf}", "(2,) had None", f"ran {leaf}"),
        *("about TBackward0", "ran TBackward0", f"about {leaf}", f"ran {leaf}"),
    ]


def test_a_hook_that_a_script_has_put_back_is_removed_the_next_time_anything_is_observed() -> None:
    before = hooked()
    with observe({EngineEntered: print}):
        ours = torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    torch.autograd._engine_run_backward = ours  # type: ignore[attr-defined]
    with observe({ModuleEntered: print}):
        pass
    assert hooked() == before


def test_few_nodes_of_a_long_graph_have_hooks_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    put, hooked, ran = engine._NodeHooks.put, list[int](), list[int]()

    def counted(self: engine._NodeHooks, numbers: list[int]) -> None:
        put(self, numbers)
        hooked.append(len(self._handles))

    monkeypatch.setattr(engine._NodeHooks, "put", counted)
    x = torch.ones(2, requires_grad=True)
    y = x
    for _ in range(40):
        y = y.sin() + y.cos()
    with observe({NodeRan: lambda event: ran.append(event.number)}):
        y.sum().backward()
    assert ran == list(range(40 * 3 + 2))
    assert max(hooked) <= 4


def test_what_a_consumer_returns_of_a_node_flows_on() -> None:
    model = nn.Linear(4, 2)

    def twice(event: NodeRan) -> Any:
        return tuple(v if v is None else 2 * v for v in event.left) if event.number == 0 else None

    with observe({NodeRan: twice}):
        model(X).sum().backward()
    assert model.bias.grad is not None
    assert model.bias.grad.tolist() == [6.0, 6.0]


def test_a_warning_of_torch_is_shown_once_at_each_line_that_calls_the_operation() -> None:
    def twice() -> None:
        functional.softmax(X)
        functional.softmax(X)

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        with observe({OpRan: lambda _: None}):
            twice()
            twice()
        twice()
    first = twice.__code__.co_firstlineno
    assert [(each.filename, each.lineno - first) for each in shown] == [(__file__, 1), (__file__, 2)]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = hooked()
    yield
    assert hooked() == before
