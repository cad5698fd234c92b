"""A phase as a transaction: what it may write is kept before it, and put back when it raises."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from gradstep.engine.aside import aside, begin_as
from gradstep.engine.autograd.buffers import is_freed
from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.batches import leaves
from gradstep.engine.debuggee.optimizers import is_torchs, writes_grad
from gradstep.engine.held import Held
from gradstep.engine.history.before import began_with
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.images import Images
from gradstep.engine.observe.forward import remove_left_hooks, watch_forward
from gradstep.engine.randomness import Randomness
from gradstep.engine.saving import Saved, Saver, TensorsSaved, put_grads_back, without_grads
from gradstep.values.commands import Backward, Forward, NextBatch, PhaseCommand, PointCommand, Step


class Recorder(Protocol):
    """A timeline, as far as a transaction knows it: what went through becomes a point of it."""

    images: Images
    current: TimelinePoint | None
    """Where the workload is; None while nothing is kept."""
    visiting: bool

    def next(self, command: PointCommand, saved: Saved | None) -> TimelinePoint | None:
        """Return the point that a command has led to; nothing is noted yet."""
        ...

    def record(self, point: TimelinePoint | None) -> None:
        """Note a point."""
        ...


class Transaction:
    """Keeps and puts back what the phases of one held workload may write."""

    def __init__(self, held: Held) -> None:
        self._held = held
        held.began_with = self._began_with
        self._timeline: Recorder | None = None
        self.keep_in(None)
        self._pulled: Randomness | None = None
        self._begun: Saved | None = None
        """What the act that runs has kept."""

    def keep_in(self, timeline: Recorder | None) -> None:
        """Leave what was kept, when an act has gone through, to a timeline; with None it is let go of at the next."""
        self._timeline = timeline
        images = timeline.images if timeline is not None and timeline.current is not None else None
        self._saver = Saver(images, self._held.offload)

    def begin(self, act: PhaseCommand | NextBatch) -> Saved:
        """Keep what this act may write.

        A torch optimizer reads `.grad`, and as a rule (`writes_grad`) writes neither it nor any generator; a user's
        own may write anything. The same goes for weights in a forward: of torch's own modules, only those in
        `held.renormalised` write them.
        """
        held = self._held
        saver = self._saver
        saved = Saved()
        saved.objects = {name: deepcopy(thing.state_dict()) for name, thing in held.stateful().items()}
        user_code = True
        if isinstance(act, (Forward, NextBatch)):
            batch = leaves(held.batches.batch) if isinstance(act, Forward) else ()
            saved.tensors = saver.tensors([*held.buffers(), *held.renormalised, *batch])
            saved.cursor = held.batches.cursor()
            if isinstance(act, Forward) and held.writes_weights():
                saved.weights = saver.tensors(held.parameters)
            if isinstance(act, NextBatch):
                saved.optimizer = saver.optimizer(held.optimizer, held.names)
        elif isinstance(act, Backward):
            hooked = any(parameter._post_accumulate_grad_hooks for _, parameter in held.parameters)
            saved.tensors = saver.tensors([*held.parameters, *held.buffers()] if hooked else held.buffers())
            if hooked:  # they may step an optimizer, as those do that never keep all gradients at once
                saved.optimizer = saver.optimizer(held.optimizer, held.names)
            saver.grads(saved, held.parameters, contents=True)
        elif isinstance(act, Step):
            user_code = held.calls_closure or bool(held.schedulers) or not is_torchs(held.optimizer)
            batch = leaves(held.batches.batch) if held.calls_closure else ()
            written = [*held.parameters, *held.buffers(), *batch] if user_code else held.parameters
            saved.tensors = saver.tensors(written)
            saved.optimizer = saver.optimizer(held.optimizer, held.names)
            if user_code or writes_grad(held.optimizer):
                saver.grads(saved, held.parameters, contents=True)
            if user_code:
                saved.cursor = held.batches.cursor()
        else:
            user_code = False
            saver.grads(saved, held.parameters, contents=act.set_to_none is False)
        if user_code:
            self._keep_the_rest(saved)
        self._begun = saved
        return saved

    def _began_with(self) -> Saved | None:
        """Return what the forward of the last loss began with; None where neither it nor its point is kept.

        Its `weights` are those that may differ from the present ones, or that the forward wrote.
        """
        held, timeline, point = self._held, self._timeline, self._held.point
        if held.forward_saved is not None and not point.steps_since_forward:
            return held.forward_saved
        if timeline is not None and timeline.current is not None and not timeline.visiting:
            return began_with(held, timeline.current)
        if held.forward_saved is None or point.steps_since_forward > 1 or point.phase != "step":
            return None
        return replace(held.forward_saved, weights=held.saved.tensors) if held.saved.tensors.live else None

    def _keep_the_rest(self, saved: Saved) -> None:
        """Keep what code of the user's may write that is no tensor."""
        held = self._held
        saved.training = [module.training for module in held.modules]
        saved.requires_grad = [parameter.requires_grad for _, parameter in held.parameters]
        saved.slots = [slots.get(key) for _, slots, key in held.buffer_slots]
        saved.randomness = held.keeper.capture()
        saved.grad_mode = torch.is_grad_enabled()

    def begin_edit(self, tensors: Sequence[tuple[str, Tensor]], grads: Sequence[tuple[str, nn.Parameter]]) -> Saved:
        """Keep what an edit may write: these tensors and gradients, and everything that is no tensor."""
        held, saved = self._held, Saved()
        saved.objects = {name: deepcopy(thing.state_dict()) for name, thing in held.stateful().items()}
        saved.tensors = self._saver.tensors(tensors)
        self._saver.grads(saved, grads, contents=True)
        saved.optimizer = self._saver.optimizer(held.optimizer, held.names, contents=False)
        self._keep_the_rest(saved)
        return saved

    def pulled(self) -> None:
        """Note that an act has taken its batch itself: it may write it, and depends on what is drawn from here on."""
        self._pulled = self._held.keeper.capture()
        if self._begun is not None:
            # at once: an interrupt may come at any line
            more = self._saver.tensors(leaves(self._held.batches.batch))
            self._begun.tensors = self._begun.tensors.plus(more)

    def keep(self, act: PointCommand, saved: Saved | None) -> None:
        """Note that an act went through: after a forward, `saved` is what the graph of the loss began with."""
        held = self._held
        point = None if self._timeline is None else self._timeline.next(act, saved)
        forward = isinstance(act, Forward)
        if forward and saved is not None:
            # as a rule none: copies would last as long as the graph
            saved.weights = _written(saved.weights, point)
        # what is noted is noted as one: nothing from here on can fail
        if self._timeline is not None:
            self._timeline.record(point)
        if forward:
            held.forward_saved = saved
            if saved is not None:
                saved.randomness = self._pulled or saved.randomness
        self._pulled = self._begun = None

    def roll_back(self, saved: Saved) -> None:
        """Put everything back as it was when `saved` was kept, the graph of the last loss included."""
        held = self._held
        self._pulled = self._begun = None
        remove_left_hooks()
        saved.tensors.restore()
        saved.weights.restore()
        self._put_buffers_back(saved.slots)
        put_grads_back(saved)
        if saved.optimizer is not None:
            saved.optimizer.restore(held.optimizer)
        if saved.cursor is not None:
            held.batches.restore(saved.cursor)
        for module, training in zip(held.modules, saved.training, strict=False):
            module.training = training
        for (_, parameter), requires in zip(held.parameters, saved.requires_grad, strict=False):
            parameter.requires_grad_(requires)
        if saved.grad_mode is not None:
            torch.set_grad_enabled(saved.grad_mode)
        if self._timeline is not None:
            self._timeline.images.abandon()
        try:
            self._put_objects_back(saved)
            if self._revive():
                self._put_objects_back(saved)
        finally:  # whatever a user's own load_state_dict raises
            if saved.randomness is not None:
                held.keeper.restore(saved.randomness)

    def _put_buffers_back(self, buffers: list[Tensor | None]) -> None:
        for (_, slots, key), buffer in zip(self._held.buffer_slots, buffers, strict=False):
            slots[key] = buffer

    def _put_objects_back(self, saved: Saved) -> None:
        for name, thing in self._held.stateful().items():
            if name in saved.objects:
                thing.load_state_dict(deepcopy(saved.objects[name]))

    def _revive(self) -> bool:
        """Build the graph of the last loss again when a failed backward has freed part of it; tell whether it tried.

        The forward that made it runs again from the generators and buffers it began with. Where that is no longer
        possible (a step came since), or gives another loss, the graph is left as freed, and torch will say so.
        """
        held, first = self._held, self._held.forward_saved
        loss, graph = held.point.loss, None if held.point.freed else held.graph()
        if loss is None or graph is None or not any(is_freed(node) for node in graph.nodes):
            return False
        again = None
        if first is not None and not held.point.steps_since_forward:
            try:
                with aside(held, False):
                    begin_as(held, first)
                    with without_grads(held.parameters), watch_forward(held.paths, held.model) as watched:
                        again = held.compute(held.point.batch)
            except BaseException:  # an interrupt too: there is a state to put back first
                again = None
        if again is not None and same_bits(again, loss):
            watched.zeros = held.point.watched.zeros
            held.point = replace(held.point, loss=again, watched=watched)
        else:
            held.point = replace(held.point, freed=True)
        return True


def _written(weights: TensorsSaved, point: TimelinePoint | None) -> TensorsSaved:
    """Return the weights that a forward wrote; where a point of a history has compared them it is asked."""
    return weights.written() if point is None or any(key[0] == "weight" for key in point.wrote) else TensorsSaved()
