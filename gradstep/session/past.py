"""Going back and forth in time at a session's door: travel commands and edits, and what they say came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep.engine.bits import same_bits
from gradstep.engine.diagnose.first_difference import branches_part
from gradstep.engine.export.program import export
from gradstep.engine.expressions.evaluate import evaluate, holds, split_selection
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.files.checkpoint_file import pending, place_of_file, save
from gradstep.engine.history import travel as arrive
from gradstep.engine.history.before import part_differs
from gradstep.engine.history.points import TimelinePoint, graph_alive
from gradstep.engine.history.thinning import tidy
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.state.digest import digest, measured_on
from gradstep.engine.state.images import Images
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import take, tensors_of
from gradstep.values import commands as cmd
from gradstep.values.errors import GradstepError, refuse_to_overwrite, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.numbers import size as bytes_words
from gradstep.values.parting import sides_words
from gradstep.values.timeline import LookCompare
from gradstep.values.views import NoView, Request, View
from gradstep.views.training.compare import compare_view, compare_words

if TYPE_CHECKING:
    from gradstep.session.looks import Looks


class Past:
    """The history of one loaded workload."""

    def __init__(
        self,
        looks: Looks,
        budget: int,
        load: cmd.Load | None = None,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Keep at most `budget` bytes; `load` is the command that built the workload.

        `on_progress` is told what is done before something that takes long.
        """
        self._looks, self.load, self._progress = looks, load, on_progress
        self.timeline = Timeline(looks.runner, looks.scope, budget)
        self.timeline.begin()
        looks.timeline = self.timeline
        self._joined: set[int] = set()
        """Stops that a restore came to by running again what built its graph: they are undone and done with it."""

    def carry_out(self, command: cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand) -> str:
        """Carry out a command that travels, edits, or writes a file; return what there is to say.

        Raises:
            GradstepError: it can't be done; the state is as it was before.
        """
        looks, timeline = self._looks, self.timeline
        match command:
            case cmd.Undo(_, phase=True):
                what = "there is no phase to undo"
                raise wrong("not paused inside a phase", what, "`undo` goes back by whole commands")
            case cmd.Undo(count):
                return self._go(self._back(count))
            case cmd.Redo(count):
                return self._go(self._forth(count))
            case cmd.Goto(stop):
                return self._go(timeline.at(stop))
            case cmd.Switch(name):
                return self._switch(name)
            case cmd.Branch(name):
                return timeline.begin_branch(name)
            case cmd.BackUntil(condition):
                return self._back_until(condition)
            case cmd.WhoWrote(what):
                return self._who_wrote(what)
            case cmd.Compare(first, second):
                return compare_words(compare_view(timeline, timeline.number, LookCompare(first, second)))
            case cmd.Diff(first, second):
                return sides_words(branches_part(timeline, (first, second)))
            case cmd.Checkpoint():
                return self._save(_place_for(command))
            case cmd.Restore():
                return self._restore(command)
            case cmd.Export():
                return export(looks.runner, self.load, timeline.here(), _place_for(command), self._progress)
            case _:
                return looks.runner.carry_out(command, looks.scope)

    def tidy(self) -> list[str]:
        """Keep the history within its budget, after a command; return what there is to say of that."""
        return tidy(self.timeline, self._progress)

    def _go(self, point: TimelinePoint) -> str:
        arrival = arrive.go(self.timeline, point)
        self._looks.travelled()
        words = [f"at stop {point.number}"]
        words += [f"{arrival.again} command{'s' if arrival.again > 1 else ''} run again"] if arrival.again else []
        text = ", ".join(words)
        if arrival.differ:
            listed = "; ".join(arrival.differ[:3]) + (" and more" if len(arrival.differ) > 3 else "")
            text += f"\nnot the same bits when run again, so what was kept is used: {listed}"
        return text

    def _back(self, count: int) -> TimelinePoint:
        path = list(self.timeline.here().path())
        back = 0
        for _ in range(min(count, len(path))):
            while back < len(path) and path[back].number in self._joined:
                back += 1
            back += 1
        return self.timeline.back(max(back, count))

    def _forth(self, count: int) -> TimelinePoint:
        ahead = self.timeline.ahead()
        forth = 0
        for _ in range(min(count, len(ahead))):
            forth += 1
            while forth < len(ahead) and ahead[forth].number in self._joined:
                forth += 1
        return self.timeline.forth(max(forth, count))

    def _switch(self, name: str) -> str:
        timeline = self.timeline
        point = timeline.named(name)
        if name not in timeline.branches:
            raise wrong("this is no branch", name, f"the branches are {', '.join(timeline.branches)}", name)
        text = self._go(point)
        timeline.branch = name
        return f"on branch {name}, {text}"

    def _back_until(self, condition: Expression) -> str:
        timeline = self.timeline
        with suppress(NothingThereError):  # what has no value here may have one there
            evaluate(condition, self._looks.scope)  # a name that is wrong is said before anything is searched
        for point in list(timeline.here().path())[1:]:
            with arrive.visit(timeline, point):
                found = self._holds(condition)
            if found:
                return self._go(point)
        first = min(timeline.points)
        raise wrong("it held at no stop before this one", expression_line(condition), f"stop {first} is the first")

    def _who_wrote(self, what: Expression) -> str:
        """Return which command last changed a tensor; of a part of one, as far back as contents were kept."""
        name, items, _ = split_selection(what, self._looks.scope)
        line, now = expression_line(what), self._writing(name, items)
        for point in self.timeline.here().path():
            if point.parent is None:
                break
            key = next((key for key in point.wrote if name_of(key) == name), None)
            if key is None or (items and not part_differs(point, key, items)):
                continue
            assert point.command is not None
            place = f"iteration {point.iteration}, branch {point.branch}"
            by = f"at stop {point.number}, by `{cmd.line_of(point.command)}` ({place})"
            return f"{line} {now}; before that, {by}" if now else f"{line} was last written {by}"
        return f"{line} {now}, and never before" if now else f"{line} was not written since the first stop"

    def _writing(self, name: str, items: tuple[Item, ...]) -> str:
        """Say that the phase which is stopped inside has written a tensor, or a part of one, by now; else empty."""
        stepping, kept = self._looks.walking.stepping, self.timeline.here().checkpoint
        if stepping is None or kept is None:
            return ""
        key, tensor = next(((k, t) for k, t in tensors_of(self._looks.held) if name_of(k) == name), ((), None))
        image = kept.images.get(key)
        before = None if image is None else image.contents.detach()
        if before is None or tensor is None:
            same = before is tensor
        else:
            same = before.shape == tensor.shape and same_bits(before[items], tensor.detach()[items])
        return "" if same else f"was last written by this {stepping.phase}, which is not at its end"

    def look(self, stop: int, requests: Sequence[Request]) -> tuple[View, ...]:
        """Return a view of a past point for each request; the workload is where it was after that, inside a phase too.

        A view shows what was recorded there: what needs a graph that is alive is had by going there.
        """
        looks = self._looks

        def seen() -> tuple[View, ...]:
            with arrive.visit(self.timeline, self.timeline.at(stop)):
                return looks.aside().look(stop, requests)

        try:
            return looks.walking.here(seen)
        except GradstepError as error:
            problem = error.problem
            why = f"{problem.title}: {'; '.join(filter(None, (problem.what, problem.remedy)))}"
            return tuple(NoView(stop, why) for _ in requests)

    def _save(self, place: Path) -> str:
        """Write the whole state; of a graph that is alive, the commands that build it again."""
        timeline, held = self.timeline, self._looks.held
        then: list[cmd.PointCommand] = []
        if timeline.current is None:
            if graph_alive(held.point):
                what = "the loss has a graph that is alive, and with the history off nothing says how to build it again"
                raise wrong("this can't be written now", what, "write it after a backward")
            kept, losses = take(held, Images(), None, None), (held.losses, held.loss_rates)
        else:
            base, then = arrive.way_to(timeline.current)
            assert base.checkpoint is not None
            kept, losses = base.checkpoint, timeline.losses(base)
        size, left_out = save(held, kept, then, losses, digest(held)[0], place)
        without = f"; it lacks {', '.join(left_out)}" if left_out else ""
        return f"{place}: {bytes_words(size)}{without}"

    def _restore(self, command: cmd.Restore) -> str:
        """Read the whole state; where its graph was alive, run what built it again. The digest proves it."""
        held, place = self._looks.held, place_of_file(command.path, command.folder)
        then, proof, where = pending(place)
        text = self._looks.runner.carry_out(command, self._looks.scope)
        for each in then:
            self._looks.runner.carry_out(each, self._looks.scope)
            if self.timeline.current is not None:
                self._joined.add(self.timeline.current.number)
        self._looks.travelled()
        again = f"; run again: {', '.join(map(cmd.line_of, then))}" if then else ""
        if digest(held)[0] == proof:
            return f"{text}{again}; the digest is the same"
        if where != measured_on():
            return f"{text}{again}; it was written on another machine ({where}), where digests can't be compared"
        return f"{text}{again}; but the digest is NOT the one it was written with"

    def _holds(self, condition: Expression) -> bool:
        """Return whether a condition holds; where it can't be asked, such as before there is a `.grad`, it does not."""
        try:
            return holds(evaluate(condition, self._looks.scope))
        except GradstepError:
            return False


def _place_for(command: cmd.FileCommand) -> Path:
    """Return the file that a command writes.

    Raises:
        GradstepError: it is there, and the command may not overwrite it.
    """
    place = place_of_file(command.path, command.folder)
    refuse_to_overwrite(place, cmd.line_of(command), command.over)
    return place
