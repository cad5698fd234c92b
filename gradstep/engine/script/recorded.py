"""Recorded stops of a script: its tensors in copies that share what did not change, and a debuggee made of them."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.engine.autograd.graph import Owners
from gradstep.engine.bits import same_bits, size_of
from gradstep.engine.held import Held
from gradstep.engine.observe.forward import Watched
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.state.buffers import Buffers
from gradstep.engine.state.gradients import Gradients
from gradstep.engine.state.images import Image, Tally
from gradstep.engine.state.loop import CapturedLoop, Loop
from gradstep.engine.state.memory import copies_of
from gradstep.engine.state.modes import Modes
from gradstep.engine.state.optimizer import CapturedOptimizer, OptimizerPart
from gradstep.engine.state.parameters import Parameters
from gradstep.engine.state.part import Key, Part
from gradstep.engine.state.saved import Copies, Saved
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.workload import Workload

PARTS: tuple[Part[Any], ...] = (Parameters(), Gradients(), Buffers(), OptimizerPart(), Modes(), Loop())
"""The parts of the state that are recorded: reading them calls nothing of the script's."""
_PLAIN = frozenset({int, float, bool, str, complex, type(None), torch.dtype, torch.device})


class Recorded(Struct, frozen=True):
    """What was true at one stop. No tensor of the script's is in it."""

    now: Checkpoint
    """Contents, and the captures of `PARTS`; in these, tensors are copies, and names stand in place of parameters."""
    before: Checkpoint | None
    """The same of what the last phase may have written, from before it; None when unknown."""
    skeleton: Skeleton
    losses: int
    """How many losses there were."""
    series: tuple[list[int], list[str]]
    """Which loss of the script each of them is, and the names of these; the lists grow."""
    optimizers: tuple[CapturedOptimizer | None, ...]
    """The optimizers, without their state; None for the one that was used last, which is in `now`."""


