"""A held workload: the four phases on the real model, each a transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from msgspec import Struct, field
from msgspec.structs import replace
from torch import Tensor, nn

from gradstep.engine import loading
from gradstep.engine.addends import Addends
from gradstep.engine.batches import Batches
from gradstep.engine.buffers import is_written
from gradstep.engine.edits import edit
from gradstep.engine.graph import GraphRecord, record
from gradstep.engine.ledger import Ledger
from gradstep.engine.lines import Place
from gradstep.engine.names import Scope
from gradstep.engine.optimizers import needs_closure, optimizer_of, schedulers_of, step_scheduler
from gradstep.engine.probes import Watched, watch_forward
from gradstep.engine.problems import problem_of
from gradstep.engine.randomness import RandomKeeper
from gradstep.engine.saving import Saved
from gradstep.engine.transaction import Transaction
from gradstep.values.commands import ACT_NAMES, Backward, Forward, NextBatch, PointCommand, Step, ZeroGrad
from gradstep.values.errors import GradstepError, wrong
from gradstep.workload import Workload

Act = Forward | Backward | Step | ZeroGrad | NextBatch


class Point(Struct, frozen=True):
    """Where the loop stands; replaced whole by each phase, so that rolling back is keeping the old one."""

    phase: str = ""
    torch: str = ""
    done: tuple[str, ...] = ()
    iteration: int = 0
    loss: Tensor | None = None
    value: float | None = None
    change: float | None = None
    used_batch: bool = False
    """True when a forward has run on the batch that is held."""
    batch: Any = None
    """The batch that the loss was computed on."""
    watched: Watched = field(default_factory=Watched)
    written: tuple[str, ...] = ()
    """The parameters whose `.grad` the last backward wrote, or whose `.grad` the last step found."""
    steps_since_forward: int = 0
    """Steps since the last forward that found a gradient, and so may have moved the weights its graph is of."""
    ran: bool = False
    """True when a backward has run through the graph of the loss."""
    freed: bool = False
    """True when the graph of the loss was freed by a backward."""
    again: bool = False
    """True when the last step found nothing in `.grad` but what an earlier step had used already."""
    rates_before: tuple[float, ...] = ()
    """The learning rates before the last step or next_batch, the acts that can move a scheduler."""
    edit: str = ""
    """What an edit since the last phase did, in words; empty when a phase came last."""


class Taps(Protocol):
    """What stands round a phase that is stepped, so that it can stop inside."""

    def forward(self) -> AbstractContextManager[None]:
        """Return what stands round a forward."""
        ...

    def backward(self) -> AbstractContextManager[None]:
        """Return what stands round a backward."""
        ...


class Held:
    """Holds a model, its loss, optimizer and batches, and runs one phase at a time.

    A phase that raises leaves everything as it was before it: parameters, gradients, buffers, optimizer, generators,
    batch cursor, and the graph of the last loss.
    """

    def __init__(
        self, workload: Workload, device: torch.device, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        loading.check(workload)
        self.workload = workload
        self.device = device
        self.model = workload.model
        self.keeper = RandomKeeper()
        progress(f"moving the model to {device}")
        self.model.to(device)
        if isinstance(workload.loss, nn.Module):
            workload.loss.to(device)
        progress("building the optimizer")
        self.optimizer = optimizer_of(workload)
        self.schedulers = schedulers_of(workload, self.optimizer)
        self.calls_closure = needs_closure(self.optimizer)
        self.batches = Batches(workload.batches, device, self.keeper)
        self.paths: dict[nn.Module, str] = {module: path for path, module in self.model.named_modules()}
        self.kinds: dict[str, str] = {path: type(module).__name__ for module, path in self.paths.items()}
        """The class of each module, by its path."""
        self.modules = list(self.paths)
        self.parameters = list(self._all_parameters())
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in self.parameters}
        self.owned = frozenset(name for name, _ in self.model.named_parameters())
        """The names of the parameters that are the model's; the optimizer may have more."""
        self.buffer_slots = list(_buffer_slots(self.model))
        self.renormalised = list(_written_in_forward(self.model))
        self.ledger = Ledger()
        self.addends = Addends()
        self.point = Point()
        self.saved = _NOTHING
        self.losses: list[tuple[int, float]] = []
        self.loss_rates: list[tuple[float, ...]] = []
        """The learning rates that held at each of `losses`."""
        self.count_zeros = False
        """True while someone watches how many activations are zero."""
        self.note_lines = False
        """True while someone looks at the graph: a forward then notes the source line of each node."""
        self.quick = True
        """False when the last forward took longer than `QUICK`: lines are then noted only while the graph is seen."""
        self.running = False
        self.observed = True
        """True while someone looks, or goes on after a failure: each phase then keeps what it may write, and notes
        which module makes which node. Without it a phase that raises is not undone, and nothing is said to change."""
        self.refused = ""
        """The act that raised last and was undone; empty when the last one went through."""
        self.transaction = Transaction(self)
        self._taps: Taps | None = None
        self._acts: dict[type[Act], Callable[[Any], None]] = {
            Forward: self._forward,
            Backward: self._backward,
            Step: self._step,
            ZeroGrad: self._zero_grad,
            NextBatch: self._next_batch,
        }
        self._graph: tuple[GraphRecord, Tensor] | None = None
        """The record is let go of after the loss, see `engine/deep.py`: a tuple drops its last item first."""

    # -- what there is -------------------------------------------------------------------------------------------------
    def buffers(self) -> list[tuple[str, Tensor]]:
        """Return the model's buffers by name."""
        found = ((name, slots.get(key)) for name, slots, key in self.buffer_slots)
        return [(name, buffer) for name, buffer in found if buffer is not None]

    def tensor(self, name: str) -> Tensor | None:
        """Return the parameter or buffer of this name; a shared one has several."""
        path, _, own = name.rpartition(".")
        module = next((m for m in (self._module(path),) if m is not None), None)
        found = module._parameters.get(own, module._buffers.get(own)) if module is not None else None
        return found if found is not None else next((p for n, p in self.parameters if n == name), None)

    def parameter(self, name: str) -> nn.Parameter:
        """Return the parameter of this name, as `parameters` has it."""
        return next(parameter for each, parameter in self.parameters if each == name)

    def tensor_names(self) -> list[str]:
        """Return the names of all parameters and buffers, those of shared ones too."""
        named = [n for n, _ in self.model.named_parameters(remove_duplicate=False)]
        return named + [n for n, _ in self.model.named_buffers(remove_duplicate=False)]

    def rates(self) -> tuple[float, ...]:
        """Return the learning rate of each parameter group."""
        return tuple([float(group.get("lr", 0.0)) for group in self.optimizer.param_groups])

    def stateful(self) -> dict[str, Any]:
        """Return the further objects with `state_dict` that belong to the state, by name."""
        schedulers = {f"scheduler {i}": s for i, s in enumerate(self.schedulers)}
        return {**schedulers, **self.workload.state}

    def natural(self) -> tuple[str, ...]:
        """Return the lines of the natural next act: the phase that a training loop would run next."""
        point = self.point
        following = {"forward": "backward", "backward": "step", "step": "zero_grad"}.get(point.phase, "forward")
        # one batch is kept, unless taking it again is what ends an epoch for a scheduler
        ends_epoch = bool(self.schedulers) and self.workload.schedule == "epoch"
        takes = following == "forward" and point.used_batch and (ends_epoch or not self.batches.single)
        return ("next_batch", following) if takes else (following,)

    def graph(self) -> GraphRecord | None:
        """Return the graph of the last loss; None without one. Walked when first asked for."""
        loss = self.point.loss
        if loss is None or loss.grad_fn is None:
            return None
        if self._graph is None or self._graph[1] is not loss:
            self._graph = (record(loss.grad_fn, self.point.watched.owners, self.point.watched.lines), loss)
        return self._graph[0]

    def line_of(self, number: int) -> Place | None:
        """Return where node `number` of the graph was made; None when that was not noted."""
        graph = self.graph()
        if graph is None or graph.lines is None or number in graph.leaves:
            return None
        return graph.lines.at(graph.nodes[number]._sequence_nr())

    def forget_graph(self) -> None:
        """Let go of the graph that was walked: nothing but the loss may keep one alive."""
        self._graph = None

    # -- what it does --------------------------------------------------------------------------------------------------
    def run(self, act: Act, taps: Taps | None = None) -> None:
        """Carry out one phase, or take the next batch.

        Args:
            act: the phase.
            taps: what stands round a phase that is stepped.

        Raises:
            GradstepError: what the debuggee raised, as a problem; the state is as it was before.
        """
        point, accounts, count = self.point, self.ledger.copy(), len(self.losses)
        saved: Saved | None = None
        try:
            self.running, self._taps = True, taps
            self.point = replace(point, edit="") if point.edit else point
            self.saved = _NOTHING  # let go of cleared gradients before torch allocates new ones
            if self.observed:
                saved = self.transaction.begin(act)
                if taps is not None:  # at a stop inside, what it changed so far can be seen
                    self.saved = saved
            self._acts[type(act)](act)
            self.transaction.keep(act, saved)
            self.running = False
        except BaseException as error:
            self.running, self.saved = False, _NOTHING
            self.point = point
            self.ledger.restore(accounts)
            del self.losses[count:], self.loss_rates[count:]
            if saved is not None:
                self.transaction.roll_back(saved)
            self.refused = ACT_NAMES[type(act)]
            raise GradstepError(problem_of(error, self.refused)) from error
        finally:
            self._taps = None
        self.saved, self.refused = saved or _NOTHING, ""

    def carry_out(self, command: PointCommand, scope: Scope) -> str:
        """Carry out a phase, take the next batch, or change something; return what there is to say of it.

        Raises:
            GradstepError: it can't be done, or what the debuggee raised; the state is as it was before.
        """
        if not isinstance(command, Act):
            return edit(self, command, scope)
        self.run(command)
        return ""

    def use_optimizer(self, optimizer: torch.optim.Optimizer, schedulers: Sequence[Any]) -> None:
        """Put an optimizer and its schedulers in the place of the present ones."""
        if optimizer is not self.optimizer:
            self.optimizer, self.calls_closure = optimizer, needs_closure(optimizer)
        self.schedulers = list(schedulers)

    def _forward(self, _: Forward) -> None:
        if not self.batches.taken:
            self.batches.take()
            self.transaction.pulled()
        batch = self.batches.batch
        began = time.perf_counter()
        if self.observed or self.workload.loss is None:
            tapped = nullcontext() if self._taps is None else self._taps.forward()
            with watch_forward(self.paths, self.model, self.count_zeros, self.note_lines) as watched, tapped:
                loss = self.compute(batch)
        else:
            watched = Watched()
            loss = self.compute(batch, watched)
        self.quick = time.perf_counter() - began < QUICK
        if not isinstance(loss, Tensor):
            raise wrong(
                "the loss is no tensor",
                f"the loss function returned a {type(loss).__name__}",
                "return the tensor itself: no .item(), no float()",
            )
        value = float(loss.item()) if loss.numel() == 1 and not loss.is_complex() and not loss.is_meta else None
        old = self.point
        start = () if {"step", "zero_grad"} & set(old.done) else old.done
        self.point = Point(
            phase="forward",
            torch="prediction = model(x); loss = loss_fn(prediction, target)"
            if self.workload.loss is not None
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
        self.losses.append((old.iteration, float("nan") if value is None else value))
        self.loss_rates.append(self.rates())

    def _backward(self, act: Backward) -> None:
        loss = self.point.loss
        if loss is None:
            raise wrong(
                "there is no loss yet",
                "in a script, loss.backward() would raise NameError: name 'loss' is not defined",
                "run forward first",
            )
        before = [(p.grad, None if p.grad is None else p.grad._version) for _, p in self.parameters]
        retain = act.retain_graph or self._will_be_refused()
        tapped = nullcontext() if self._taps is None or self.graph() is None else self._taps.backward()
        with self.addends.watch(self.parameters), tapped:
            loss.backward(retain_graph=retain)  # type: ignore[no-untyped-call]
        written = []
        for (name, parameter), (grad, version) in zip(self.parameters, before, strict=True):
            if parameter.grad is not None and (parameter.grad is not grad or grad._version != version):
                written.append(name)
                recorded = self.addends.recorded(name)
                self.ledger.backward(name, grad is None, recorded, len(self.losses), self.point.value)
        self.point = replace(
            self.point,
            phase="backward",
            torch="loss.backward(retain_graph=True)" if act.retain_graph else "loss.backward()",
            done=_with(self.point.done, "backward"),
            written=tuple(written),
            ran=True,
            freed=self.point.freed or not retain,
        )

    def _step(self, _: Step) -> None:
        rates = self.rates()
        if self.calls_closure:
            if not self.batches.taken:
                self.batches.take()
            self.optimizer.step(self._closure)  # type: ignore[arg-type]
        else:
            self.optimizer.step()
        found: list[str] = []
        again = True
        for name in self._optimized():
            if self.calls_closure:  # the closure's last turn cleared and filled it
                self.ledger.backward(name, fresh=True)
            entry = self.ledger.entry(name)
            again = again and 0 < entry.added == entry.used
            self.ledger.step(name)
            found.append(name)
        if self.workload.schedule == "step":
            self._step_schedulers()
        self.point = replace(
            self.point,
            phase="step",
            torch="optimizer.step(); scheduler.step()"
            if self.schedulers and self.workload.schedule == "step"
            else "optimizer.step()",
            done=_with(self.point.done, "step"),
            iteration=self.point.iteration + 1,
            written=tuple(found),
            again=again and bool(found),
            steps_since_forward=self.point.steps_since_forward + bool(found),
            rates_before=rates,
        )

    def _zero_grad(self, act: ZeroGrad) -> None:
        to_none = act.set_to_none is not False
        self.optimizer.zero_grad(set_to_none=to_none)
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in self.names:
                    gone = to_none or parameter.grad is None
                    recorded = None if self.addends.wish is None else parameter
                    self.ledger.cleared(self.names[parameter], gone, recorded)
        self.point = replace(
            self.point,
            phase="zero_grad",
            torch="optimizer.zero_grad()" if to_none else "optimizer.zero_grad(set_to_none=False)",
            done=_with(self.point.done, "zero_grad"),
        )

    def _next_batch(self, _: NextBatch) -> None:
        rates = self.rates()
        if self.batches.take() and self.workload.schedule == "epoch":
            self._step_schedulers()
        self.point = replace(
            self.point, phase="next_batch", torch="x, target = next(batches)", used_batch=False, rates_before=rates
        )

    def _will_be_refused(self) -> bool:
        """Tell whether a step wrote what the graph saved. Torch finds out half way, and frees the first half."""
        graph = self.graph() if self.point.steps_since_forward else None
        return graph is not None and any(map(is_written, graph.nodes))

    def compute(self, batch: Any, seen: Watched | None = None) -> Tensor:
        """Run the model and the loss on a batch; return the loss, and leave the model's output in `seen`."""
        loss = self.workload.loss
        if loss is None:
            assert self.workload.compute_loss is not None
            return self.workload.compute_loss(self.model, batch)
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise wrong(
                "a batch is no (input, target) pair",
                f"it is a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""),
                "give batches of two, or compute_loss=(model, batch) in place of loss=",
            )
        output = self.model(batch[0])
        if seen is not None:
            seen.output = output
        return loss(output, batch[1])

    def _closure(self) -> Tensor:
        """What an optimizer such as LBFGS calls inside its step: clear, forward, backward."""
        self.optimizer.zero_grad()
        loss = self.compute(self.batches.batch)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def _optimized(self) -> Iterator[str]:
        """Yield the names of the optimizer's parameters that have a `.grad`."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter in self.names:
                    yield self.names[parameter]

    def _step_schedulers(self) -> None:
        for scheduler in self.schedulers:
            step_scheduler(scheduler, self.point.value)

    def _all_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        seen = set()
        for name, parameter in self.model.named_parameters():
            seen.add(parameter)
            yield name, parameter
        for g, group in enumerate(self.optimizer.param_groups):
            for i, parameter in enumerate(group["params"]):
                if parameter not in seen:
                    seen.add(parameter)
                    yield f"group{g}.{i}", parameter

    def _module(self, path: str) -> nn.Module | None:
        try:
            return self.model.get_submodule(path)
        except AttributeError:
            return None


_NOTHING = Saved()

QUICK = 0.05
"""Seconds of a forward up to which a third more, the price of noting lines, is not felt."""


def _with(done: tuple[str, ...], phase: str) -> tuple[str, ...]:
    return done if phase in done else (*done, phase)


def _buffer_slots(model: nn.Module) -> Iterator[tuple[str, dict[str, Tensor | None], str]]:
    """Yield each buffer's name and the place that holds it: a module may put another tensor there."""
    for path, module in model.named_modules():
        # a scripted module has no dict to put another tensor in, and never does
        scripted = isinstance(module, torch.jit.ScriptModule)
        slots = dict(module.named_buffers(recurse=False)) if scripted else module._buffers
        for key in slots:
            yield f"{path}.{key}" if path else key, slots, key


def _written_in_forward(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that a forward writes: embeddings with max_norm renormalise the rows they look up."""
    for path, module in model.named_modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
            yield f"{path}.weight" if path else "weight", module.weight
