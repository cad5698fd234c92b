"""The phases of a training loop and the next batch, each as PyTorch calls on the real model."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.buffers import is_written
from gradstep.engine.debuggee.loop import Act, Point
from gradstep.engine.debuggee.optimizers import step_scheduler
from gradstep.engine.held import Held
from gradstep.engine.observe.compiled import runs_once
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.forward import Watched, watch_forward
from gradstep.engine.observe.stream import StepLeft, Zeroed
from gradstep.engine.stepping.gradient_edits import Flows
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad
from gradstep.values.errors import wrong

QUICK = 0.05
"""Seconds of a forward up to which its source lines are always recorded, at a cost of a third of its time."""


class Taps(Protocol):
    """Contexts around a phase in which it can stop, and gradients can be edited."""

    @property
    def act(self) -> Act:
        """The phase, with its gradient edits so far."""
        ...

    @property
    def flows(self) -> Flows | None:
        """The gradient edits of this backward so far; None without any."""
        ...

    @property
    def ops(self) -> bool:
        """True when a forward is observed op by op."""
        ...

    def pause(self) -> bool:
        """Stop at the first place; return False if it can't."""
        ...

    def forward(self, watched: Watched) -> AbstractContextManager[None]:
        """Return the context for a forward; `watched` is the record of it."""
        ...

    def backward(self) -> AbstractContextManager[None]:
        """Return the context for a backward."""
        ...


class PhaseRun(NamedTuple):
    """How a phase is run."""

    taps: Taps | None
    """The taps of a phase that is stepped; None otherwise."""
    observed: bool
    """False when no view is shown: only what gradstep itself needs is then observed."""
    pulled: Callable[[], None]
    """Called when the phase took a batch itself."""


def carry_out(held: Held, act: Act, run: PhaseRun) -> None:
    """Carry out one phase, or take the next batch."""
    _PHASES[type(act)](held, act, run)


def _forward(held: Held, _: Forward, run: PhaseRun) -> None:
    if not held.batches.taken:
        held.batches.take()
        run.pulled()
    batch = held.batches.batch
    began = time.perf_counter()
    if run.observed or held.workload.loss is None:
        # the forward may itself run a backward, and stop at its nodes
        lines = held.recording.lines or (run.taps is not None and run.taps.ops)
        with watch_forward(held.paths, held.model, held.recording.zeros, lines) as watched, ExitStack() as stack:
            if run.taps is not None:
                stack.enter_context(run.taps.forward(watched))
            loss = held.compute(batch)
    else:
        watched = Watched()
        loss = held.compute(batch, watched)
    held.quick = time.perf_counter() - began < QUICK
    if not isinstance(loss, Tensor):
        raise wrong(
            "the loss is not a tensor",
            f"the loss function returned a {type(loss).__name__}",
            "return the tensor itself: no .item(), no float()",
        )
    value = _value(loss)
    old = held.point
    start = () if {"step", "zero_grad"} & set(old.done) else old.done
    held.point = Point(
        phase="forward",
        torch="prediction = model(x); loss = loss_fn(prediction, target)"
        if held.workload.loss is not None
        else "loss = compute_loss(model, batch)",
        done=_with(start, "forward"),
        iteration=old.iteration,
        loss=loss,
        value=value,
        change=None if value is None or old.value is None else value - old.value,
        used_batch=True,
        batch=batch,
        watched=watched,
    )
    held.losses.append((old.iteration, float("nan") if value is None else value))
    held.loss_rates.append(held.rates())


