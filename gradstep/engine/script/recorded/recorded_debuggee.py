"""A debuggee with the contents of a recorded stop of a script, for the views to look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.engine.held import Held
from gradstep.engine.script.recorded.recorded_stops import PARTS, RecordedStop
from gradstep.engine.state.buffers import Buffers
from gradstep.engine.state.gradients import Gradients
from gradstep.engine.state.loop import CapturedLoop, Loop
from gradstep.engine.state.modes import Modes
from gradstep.engine.state.optimizer import CapturedOptimizer, OptimizerPart
from gradstep.engine.state.parameters import Parameters
from gradstep.engine.state.part import Key
from gradstep.engine.state.saved import Copies, Saved
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.workload import Workload


def debuggee_of(recorded: RecordedStop, losses: Sequence[Any], rates: Sequence[Any]) -> Held:
    """Return a debuggee with the contents of a record; what was returned before must no longer be used.

    Args:
        recorded: the record.
        losses: the losses up to that stop.
        rates: the learning rates at each of them.
    """
    now, skeleton = recorded.now, recorded.skeleton
    requires = dict(zip(skeleton.names, now.captured[Parameters.name], strict=True))
    weights = {
        key[1]: nn.Parameter(image.contents.detach(), requires[key[1]])
        for key, image in now.images.items()
        if key[0] == "weight" and image is not None
    }
    for slots, key, (kind, name) in skeleton.slots:
        slots[key] = weights.get(name) if kind == "weight" else _contents(now, ("buffer", name))
    for name, weight in weights.items():
        weight.grad = _contents(now, ("grad", name))
    optimizer = _filled(now.captured[OptimizerPart.name], weights)
    workload = Workload(skeleton.model, compute_loss=_not_run, optimizer=optimizer, batches=[()])
    made = Held(workload, skeleton.device, loose={name: weights[name] for name in skeleton.loose if name in weights})
    Modes().restore(made, now.captured[Modes.name])
    loop: CapturedLoop = now.captured[Loop.name]
    made.point = replace(loop.point, loss=_with_graph(loop.point.loss))
    made.ledger.restore(loop.accounts)
    made.losses, made.loss_rates = list(losses), list(rates)
    series, names = recorded.series
    made.loss_series = series[: len(made.losses)]
    made.loss_names = names[: max(made.loss_series, default=-1) + 1]
    made.models = skeleton.models
    made.optimizers = [optimizer if each is None else _filled(each, weights) for each in recorded.optimizers]
    made.saved = _saved(recorded, weights, made)
    return made


def _saved(recorded: RecordedStop, weights: Mapping[str, nn.Parameter], held: Held) -> Saved:
    before = recorded.before
    if before is None:
        return Saved(known=False)
    rows = [(key, image.contents) for key, image in before.images.items() if image is not None]
    there = {key: tensor for part in PARTS for key, tensor in part.tensors(held, part.present(held))}
    live = [contents if there.get(key) is None else there[key] for key, contents in rows]
    captured: dict[str, Any] = {}
    if Parameters.name in before.captured:
        captured[Parameters.name] = before.captured[Parameters.name]
    if Gradients.name in before.captured:
        captured[Gradients.name] = tuple([_contents(before, ("grad", name)) for name, _ in held.parameters])
    if Buffers.name in before.captured:
        captured[Buffers.name] = tuple([_contents(before, ("buffer", name)) for name, _, _ in held.buffer_slots])
    if OptimizerPart.name in before.captured:
        captured[OptimizerPart.name] = _with_parameters(before.captured[OptimizerPart.name], weights)
    copies = Copies([key for key, _ in rows], live, [each for _, each in rows], [0] * len(rows))  # type: ignore[arg-type]
    return Saved(copies, captured)


def _filled(plain: CapturedOptimizer, weights: Mapping[str, nn.Parameter]) -> Optimizer:
    """Return the optimizer of a recorded capture, with its groups and its state."""
    live = _with_parameters(plain, weights)
    vars(live.optimizer).update(
        param_groups=[{**were, "params": list(parameters)} for _, were, parameters in live.groups],
        state=defaultdict(dict, {owner: dict(were) for owner, _, were in live.state}),
    )
    return live.optimizer


def _with_parameters(plain: CapturedOptimizer, weights: Mapping[str, nn.Parameter]) -> CapturedOptimizer:
    """Return a recorded capture of an optimizer with parameters in place of their names."""
    return replace(
        plain,
        state=tuple([(weights[owner], None, were) for owner, _, were in plain.state if owner in weights]),
        groups=tuple(
            [({}, were, tuple([weights[name] for name in names if name in weights])) for _, were, names in plain.groups]  # type: ignore[index]
        ),
    )


def _contents(checkpoint: Checkpoint, key: Key) -> Tensor | None:
    image = checkpoint.images.get(key)
    return None if image is None else image.contents


def _with_graph(loss: Tensor | None) -> Tensor | None:
    """Return a loss that has a node again where it had one, for the views ask for that; the graph itself is gone."""
    if loss is None or not loss.requires_grad:
        return loss
    with torch.enable_grad():
        return loss.view_as(loss)


def _not_run(*_: object) -> Tensor:
    raise NotImplementedError("a recorded stop is not run")
