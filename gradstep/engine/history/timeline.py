"""The timeline: every point of a held workload, its branches, and the present point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gradstep.engine.expressions.names import Scope
from gradstep.engine.held import Held
from gradstep.engine.history.points import KeptPoints, TimelinePoint, add_losses, fork_of, graph_alive
from gradstep.engine.runner import Runner
from gradstep.engine.state.images import Image, Images
from gradstep.engine.state.saved import Saved
from gradstep.engine.state.snapshot import Checkpoint, size_of, take, tensors_of
from gradstep.engine.yielding import Waits, never
from gradstep.values import numbers
from gradstep.values.commands import HISTORY_TIME, Forward, PointCommand, Restore, UseOptimizer
from gradstep.values.errors import wrong

_NODE = 700
"""Approximate bytes of a node whose saved tensors backward has freed, and of what was recorded of it: measured as the
growth of the process over loops with 1e3 and 1e4 nodes. The points from a backward to the next forward share them."""
FIRST = "main"
"""The branch that a session starts on."""


@dataclass(eq=False)
class Timeline:
    """Keeps a checkpoint of each point of one held workload; `travel.go` goes to one."""

    runner: Runner
    scope: Scope
    """The scope for expressions in edits that are rerun."""
    budget: int
    """The most bytes for checkpoints; 0 turns the history off, and nothing can be undone."""
    share: float = HISTORY_TIME
    """The most time for copies into new memory, as a share of `ran`."""
    ran: float = 0.0
    """Seconds that the commands took by themselves."""
    stops: int = 0
    """The highest stop number so far, stops inside phases included."""
    images: Images = field(default_factory=Images)
    current: TimelinePoint | None = None
    """The present point; None without a history."""
    points: dict[int, TimelinePoint] = field(default_factory=dict)
    kept: KeptPoints = field(default_factory=KeptPoints)
    """The points that have a checkpoint."""
    branches: dict[str, TimelinePoint] = field(default_factory=dict)
    """The last point of each branch."""
    branch: str = FIRST
    travelling: bool = False
    """True while commands are rerun: their points exist already."""
    waits: Waits = never
    """Returns whether a command waits for the look that commands are rerun for; `never` outside of one."""
    visiting: bool = False
    """True while the workload is at another point than `current`, so that views can show it."""
    repeats: dict[type[Any], bool] = field(default_factory=dict)
    """Whether a rerun gave the same bits, for each kind of command that was compared."""
    trusting: bool = True
    """False once a rerun gave other bits: whether commands repeat is then checked before checkpoints are dropped."""
    small: int = 0
    """Approximate bytes of all checkpoints outside of images."""
    _shared: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Each tuple that points share, by itself."""

    @property
    def held(self) -> Held:
        """The workload."""
        return self.runner.held

    @property
    def number(self) -> int:
        """The number of the present stop, between phases."""
        return self.stops if self.current is None else self.current.number

    @property
    def bytes(self) -> int:
        """Approximate bytes of the history, without what undoing the last command needs anyway."""
        return self.images.tally.bytes + self.small - self._needed_anyway()

    def exceeds(self, most: float) -> bool:
        """Return whether `bytes` is more than `most`."""
        return self.images.tally.bytes + self.small > most and self.bytes > most  # what is needed is slow to add up

    @property
    def spent(self) -> float:
        """The time that copies into new memory took, as a share of `ran`."""
        return self.images.memory.seconds / self.ran if self.ran else 0.0

    def begin(self) -> None:
        """Start a new history here, if the budget is not 0; drop the old one."""
        self.end()
        self.stops = max(self.stops, 1)
        if self.budget:
            point = self._point(self.stops, None, None, take(self.held, self.images, None, None))
            self.current = self.points[point.number] = self.branches[FIRST] = point
            self.kept.add(point)
        self.runner.transaction.keep_in(self)
        self.held.batches.keeps_all = self.current is not None

    def end(self) -> None:
        """Stop keeping a history, and drop the present one."""
        self.current, self.branch = None, FIRST
        self.points, self.branches, self.images, self.kept = {}, {}, Images(self.held.offload), KeptPoints()
        self.repeats, self.trusting, self.small, self._shared = {}, True, 0, {}
        self.ran = 0.0
        self.runner.transaction.keep_in(self)
        self.held.batches.keeps_all = False

    def next(self, command: PointCommand, saved: Saved | None) -> TimelinePoint | None:
        """Return the point that a command led to, for `record`; None without a history.

        Nothing is recorded yet, because taking the checkpoint may fail: it runs out of memory, or user code raises.

        Args:
            command: the command.
            saved: what was saved before it; None when nothing was.
        """
        before = self.current
        if not self.travelling and (before is None or saved is None):
            return None
        self._outside(self.images.settle())
        if self.travelling:
            return None
        assert before is not None
        checkpoint = take(self.held, self.images, before.checkpoint, saved)
        point = self._point(self.stops + 1, before, command, checkpoint, saved)
        if self.branches[self.branch] is not before:
            point.branch = self._new_name()
        return point

    def record(self, point: TimelinePoint | None, seconds: float = 0.0) -> None:
        """Record that a command succeeded, in `seconds`: this is now the present point."""
        if self.travelling:
            return
        if point is not None and isinstance(point.command, UseOptimizer):
            self.repeats.clear()  # another one's step may not repeat
        if point is not None and point.checkpoint is not None:
            self.kept.add(point)  # from here on nothing is called that could fail
        self.stops += 1
        if point is None:
            if self.current is not None:
                self.end()
            return
        self.small += point.small
        point.seconds = seconds
        self.ran += seconds
        self.branch = point.branch
        self.current = self.points[point.number] = self.branches[point.branch] = point

    def _outside(self, written: Sequence[Image]) -> None:
        """Record writes to tensors outside of the model: add their old contents to every earlier point."""
        if not written:
            return
        assert self.current is not None
        assert self.current.checkpoint is not None
        present = self.current.checkpoint.images.values()
        known = {id(image.tensor) for image in present if image is not None}
        unknown = [image for image in written if id(image.tensor) not in known]
        if not unknown:
            return
        known = {id(tensor) for _, tensor in tensors_of(self.held)}
        for image in unknown:
            if id(image.tensor) not in known:
                place = len(self.held.batches.written)
                self.held.batches.written.append((image.tensor, image.hash))
                for point in self.points.values():
                    if point.checkpoint is not None:
                        point.checkpoint.images[("batch", str(place))] = image

    def _point(
        self,
        number: int,
        before: TimelinePoint | None,
        command: PointCommand | None,
        checkpoint: Checkpoint,
        saved: Saved | None = None,
    ) -> TimelinePoint:
        held, now = self.held, self.held.point
        point = TimelinePoint(number, before, command, self.branch, checkpoint, now.phase, now.iteration, now.value)
        point.edit, point.known = now.edit, len(held.losses)
        if isinstance(command, Restore):
            point.losses = (list(held.losses), list(held.loss_rates))
        elif before is not None:
            point.entries = tuple(zip(held.losses[before.known :], held.loss_rates[before.known :], strict=True))
        if before is not None and before.checkpoint is not None and saved is not None:
            point.note_written(before.checkpoint, checkpoint)
            parts = (*saved.captured,)
            point.wrote = self._shared.setdefault(point.wrote, point.wrote)
            point.parts = self._shared.setdefault(parts, parts)
            point.small = size_of(checkpoint, before.checkpoint)
        self.images.tally.hold(now.watched, _NODE * len(now.watched.numbers))
        point.made_by = point if isinstance(command, Forward) or before is None else before.made_by
        if graph_alive(held, checkpoint):
            point.forward = point.made_by
            point.checkpoint = checkpoint.without_graphs()
        return point

    def keep(self, point: TimelinePoint) -> None:
        """Take a checkpoint of the present point again."""
        checkpoint = take(self.held, self.images, None, None)
        point.checkpoint = checkpoint.without_graphs() if graph_alive(self.held, checkpoint) else checkpoint
        point.small = size_of(checkpoint, None)
        self.small += point.small
        self.kept.add(point)

    def drop(self, point: TimelinePoint) -> None:
        """Drop the checkpoint of a point."""
        point.checkpoint = None
        self.kept.remove(point)
        self.small -= point.small
        point.small = 0

    def _needed_anyway(self) -> int:
        """Return the bytes of the present state, and of what only the point before holds, which undo needs."""
        if self.current is None or self.current.checkpoint is None:
            return 0
        now = {id(image): image.size for image in self.current.checkpoint.images.values() if image is not None}
        before = self.current.parent
        if before is not None and before.checkpoint is not None:
            further = next((each.checkpoint for each in before.path() if each is not before and each.checkpoint), None)
            shared = set(map(id, further.images.values())) if further is not None else set()
            old = (image for image in before.checkpoint.images.values() if image is not None)
            now.update((id(image), image.size) for image in old if id(image) not in shared)
        return sum(now.values())

    def _new_name(self) -> str:
        number = len(self.branches) + 1
        while f"b{number}" in self.branches:
            number += 1
        return f"b{number}"

    # -- finding points ------------------------------------------------------------------------------------------------
    def here(self) -> TimelinePoint:
        """Return the present point.

        Raises:
            GradstepError: there is no history.
        """
        if self.current is None:
            raise wrong(
                "there is no history",
                "nothing was saved to go back to" if self.budget else "the history is off (`--history off`)",
                "" if self.budget else "start with a budget, such as --history 1GiB",
            )
        return self.current

    def back(self, count: int) -> TimelinePoint:
        """Return the point `count` commands before this one.

        Raises:
            GradstepError: there are fewer.
        """
        here = self.here()
        if count <= here.depth:
            return here.ancestor(here.depth - count)
        first = min(self.points)
        if here.depth == 0:
            raise wrong("there is nothing to undo", f"this is the first stop, {first}: the workload as it was built")
        what = f"{numbers.count(here.depth, 'command')} between here and the first stop"
        raise wrong(f"{count} commands can't be undone", what, f"`goto {first}` goes there", str(count))

    @property
    def ahead(self) -> int:
        """The number of commands that were undone on this branch."""
        here, end = self.here(), self.branches[self.branch]
        return end.depth - here.depth if here.leads_to(end) else 0

    def forth(self, count: int) -> TimelinePoint:
        """Return the point `count` commands ahead, among those that were undone on this branch.

        Raises:
            GradstepError: there are fewer.
        """
        ahead = self.ahead
        if not ahead:
            raise wrong("there is nothing to redo", f"this is the last stop of branch {self.branch}")
        if count > ahead:
            what = f"{numbers.count(ahead, 'command')} between here and the end of branch {self.branch}"
            raise wrong(f"{count} commands can't be redone", what, f"`switch {self.branch}` goes there", str(count))
        return self.branches[self.branch].ancestor(self.here().depth + count)

    def at(self, number: int) -> TimelinePoint:
        """Return the point of a stop.

        Raises:
            GradstepError: no point has this number.
        """
        self.here()
        if number in self.points:
            return self.points[number]
        first, last = min(self.points), max(self.points)
        inside = first < number < last
        what = "it was a stop inside a phase" if inside else f"there are stops {first} to {last}"
        raise wrong(f"there is no stop {number} to go to", what, "", str(number))

    def named(self, name: str) -> TimelinePoint:
        """Return the point that a word names: the number of a stop, a branch, or `now`.

        Raises:
            GradstepError: there is no such point.
        """
        if name.isdigit():
            return self.at(int(name))
        if name == "now":
            return self.here()
        self.here()
        if name not in self.branches:
            raise wrong(
                f"there is no branch {name}", f"the branches are {', '.join(self.branches)}", "see `branch NAME`", name
            )
        return self.branches[name]

    @staticmethod
    def losses(point: TimelinePoint) -> tuple[list[tuple[int, float]], list[tuple[float, ...]]]:
        """Return the losses up to a point, and the learning rates at each."""
        losses: list[tuple[int, float]] = []
        rates: list[tuple[float, ...]] = []
        add_losses(point, None, losses, rates)
        return losses, rates

    def put_losses(self, point: TimelinePoint, before: TimelinePoint) -> None:
        """Replace the losses up to `before` with those up to a point."""
        held, fork = self.held, fork_of(point, before)
        if fork.known == len(held.losses) - (before.known - fork.known):
            del held.losses[fork.known :], held.loss_rates[fork.known :]
            if not add_losses(point, fork, held.losses, held.loss_rates):
                return
        held.losses[:], held.loss_rates[:] = self.losses(point)

    def holds(self, branch: str, point: TimelinePoint) -> bool:
        """Return whether a branch contains a point."""
        return point.leads_to(self.branches[branch])

    def begin_branch(self, name: str) -> str:
        """Start a branch here; return what it prints.

        At the end of a branch that gradstep named, rename that branch instead.

        Raises:
            GradstepError: the name is taken or not valid.
        """
        here = self.here()
        if name in self.branches or name.isdigit() or name == "now":
            what = "there is a branch with that name" if name in self.branches else "it would be read as a stop"
            raise wrong("this can't be the name of a branch", what, "choose another name", name)
        old = self.branch
        if old[0] == "b" and old[1:].isdigit() and self.branches[old] is here:
            del self.branches[old]
            for point in here.path():
                if point.branch == old:
                    point.branch = name
            text = f"branch {old} is renamed to {name}"
        else:
            text = f"on branch {name}, which starts at stop {here.number}"
        self.branches[name], self.branch = here, name
        return text