class StopRecorder:
    """Copies what a script trains, and makes a debuggee of the copies."""

    def __init__(self, offload: bool = False) -> None:
        self.tally, self._offload = Tally(), offload
        self._last: Checkpoint | None = None
        self._images: dict[int, Image] = {}
        """The images of the last record, by the id of the tensor; contents decide whether one is still right."""
        self._skeleton: Skeleton | None = None

    def record(self, held: Held) -> Recorded:
        """Copy what has changed since the last record. Call it on the script's thread, at a stop."""
        with unobserved(), torch.inference_mode(False), torch.no_grad():
            rows = [row for part in PARTS for row in part.tensors(held, part.present(held))]
            images = self._images_of(rows, self._last)
            self._images = {id(tensor): image for key, tensor in rows if (image := images[key]) is not None}
            now = Checkpoint(images, _captured(held, images))
            before = self._before(held, now) if held.saved.known else None
        if self._skeleton is None or self._skeleton.of() is not held:
            self._skeleton = Skeleton(held)
        self._last = now
        several = [None if each is held.optimizer else _groups(held, each) for each in held.optimizers]
        series = held.loss_series, held.loss_names
        return Recorded(now, before, self._skeleton, len(held.losses), series, tuple(several))

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor; what is recorded with the same contents is its copy."""
        images = [self._images.get(id(tensor)) for tensor in tensors]
        same = [image is not None and same_bits(t, image.contents) for t, image in zip(tensors, images, strict=True)]
        fresh = iter(copies_of([t for t, known in zip(tensors, same, strict=True) if not known], self._offload))
        return [image.contents if known and image else next(fresh) for image, known in zip(images, same, strict=True)]

    def _images_of(self, rows: Iterable[tuple[Key, Tensor | None]], last: Checkpoint | None) -> dict[Key, Image | None]:
        images: dict[Key, Image | None] = {}
        shared: dict[int, Key] = {}
        fresh: list[tuple[Key, Tensor]] = []
        for key, tensor in rows:
            old = None if last is None else last.images.get(key)
            if tensor is None or tensor.is_meta:
                images[key] = None
            elif old is not None and same_bits(tensor, old.contents):
                images[key] = old
            else:
                fresh.append((key, tensor))
                images[key] = None
        once = {shared.setdefault(id(tensor), key): tensor for key, tensor in fresh}
        made = dict(zip(once, copies_of(list(once.values()), self._offload), strict=True))
        kept = {key: Image(copy, self.tally) for key, copy in made.items()}
        images.update((key, kept[shared[id(tensor)]]) for key, tensor in fresh)
        return images

    def _before(self, held: Held, now: Checkpoint) -> Checkpoint:
        """Return what was saved before the last phase, sharing with what is recorded."""
        saved, copies = held.saved, held.saved.copies.by_key()
        images: dict[Key, Image | None] = {}
        captured: dict[str, Any] = {}
        for part in PARTS:
            if part.name in saved.captured:
                rows = part.tensors(held, saved.captured[part.name])
                images.update(self._shared(rows, copies, now))
                captured[part.name] = None
        if Parameters.name in captured:
            captured[Parameters.name] = saved.captured[Parameters.name]
        if OptimizerPart.name in captured:
            captured[OptimizerPart.name] = _optimizer(held, saved.captured[OptimizerPart.name], images)
        return Checkpoint(images, captured)

    def _shared(
        self, rows: Iterable[tuple[Key, Tensor | None]], copies: Mapping[Key, Tensor], now: Checkpoint
    ) -> Iterator[tuple[Key, Image | None]]:
        recorded = (now,) if self._last is None else (now, self._last)
        for key, tensor in rows:
            contents = copies.get(key, tensor)
            known = [image for each in recorded if (image := each.images.get(key)) is not None]
            if contents is None:
                yield key, None
            else:
                same = next((each for each in known if each.contents is contents), None)
                same = same or next((each for each in known if same_bits(contents, each.contents)), None)
                yield key, same or Image(contents if key in copies else contents.detach().clone(), self.tally)


def bytes_of(held: Held) -> int:
    """Return the bytes of all tensors that a record has."""
    rows = (row for part in PARTS for row in part.tensors(held, part.present(held)))
    return sum({id(tensor): size_of(tensor) for _, tensor in rows if tensor is not None}.values())


def _captured(held: Held, images: Mapping[Key, Image | None]) -> dict[str, Any]:
    loop = Loop().capture(held)
    loss, watched = loop.point.loss, loop.point.watched
    if loss is not None:
        loss = loss.detach().clone().requires_grad_(loss.grad_fn is not None)
    ways = Watched(
        Owners(paths=list(watched.owners.paths)), watched.numbers, zeros=dict(watched.zeros), recorded=watched.recorded
    )
    point = replace(loop.point, batch=None, loss=loss, watched=ways, flows=None)
    return {
        Parameters.name: Parameters().capture(held),
        Modes.name: Modes().capture(held),
        OptimizerPart.name: _optimizer(held, OptimizerPart().present(held), images),
        Loop.name: CapturedLoop(point, loop.accounts, True),
    }


def _optimizer(held: Held, live: CapturedOptimizer, images: Mapping[Key, Image | None]) -> CapturedOptimizer:
    """Return an optimizer's capture with copies for its tensors, and names for its parameters."""

    def kept(entries: Any, *key: str) -> dict[str, Any]:
        found = {}
        for entry, value in entries.items() if isinstance(entries, dict) else ():
            image = images.get((*key, str(entry))) if isinstance(value, Tensor) else None
            if image is not None:
                found[entry] = image.contents
            elif _is_plain(value):
                found[entry] = value
        return found

    names = {id(parameter): name for name, parameter in held.parameters}
    state = [(names.get(id(owner), ""), entries) for owner, _, entries in live.state]
    return CapturedOptimizer(
        _blank_optimizer(live.optimizer),
        (),
        tuple([(name, None, kept(entries, "state", name)) for name, entries in state if name]),
        tuple(
            [
                ({}, kept(group, "group", str(place)), tuple([names.get(id(each), "") for each in parameters]))  # type: ignore[misc]
                for place, (_, group, parameters) in enumerate(live.groups)
            ]
        ),
    )


def _groups(held: Held, optimizer: Optimizer) -> CapturedOptimizer:
    """Return the capture of an optimizer's groups alone."""
    rows = [(group, tuple(group["params"])) for group in optimizer.param_groups]
    groups: tuple[tuple[dict[str, Any], dict[str, Any], tuple[nn.Parameter, ...]], ...]
    groups = tuple([({}, group, parameters) for group, parameters in rows])
    return _optimizer(held, CapturedOptimizer(optimizer, (), (), groups), {})


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) in (tuple, list) and all(map(_is_plain, value)))  # type: ignore[call-overload]


