"""A script's model, optimizer, batch and loss, copied into a workload that gradstep runs itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.debuggee.optimizers import needs_closure
from gradstep.engine.held import Held
from gradstep.engine.observe.strays import leaves_of
from gradstep.engine.script.found import NoOptimizer
from gradstep.engine.script.tape import Tape
from gradstep.values import numbers
from gradstep.values.errors import GradstepError, wrong
from gradstep.workload import Workload


class Trained(NamedTuple):
    """What a script trains, at a stop."""

    held: Held
    tape: Tape | None
    """Its last forward; None where none was recorded."""
    began: Randomness | None
    """The generators before that forward."""
    optimizers: Sequence[Optimizer]
    variables: Sequence[object]
    """The script's variables, among which its schedulers are and its `GradScaler`."""
    in_step: bool = False
    """True in a closure that a step calls."""

    @property
    def computed(self) -> bool:
        """True while the weights are those that the last forward used."""
        return self.held.point.loss is not None and not self.held.point.steps_since_forward


def held_workload(trained: Trained, name: str) -> tuple[Workload, str]:
    """Return a workload made of copies, and what there is to say of it.

    Args:
        trained: what the script trains.
        name: what the workload is called.

    Raises:
        GradstepError: no forward was recorded, or a part of it can't be copied or made again.
    """
    held, tape = trained.held, trained.tape
    if tape is None or not tape.calls:
        remedy = "run `forward` first: it is recorded"
        raise wrong("there is no forward to copy", "the last one was not recorded", remedy)
    if tape.loss is None:
        raise wrong(
            "the loss can't be computed again",
            "no call that was seen returned it: custom C++ code or numpy may have",
            "hold a forward whose loss is computed by torch",
        )
    if tape.opaque:
        what = f"a {tape.opaque[0]}, which was passed on, holds tensors that no call that was seen returned"
        raise wrong("the loss can't be computed again", what, "hold a forward whose calls take tensors")
    optimizer = _optimizer_of(trained)
    if optimizer is None:
        raise _no_optimizer(held)
    if trained.in_step and needs_closure(optimizer):
        what = f"{type(optimizer).__name__} is in the middle of its step: this forward is one of its closure's"
        raise wrong("the optimizer can't be copied here", what, "run `step` first, then `hold`")
    memo: dict[int, Any] = {}
    try:
        model: nn.Module = copy.deepcopy(held.model, memo)
        copied = _copied_optimizer(optimizer, memo)
        played = tape.copied(memo)
        for parameter in held.names:
            if parameter.grad is not None and id(parameter) in memo:
                memo[id(parameter)].grad = parameter.grad.detach().clone()
        schedulers = _schedulers_of(trained, optimizer)
        stepped = [copy.deepcopy(each, memo) for each in schedulers]
    except Exception as error:
        what = f"copying it raised {type(error).__name__}: {error}"
        raise wrong("this can't be copied into a workload", what, "hold a simpler part, or write a Workload") from error

    def compute_loss(_: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return played.play(batch)

    notes = _notes(trained, tape, played, optimizer, schedulers)
    scales = [float(scale) for each in trained.variables if (scale := _scale_of(each)) is not None]
    if scales and played.unscale(scales):
        notes.append("The scale of GradScaler is left out: the copy's loss and gradients are not scaled.")
    notes.append("The data loader stays with the script: `release` goes back to it.")
    workload = Workload(
        model,
        compute_loss=compute_loss,
        optimizer=copied,
        batches=[played.given],
        schedulers=stepped,
        name=name,
    )
    return workload, "\n".join(notes)


def _no_optimizer(held: Held) -> GradstepError:
    title = "there is no optimizer to hold"
    if held.point.steps:
        remedy = "a workload is updated by an optimizer, such as torch.optim.SGD: let the script use one"
        return wrong(title, "the script updates its weights itself", remedy)
    return wrong(title, "the script has used none so far", "step past its first optimizer.step")


def _notes(
    trained: Trained, tape: Tape, played: Tape, optimizer: Optimizer, schedulers: Sequence[LRScheduler]
) -> list[str]:
    modules = sum(isinstance(call.function, nn.Module) for call in tape.calls)
    calls = numbers.count(modules, "module call"), numbers.count(len(tape.calls) - modules, "operation")
    lines = [f"Held a copy: {calls[0]} and {calls[1]} lead to the loss."]
    if tape.lost:
        lines.append(f"Kept as it was, without its graph: {', '.join(tape.lost)}.")
    if trained.computed and trained.began is not None:
        lines.append(_checked(trained.held, played, trained.began))
    if len(trained.optimizers) > 1:
        lines.append(f"It steps {_words(optimizer, trained)}; the script's other optimizers are not in it.")
    left = [each for each in _schedulers_in(trained, optimizer) if each not in schedulers]
    lines += [f"{type(each).__name__} is not in it: it does not step once for each optimizer step." for each in left]
    return lines


def _words(optimizer: Optimizer, trained: Trained) -> str:
    names = [
        trained.held.names[p] for group in optimizer.param_groups for p in group["params"] if p in trained.held.names
    ]
    return f"the {type(optimizer).__name__} of {numbers.listed(names)}" if names else type(optimizer).__name__


def _optimizer_of(trained: Trained) -> Optimizer | None:
    """Return the optimizer of what the loss reaches; of several, the one that was not used last: it comes next."""
    loss, last = trained.held.point.loss, trained.held.optimizer
    reached = set(map(id, leaves_of(loss.grad_fn))) if loss is not None and loss.grad_fn is not None else set()
    able = [
        each
        for each in trained.optimizers
        if any(id(p) in reached for group in each.param_groups for p in group["params"])
    ]
    waiting = [each for each in able if each is not last]
    found = (waiting or able or [last])[0]
    return None if isinstance(found, NoOptimizer) else found


def _copied_optimizer(optimizer: Optimizer, memo: dict[int, Any]) -> Optimizer:
    """Return a copy; `copy.deepcopy` leaves out what an optimizer has beyond its state and groups, as LBFGS does."""
    copied = copy.deepcopy(optimizer, memo)
    for name, value in vars(optimizer).items():
        if name not in vars(copied) and not callable(value):
            setattr(copied, name, copy.deepcopy(value, memo))
    return copied


def _schedulers_in(trained: Trained, optimizer: Optimizer) -> list[LRScheduler]:
    found = [each for each in trained.variables if isinstance(each, LRScheduler) and each.optimizer is optimizer]
    return list(dict.fromkeys(found))


def _schedulers_of(trained: Trained, optimizer: Optimizer) -> list[LRScheduler]:
    """Return the schedulers of an optimizer that step once for each of its steps."""
    steps = trained.held.point.iteration
    return [each for each in _schedulers_in(trained, optimizer) if each.last_epoch == steps > 0]


def _scale_of(value: object) -> Tensor | None:
    scale = vars(value).get("_scale") if isinstance(value, torch.amp.GradScaler) else None
    return scale if isinstance(scale, Tensor) else None


def _checked(held: Held, played: Tape, began: Randomness) -> str:
    """Run the forward once on a further copy, and compare its loss with the script's."""
    loss, now = held.point.loss, held.keeper.capture()
    assert loss is not None
    try:
        other = played.copied({})
        held.keeper.restore(began)
        with torch.enable_grad():
            again = other.play(other.given)
    except Exception as error:
        return f"It can't be run again as it was: {type(error).__name__}: {error}"
    finally:
        held.keeper.restore(now)
    if same_bits(again.detach(), loss.detach()):
        return "Its forward gives the script's loss again, bit for bit."
    return (
        f"Its forward gives another loss, {again.item():.6g} for {loss.item():.6g}: it depends on what was not copied."
    )
