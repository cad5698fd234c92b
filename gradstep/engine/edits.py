"""Edits: commands that change what is being trained. The runner carries out each one as a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.debuggee.optimizers import optimizer_named, remade_schedulers
from gradstep.engine.expressions.assign import AssignTarget, Value, assign_target, value_of
from gradstep.engine.expressions.names import Scope
from gradstep.engine.expressions.patterns import matching
from gradstep.engine.files.checkpoint_file import load, resolve_path
from gradstep.engine.held import Held
from gradstep.engine.state.part import Decoded
from gradstep.values import numbers
from gradstep.values.commands import Assign, Clip, EditCommand, Freeze, Mode, Restore, Seed, UseOptimizer
from gradstep.values.errors import wrong
from gradstep.values.expressions import expression_line


class Plan(NamedTuple):
    """What an edit will write."""

    tensors: Sequence[tuple[str, Tensor]] = ()
    """The tensors that it writes in place, by name."""
    graph: bool = False
    """True when the graph of the last loss may have saved some of them."""
    place: AssignTarget | None = None
    value: Value = None
    decoded: Sequence[Decoded] = ()
    """The contents of the file to restore."""


def plan(held: Held, command: EditCommand, scope: Scope) -> Plan:
    """Return what an edit will write; change nothing.

    Raises:
        GradstepError: the edit is not possible.
    """
    match command:
        case Assign(target, value):
            place = assign_target(held, target, scope)
            made = value_of(value, scope, place)
            written = [] if place.tensor is None else [place.tensor]
            written += [rate for group in place.groups if isinstance(rate := group[place.name], Tensor)]
            return Plan([(place.name, tensor) for tensor in written], place.kind == "tensor", place=place, value=made)
        case Clip():
            return Plan([(f"{name}.grad", p.grad) for name, p in held.parameters if p.grad is not None])
        case Restore(path, folder):
            decoded = load(held, resolve_path(path, folder))
            tensors = [(key[1], tensor) for each in decoded for key, tensor in each.writes]
            return Plan(tensors, True, decoded=decoded)
        case _:
            return Plan()


def write(held: Held, command: EditCommand, plan: Plan, scope: Scope) -> tuple[str, str]:
    """Carry out an edit; return what it prints, and the equivalent line of PyTorch."""
    match command:
        case Assign():
            assert plan.place is not None
            return _assign(held, command, plan.place, plan.value)
        case Freeze(pattern, on):
            return _freeze(held, pattern, on)
        case Clip(by, limit):
            return _clip(held, by, limit)
        case UseOptimizer(name, options):
            made, line = optimizer_named(name, options, held.optimizer, lambda each: value_of(each, scope))
            schedulers, word = remade_schedulers(held.workload, made)
            held.use_optimizer(made, schedulers)
            return f"{type(made).__name__} with fresh state{word}", line
        case Mode(training):
            held.model.train(training)
            word = (
                "training mode: dropout is active, batch norm uses batch statistics" if training else "evaluation mode"
            )
            return f"the model is in {word}", "model.train()" if training else "model.eval()"
        case Seed(seed):
            seed_everything(seed)
            return f"torch, python and numpy are seeded with {seed}", f"torch.manual_seed({seed})"
        case Restore(path):
            for part in plan.decoded:
                part.apply()
            return f"everything is restored from {path}", f"# restored from {path}"


def _assign(held: Held, command: Assign, place: AssignTarget, value: Value) -> tuple[str, str]:
    was = place.words()
    if place.kind == "hyper":
        place.put_hyper(value)
        now = place.words()
        return f"{place.line} {was} → {now}", f"{place.torch} = {now}"
    if place.kind == "grad":
        parameter = held.parameter(place.name)
        if value is None:
            parameter.grad = None
            held.ledger.cleared(place.name, True)
            return f"{place.line} is None, it was {was}", f"{place.torch} = None"
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
            place = place.at(parameter.grad)
        place.put(value)
        if not place.items and not torch.count_nonzero(parameter.grad):
            held.ledger.cleared(place.name, False)
    else:
        place.put(value)
    line = f"{place.torch} = {expression_line(command.value)}"
    return f"{place.line} is {place.words()}, it was {was}", f"with torch.no_grad(): {line}"


def _freeze(held: Held, pattern: str, on: bool) -> tuple[str, str]:
    names = matching(pattern, [name for name, _ in held.parameters])
    for name in names:
        held.parameter(name).requires_grad_(not on)
    count = f"{len(names)} parameter{'s' if len(names) > 1 else ''}"
    word = "no longer require a gradient" if on else "require a gradient"
    return f"{count} {word}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}", (
        f"for p in {len(names)} parameters: p.requires_grad_({not on})"
    )


def _clip(held: Held, by: str, limit: float) -> tuple[str, str]:
    parameters = [p for p in held.model.parameters() if p.grad is not None]
    if not parameters:
        raise wrong("there is no gradient to clip", "every .grad is None", "run backward first")
    if by == "value":
        nn.utils.clip_grad_value_(parameters, limit)
        line = f"torch.nn.utils.clip_grad_value_(model.parameters(), {limit!r})"
        return f"every element of .grad is within ±{limit:g}", line
    total = float(nn.utils.clip_grad_norm_(parameters, limit))
    word = "clipped to" if total > limit else "already within"
    line = f"torch.nn.utils.clip_grad_norm_(model.parameters(), {limit!r})"
    return f"the norm of all gradients was {numbers.norm(total)}, {word} {limit:g}", line
