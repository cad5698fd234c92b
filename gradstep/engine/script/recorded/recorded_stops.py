"""RecordedStop stops of a script: its tensors in copies that share what did not change, and a debuggee made of them."""

from __future__ import annotations

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
from gradstep.engine.script.recorded.blank import blank_optimizer, is_plain
from gradstep.engine.script.recorded.skeleton import Skeleton
from gradstep.engine.state.buffers import Buffers
from gradstep.engine.state.gradients import Gradients
from gradstep.engine.state.images import Image, Tally
from gradstep.engine.state.loop import CapturedLoop, Loop
from gradstep.engine.state.memory import copies_of
from gradstep.engine.state.modes import Modes
from gradstep.engine.state.optimizer import CapturedOptimizer, OptimizerPart
from gradstep.engine.state.parameters import Parameters
from gradstep.engine.state.part import Key, Part
from gradstep.engine.state.snapshot import Checkpoint

PARTS: tuple[Part[Any], ...] = (Parameters(), Gradients(), Buffers(), OptimizerPart(), Modes(), Loop())
"""The parts of the state that are recorded: reading them calls nothing of the script's."""


class RecordedStop(Struct, frozen=True):
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
    """Copies what a script trains."""

    def __init__(self, offload: bool = False) -> None:
        self.tally, self._offload = Tally(), offload
        self._last: Checkpoint | None = None
        self._images: dict[int, Image] = {}
        """The images of the last record, by the id of the tensor; contents decide whether one is still right."""
        self._skeleton: Skeleton | None = None

    def record(self, held: Held) -> RecordedStop:
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
        return RecordedStop(now, before, self._skeleton, len(held.losses), series, tuple(several))

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
            elif is_plain(value):
                found[entry] = value
        return found

    names = {id(parameter): name for name, parameter in held.parameters}
    state = [(names.get(id(owner), ""), entries) for owner, _, entries in live.state]
    return CapturedOptimizer(
        blank_optimizer(live.optimizer),
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