# -- a debuggee of copies ----------------------------------------------------------------------------------------------
class Skeleton:
    """A script's modules without their tensors and without what the script keeps in them: classes, paths, numbers."""

    def __init__(self, held: Held) -> None:
        self.of = weakref.ref(held)
        """What it was made of, to be recognised by."""
        self._device, self._models = held.device, held.models
        self._blank: dict[int, nn.Module] = {}
        self._slots: list[tuple[dict[str, Any], str, Key]] = []
        self._buffers: dict[int, dict[str, str]] = {id(slots): {} for _, slots, _ in held.buffer_slots}
        for name, slots, key in held.buffer_slots:
            self._buffers[id(slots)][key] = name
        self._model = self._copy(held.model, held.names)
        owned = {key[1] for _, _, key in self._slots if key[0] == "weight"}
        self._loose = [name for name, _ in held.parameters if name not in owned]
        self._names = [name for name, _ in held.parameters]

    def _copy(self, module: nn.Module, names: Mapping[Tensor, str]) -> nn.Module:
        if id(module) in self._blank:
            return self._blank[id(module)]
        made = self._blank[id(module)] = _blank_module(module)
        for key, parameter in module._parameters.items():
            made._parameters[key] = None
            if parameter is not None and parameter in names:
                self._slots.append((made._parameters, key, ("weight", names[parameter])))
        for key, name in self._buffers.get(id(module._buffers), {}).items():
            made._buffers[key] = None
            self._slots.append((made._buffers, key, ("buffer", name)))
        for key, child in module._modules.items():
            made._modules[key] = None if child is None else self._copy(child, names)
        return made

    def fill(self, recorded: Recorded, losses: Sequence[Any], rates: Sequence[Any]) -> Held:
        """Return a debuggee with the contents of a record; what was returned before must no longer be used.

        Args:
            recorded: a record of this skeleton.
            losses: the losses up to that stop.
            rates: the learning rates at each of them.
        """
        now = recorded.now
        requires = dict(zip(self._names, now.captured[Parameters.name], strict=True))
        weights = {
            key[1]: nn.Parameter(image.contents.detach(), requires[key[1]])
            for key, image in now.images.items()
            if key[0] == "weight" and image is not None
        }
        for slots, key, (kind, name) in self._slots:
            slots[key] = weights.get(name) if kind == "weight" else _contents(now, ("buffer", name))
        for name, weight in weights.items():
            weight.grad = _contents(now, ("grad", name))
        optimizer = _filled(now.captured[OptimizerPart.name], weights)
        workload = Workload(self._model, compute_loss=_not_run, optimizer=optimizer, batches=[()])
        made = Held(workload, self._device, loose={name: weights[name] for name in self._loose if name in weights})
        Modes().restore(made, now.captured[Modes.name])
        loop: CapturedLoop = now.captured[Loop.name]
        made.point = replace(loop.point, loss=_with_graph(loop.point.loss))
        made.ledger.restore(loop.accounts)
        made.losses, made.loss_rates = list(losses), list(rates)
        series, names = recorded.series
        made.loss_series = series[: len(made.losses)]
        made.loss_names = names[: max(made.loss_series, default=-1) + 1]
        made.models = self._models
        made.optimizers = [optimizer if each is None else _filled(each, weights) for each in recorded.optimizers]
        made.saved = _saved(recorded, weights, made)
        return made


def _saved(recorded: Recorded, weights: Mapping[str, nn.Parameter], held: Held) -> Saved:
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


class _Blank(Optimizer):
    """Takes the place of an optimizer whose class keeps its groups elsewhere."""

    def __init__(self) -> None:
        raise NotImplementedError


def _blank_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer of the same class, without calling anything of it."""
    kind = type(optimizer)
    odd = any(isinstance(getattr(kind, name, None), property) for name in ("param_groups", "state"))
    made: Optimizer = object.__new__(_named(kind, _Blank) if odd or hasattr(kind, "__del__") else kind)
    vars(made).update(param_groups=[], state=defaultdict(dict), defaults={})
    return made


def _blank_module(module: nn.Module) -> nn.Module:
    """Return a module of the same class with its plain attributes, without calling anything of it."""
    kind = type(module)
    odd = isinstance(module, torch.jit.ScriptModule) or hasattr(kind, "__del__")
    made: nn.Module = object.__new__(_named(kind, nn.Module) if odd else kind)
    nn.Module.__init__(made)
    own = vars(made)
    own.update((key, value) for key, value in vars(module).items() if key not in own and _is_plain(value))
    return made


def _named(kind: type, base: type) -> type:
    return type(kind.__name__, (base,), {"__module__": kind.__module__})


def _not_run(*_: object) -> Tensor:
    raise NotImplementedError("a recorded stop is not run")
