"""A phase as a transaction: what it may write is saved before it, and restored if it raises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.buffers import is_freed
from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.debuggee.loop import Act
from gradstep.engine.held import Held
from gradstep.engine.history.before import began_with
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.observe.forward import watch_forward
from gradstep.engine.state import registry
from gradstep.engine.state.aside import aside
from gradstep.engine.state.batch import input_rows
from gradstep.engine.state.generators import Generators
from gradstep.engine.state.images import Images
from gradstep.engine.state.memory import Memory
from gradstep.engine.state.saved import Copies, Saved, Saver, without_grads, written_by
from gradstep.engine.state.snapshot import tensors_of
from gradstep.engine.state.writing import writing
from gradstep.values.commands import ACTS, Forward, PointCommand, Step


class PointRecorder(Protocol):
    """The part of a timeline that a transaction uses: each command that succeeds becomes a point."""

    images: Images
    current: TimelinePoint | None
    """The present point; None without a history."""
    visiting: bool

    def next(self, command: PointCommand, saved: Saved | None) -> TimelinePoint | None:
        """Return the point that a command led to, without recording it."""
        ...

    def record(self, point: TimelinePoint | None, seconds: float) -> None:
        """Record a point; `seconds` is how long its command took by itself."""
        ...


class Transaction:
    """Saves and restores what the phases of one held workload may write."""

    def __init__(self, held: Held) -> None:
        self._held = held
        held.began_with = self._began_with
        self._timeline: PointRecorder | None = None
        self._memory = Memory(held.offload)
        """Memory for the copies of a phase where no history is kept."""
        self.keep_in(None)
        self._pulled: Randomness | None = None
        self._begun: Saved | None = None
        """What was saved for the phase that is running."""

    def keep_in(self, timeline: PointRecorder | None) -> None:
        """Give the copies of each successful phase to a timeline; with None, release them at the next phase."""
        self._timeline = timeline
        images = timeline.images if timeline is not None and timeline.current is not None else None
        self._pool = self._memory if images is None else images.memory
        self._saver, self._held.lend = Saver(images or self._memory), self._pool.lend

    def prepare(self) -> Iterator[None]:
        """Prepare for the next phases, once there has been a step, in pieces of a few milliseconds.

        Memory is there for the copies of the next step, and what the next phase may write is copied now. Not right
        after a step: the next command may drop as much of the history.
        """
        held = self._held
        if held.point.iteration and held.point.phase != "step":
            yield from self._pool.prepare(self._written_by(Step()))
            yield from self._pool.copy_ahead(self._written_by(ACTS[held.natural()[-1]]))

    def _written_by(self, act: Act) -> list[Tensor]:
        return [tensor for _, tensor in written_by(self._held, writing(self._held, act))[1]]

    def begin(self, act: Act) -> Saved:
        """Save what this phase may write."""
        self._begun = self._saver.save(self._held, writing(self._held, act))
        self._pool.outdate()
        return self._begun

    def _began_with(self) -> Saved | None:
        """Return the state that the forward of the last loss started from; None when unknown.

        It has only the weights that the forward wrote, or that may have changed since.
        """
        held, timeline, point = self._held, self._timeline, self._held.point
        if held.forward_saved is not None and not point.steps_since_forward:
            return held.forward_saved
        if timeline is not None and timeline.current is not None and not timeline.visiting:
            return began_with(timeline.current)
        if held.forward_saved is None or point.steps_since_forward > 1 or point.phase != "step":
            return None
        if not held.saved.captured:
            return None
        # the forward wrote before the step, so its copies are restored last
        return replace(held.forward_saved, copies=held.saved.copies.of("weight").plus(held.forward_saved.copies))

    def begin_edit(self, tensors: Sequence[tuple[str, Tensor]]) -> Saved:
        """Save what an edit may write: these tensors, and all state other than tensor contents."""
        held = self._held
        keys = {id(tensor): key for key, tensor in tensors_of(held) if tensor is not None}
        rows = [(keys.get(id(tensor), ("input", name)), tensor) for name, tensor in tensors]
        self._pool.outdate()
        return Saved(self._saver.copy(rows), {part.name: part.capture(held) for part in registry.PARTS})

    def pulled(self) -> None:
        """Record that a phase took its batch itself: it may write the batch, and draws random numbers from here on."""
        self._pulled = self._held.keeper.capture()
        if self._begun is not None:
            # one assignment: an interrupt may come between any two lines
            more = self._saver.copy(input_rows(self._held.batches.batch))
            self._begun.copies = self._begun.copies.plus(more)

    def keep(self, act: PointCommand, saved: Saved | None, seconds: float = 0.0) -> None:
        """Record that a command succeeded, in `seconds`; after a forward, `saved` is what its graph started from."""
        held = self._held
        point = None if self._timeline is None else self._timeline.next(act, saved)
        forward = isinstance(act, Forward)
        if forward and saved is not None:
            # only the weights that it wrote, usually none: the copies live as long as the graph
            saved.copies = saved.copies.without("weight").plus(_written_weights(saved, point))
        began = self._rerun_state(saved) if forward and saved is not None else None
        self._memory.shrink()
        # nothing from here on can fail
        if self._timeline is not None:
            self._timeline.record(point, seconds)
        if forward:
            held.forward_saved = began
        self._pulled = self._begun = None

    def _rerun_state(self, saved: Saved) -> Saved:
        """Return the state from which a forward must be rerun on its own batch."""
        captured = {part.name: saved.captured[part.name] for part in registry.PARTS if part.restored_for_rerun}
        if self._pulled is not None:
            captured[Generators.name] = self._pulled
        return replace(saved, captured=captured)

    def roll_back(self, saved: Saved) -> None:
        """Restore the state from before the phase, the graph of the last loss included."""
        self._pulled = self._begun = None
        try:
            saved.restore(self._held)
        finally:
            if self._timeline is not None:
                self._timeline.images.abandon()
            self._revive()

    def _revive(self) -> None:
        """Rebuild the graph of the last loss if a failed backward has freed part of it.

        The forward is rerun from the generators and buffers it started from. If that is no longer possible (a step has
        run since), or gives another loss, the graph stays freed, and torch will raise on it.
        """
        held, first = self._held, self._held.forward_saved
        loss, graph = held.point.loss, None if held.point.freed else held.graph()
        if loss is None or graph is None or not any(is_freed(node) for node in graph.nodes):
            return
        again = None
        if first is not None and not held.point.steps_since_forward:
            try:
                with (
                    aside(held, any(key[0] == "weight" for key in first.copies.keys)),
                    without_grads(held),
                    watch_forward(held.paths, held.model, lines=held.point.watched.lines is not None) as watched,
                ):
                    first.restore(held)
                    again = held.compute(held.point.batch)
            except BaseException:  # interrupts included: the restored state comes first
                again = None
        if again is not None and same_bits(again, loss):
            watched.zeros = held.point.watched.zeros
            held.point = replace(held.point, loss=again, watched=watched)
        else:
            held.point = replace(held.point, freed=True)


def _written_weights(saved: Saved, point: TimelinePoint | None) -> Copies:
    """Return the copies of weights that a forward wrote; a point of the history has compared them already."""
    if point is not None and not any(key[0] == "weight" for key in point.wrote):
        return Copies()
    return saved.copies.of("weight", written=True)
