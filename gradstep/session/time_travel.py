"""The commands that travel in time, edit what is trained, or write a file, and their output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep.engine.bits import same_bits
from gradstep.engine.diagnose.first_difference import compare_branches
from gradstep.engine.export.program import export
from gradstep.engine.expressions.evaluate import evaluate, holds, split_selection
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.files.checkpoint_file import pending, resolve_path, save
from gradstep.engine.history import travel
from gradstep.engine.history.before import part_differs
from gradstep.engine.history.points import TimelinePoint, graph_alive
from gradstep.engine.history.thinning import tidy
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.state.digest import digest, measured_on
from gradstep.engine.state.images import Images
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import take, tensors_of
from gradstep.engine.yielding import YieldedError
from gradstep.values import commands as cmd
from gradstep.values.differences import comparison_words
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.files import refuse_to_overwrite
from gradstep.values.numbers import size as bytes_words
from gradstep.values.views import NoView, Request, View
from gradstep.values.views.timeline import LookCompare
from gradstep.views.training.compare import compare_view, compare_words

if TYPE_CHECKING:
    from gradstep.session.inspector import Inspector


class TimeTravel:
    """The history of one loaded workload."""

    def __init__(
        self,
        inspector: Inspector,
        budget: int,
        load: cmd.Load | None = None,
        on_progress: Callable[[str], None] = lambda _: None,
        share: float = cmd.HISTORY_TIME,
    ) -> None:
        """Keep at most `budget` bytes, in a `share` of the time; `load` is the command that built the workload.

        `on_progress` is called with a description of each long operation before it begins.
        """
        self._inspector, self.load, self._progress = inspector, load, on_progress
        self.timeline = Timeline(inspector.runner, inspector.scope, budget, share)
        self.timeline.begin()
        inspector.timeline = self.timeline
        self._joined: set[int] = set()
        """Stops of the commands that a `restore` re-ran to rebuild its graph: undone and redone together with it."""

    def carry_out(self, command: cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand) -> str:
        """Run a command that travels, edits, or writes a file; return its output.

        Raises:
            GradstepError: it failed; the state is unchanged.
        """
        inspector, timeline = self._inspector, self.timeline
        match command:
            case cmd.Undo(_, phase=True):
                what = "no phase is in progress"
                raise wrong("there is no phase to undo", what, "`undo` undoes whole commands")
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
                return comparison_words(compare_branches(timeline, (first, second)))
            case cmd.Checkpoint():
                return self._save(_place_for(command))
            case cmd.Restore():
                return self._restore(command)
            case cmd.Export():
                return export(inspector.runner, self.load, timeline.here(), _place_for(command), self._progress)
            case _:
                return inspector.runner.carry_out(command, inspector.scope)

    def tidy(self) -> list[str]:
        """Keep the history within its budget after a command; return the messages about what was dropped."""
        return tidy(self.timeline, self._progress)

    def _go(self, point: TimelinePoint) -> str:
        arrival = travel.go(self.timeline, point)
        self._inspector.travelled()
        words = [f"at stop {point.number}"]
        words += [f"{arrival.again} command{'s' if arrival.again > 1 else ''} re-run"] if arrival.again else []
        text = ", ".join(words)
        if arrival.differ:
            listed = "; ".join(arrival.differ[:3]) + (" and more" if len(arrival.differ) > 3 else "")
            text += f"\nnot the same bits when re-run, so the saved copies are used: {listed}"
        return text

    def _back(self, count: int) -> TimelinePoint:
        here, back = self.timeline.here(), 0
        path = here.path()
        for _ in range(min(count, here.depth + 1)):
            for point in path:
                back += 1
                if point.number not in self._joined:
                    break
        return self.timeline.back(max(back, count))

    def _forth(self, count: int) -> TimelinePoint:
        timeline, ahead, forth = self.timeline, self.timeline.ahead, 0
        for _ in range(min(count, ahead)):
            forth += 1
            while forth < ahead and timeline.forth(forth + 1).number in self._joined:
                forth += 1
        return timeline.forth(max(forth, count))

    def _switch(self, name: str) -> str:
        timeline = self.timeline
        point = timeline.named(name)
        if name not in timeline.branches:
            raise wrong("there is no such branch", name, f"the branches are {', '.join(timeline.branches)}", name)
        text = self._go(point)
        timeline.branch = name
        return f"on branch {name}, {text}"

    def _back_until(self, condition: Expression) -> str:
        timeline = self.timeline
        with suppress(NothingThereError):  # a name without a value here may have one there
            evaluate(condition, self._inspector.scope)  # an unknown name is reported before the search
        for point in list(timeline.here().path())[1:]:
            with travel.visit(timeline, point):
                found = self._holds(condition)
            if found:
                return self._go(point)
        first = min(timeline.points)
        raise wrong("it held at no stop before this one", expression_line(condition), f"stop {first} is the first")

    def _who_wrote(self, what: Expression) -> str:
        """Return which command last wrote a tensor; for a part of one, as far back as its contents are known."""
        name, items, _ = split_selection(what, self._inspector.scope)
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
        return f"{line} {now}, and never before" if now else f"{line} has not been written since the first stop"

    def _writing(self, name: str, items: tuple[Item, ...]) -> str:
        """Return, in words, that the phase in progress has written a tensor or a part of it; empty if it has not."""
        stepping, kept = self._inspector.stepper.stepping, self.timeline.here().checkpoint
        if stepping is None or kept is None:
            return ""
        key, tensor = next(((k, t) for k, t in tensors_of(self._inspector.held) if name_of(k) == name), ((), None))
        image = kept.images.get(key)
        before = None if image is None else image.contents.detach()
        if before is None or tensor is None:
            same = before is tensor
        else:
            same = before.shape == tensor.shape and same_bits(before[items], tensor.detach()[items])
        return "" if same else f"was last written by this {stepping.phase}, which is in progress"

    def look(self, stop: int, requests: Sequence[Request]) -> tuple[View, ...]:
        """Return a view of a past point for each request, then restore the workload, inside a phase too.

        A view shows what was recorded there; a view of the graph itself needs a `goto`.
        """
        inspector = self._inspector

        def views() -> tuple[View, ...]:
            with travel.visit(self.timeline, self.timeline.at(stop)):
                return inspector.aside().look(stop, requests)

        try:
            return inspector.stepper.here(views)
        except YieldedError as error:
            return tuple(NoView(stop, str(error), due=True) for _ in requests)
        except GradstepError as error:
            problem = error.problem
            why = f"{problem.title}: {'; '.join(filter(None, (problem.what, problem.remedy)))}"
            return tuple(NoView(stop, why) for _ in requests)

    def _save(self, place: Path) -> str:
        """Write the whole state, and if a graph is alive, the commands that rebuild it."""
        timeline, held = self.timeline, self._inspector.held
        then: list[cmd.PointCommand] = []
        if timeline.current is None:
            if graph_alive(held):
                what = "a graph is alive, and with history off the commands to rebuild it are not kept"
                raise wrong("the state can't be written now", what, "write it after a backward")
            kept, losses = take(held, Images(), None, None), (held.losses, held.loss_rates)
        else:
            base, then = travel.way_to(timeline.current)
            assert base.checkpoint is not None
            kept, losses = base.checkpoint, timeline.losses(base)
        size, left_out = save(held, kept, then, losses, digest(held)[0], place)
        without = f"; it does not contain {', '.join(left_out)}" if left_out else ""
        return f"{place}: {bytes_words(size)}{without}"

    def _restore(self, command: cmd.Restore) -> str:
        """Read the whole state; if its graph was alive, re-run the commands that built it, and check the digest."""
        held, place = self._inspector.held, resolve_path(command.path, command.folder)
        then, proof, where = pending(place)
        text = self._inspector.runner.carry_out(command, self._inspector.scope)
        for each in then:
            self._inspector.runner.carry_out(each, self._inspector.scope)
            if self.timeline.current is not None:
                self._joined.add(self.timeline.current.number)
        self._inspector.travelled()
        again = f"; re-ran {', '.join(map(cmd.line_of, then))}" if then else ""
        if digest(held)[0] == proof:
            return f"{text}{again}; the digest is the same"
        if where != measured_on():
            return f"{text}{again}; the digest can't be checked: the file was written on another machine ({where})"
        return f"{text}{again}; but the digest is NOT the one in the file"

    def _holds(self, condition: Expression) -> bool:
        """Return whether a condition holds; False if it can't be evaluated, such as before there is a `.grad`."""
        try:
            return holds(evaluate(condition, self._inspector.scope))
        except GradstepError:
            return False


def _place_for(command: cmd.FileCommand) -> Path:
    """Return the file that a command writes.

    Raises:
        GradstepError: it exists, and the command may not overwrite it.
    """
    place = resolve_path(command.path, command.folder)
    refuse_to_overwrite(place, cmd.line_of(command), command.over)
    return place