def _backward(held: Held, act: Backward, run: PhaseRun) -> None:
    loss = held.point.loss
    if loss is None:
        raise wrong(
            "there is no loss yet",
            "in a script, loss.backward() would raise NameError: name 'loss' is not defined",
            "run forward first",
        )
    retain = act.retain_graph or _will_be_refused(held)
    tapped = nullcontext() if run.taps is None or held.graph() is None else run.taps.backward()
    call = EngineCall("torch.autograd.backward", (loss,), (None,), (), accumulates=True)
    with tapped, held.bookkeeper.backward(call):
        loss.backward(retain_graph=retain)  # type: ignore[no-untyped-call]
    flows = None if run.taps is None else run.taps.flows
    changed = "" if flows is None else "  # with v edited, as a hook does"
    held.point = replace(
        held.point,
        phase="backward",
        torch=("loss.backward(retain_graph=True)" if act.retain_graph else "loss.backward()") + changed,
        flows=flows,
        done=_with(held.point.done, "backward"),
        written=held.bookkeeper.written,
        ran=True,
        freed=held.point.freed or not retain,
    )


def _step(held: Held, _: Step, run: PhaseRun) -> None:
    rates, calls = held.rates(), list[float]()
    bookkeeper = held.bookkeeper
    if held.calls_closure:
        if not held.batches.taken:
            held.batches.take()
            run.pulled()
        with bookkeeper.watch(records=False):
            held.optimizer.step(partial(_closure, held, calls))  # type: ignore[arg-type]
    else:
        held.optimizer.step()
        bookkeeper.tell(StepLeft(held.optimizer))
    held.losses += [(held.point.iteration, loss) for loss in calls]
    held.loss_rates += [rates] * len(calls)
    if held.workload.schedule == "step":
        _step_schedulers(held)
    held.point = replace(
        held.point,
        phase="step",
        torch=f"optimizer.step({'closure' if held.calls_closure else ''})"
        + ("; scheduler.step()" if held.schedulers and held.workload.schedule == "step" else ""),
        done=_with(held.point.done, "step"),
        iteration=held.point.iteration + 1,
        written=bookkeeper.used,
        again=bookkeeper.again,
        calls=tuple(calls),
        steps_since_forward=held.point.steps_since_forward + bool(bookkeeper.used),
        rates_before=rates,
    )


def _zero_grad(held: Held, act: ZeroGrad, _run: PhaseRun) -> None:
    to_none = act.set_to_none is not False
    held.optimizer.zero_grad(set_to_none=to_none)
    held.bookkeeper.tell(Zeroed(held.optimizer, to_none))
    held.point = replace(
        held.point,
        phase="zero_grad",
        torch="optimizer.zero_grad()" if to_none else "optimizer.zero_grad(set_to_none=False)",
        done=_with(held.point.done, "zero_grad"),
    )


def _next_batch(held: Held, _: NextBatch, _run: PhaseRun) -> None:
    rates = held.rates()
    if held.batches.take() and held.workload.schedule == "epoch":
        _step_schedulers(held)
    held.point = replace(
        held.point, phase="next_batch", torch="x, target = next(batches)", used_batch=False, rates_before=rates
    )


def _value(loss: Tensor) -> float | None:
    return float(loss.item()) if loss.numel() == 1 and not loss.is_complex() and not loss.is_meta else None


def _will_be_refused(held: Held) -> bool:
    """Return whether a step wrote what the graph saved: torch raises half way, with the first half freed."""
    graph = held.graph() if held.point.steps_since_forward else None
    return graph is not None and not runs_once(graph.nodes) and any(map(is_written, graph.nodes))


def _closure(held: Held, calls: list[float]) -> Tensor:
    """Clear gradients, run forward and backward, record the loss: the closure of an optimizer such as LBFGS."""
    held.optimizer.zero_grad()
    loss = held.compute(held.batches.batch)
    value = _value(loss)
    calls.append(float("nan") if value is None else value)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss


def _step_schedulers(held: Held) -> None:
    for scheduler in held.schedulers:
        step_scheduler(scheduler, held.point.value)


def _with(done: tuple[str, ...], phase: str) -> tuple[str, ...]:
    return done if phase in done else (*done, phase)


_PHASES: dict[type[Act], Callable[[Held, Any, PhaseRun], None]] = {
    Forward: _forward,
    Backward: _backward,
    Step: _step,
    ZeroGrad: _zero_grad,
    NextBatch: _next_batch,
}
