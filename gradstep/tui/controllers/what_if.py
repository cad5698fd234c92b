"""The keys of what-if: changing what is under the cursor, and doing the same again with something changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from typing import NamedTuple, get_args

from msgspec.structs import replace

from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.controllers.time_travel import TimeTravel
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.jobs import Job, Program, sequence
from gradstep.values.commands import Assign, Branch, Command, EditCommand, Freeze, Goto, Switch, line_of
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import expression_line, name_line
from gradstep.values.outcomes import Problem
from gradstep.values.timeline import LookTimeline, TimelineRow, TimelineView

_EDITS = get_args(EditCommand)
_NAME = 24
"""Letters that a branch is named with at most."""
_ALL = 1 << 40
"""More points than any timeline has."""


class Again(NamedTuple):
    """What is done once more: from where, which commands, and the end that it is compared with."""

    start: TimelineRow
    commands: tuple[str, ...]
    end: str
    """A branch, or the number of a stop that is none's last."""


def again_from(view: TimelineView, start: int) -> Again:
    """Return what was done since a stop, on the way to the present one; from the present one on, what was undone.

    Args:
        view: all points.
        start: a stop, 0 for the first. When it is not on the way to the present, it is what its own branch did.
    """
    rows = {row.stop: row for row in view.rows}
    begin = rows[start] if start else view.rows[0]
    ends = {branch.name: branch.stop for branch in view.branches}
    present = next((branch.stop for branch in view.branches if branch.present), view.stop)
    for stop in (view.stop, present, ends.get(begin.branch, begin.stop)):
        way = _way(rows, begin.stop, stop)
        if way:
            break
    last = rows[way[-1].stop if way else begin.stop]
    return Again(begin, tuple(row.line for row in way), last.ends[0] if last.ends else str(last.stop))


def _way(rows: dict[int, TimelineRow], start: int, stop: int) -> list[TimelineRow]:
    """Return the points behind `start` on the way to `stop`; none where it does not lie on that way."""
    way: list[TimelineRow] = []
    while stop != start and stop in rows:
        way.append(rows[stop])
        stop = rows[stop].parent
    return way[::-1] if stop == start else []


def otherwise(edits: Sequence[Command], done: Sequence[Command]) -> tuple[list[Command], list[Command]]:
    """Return the changes to begin with, and what is done after them.

    What was done may have begun with changes too, of a trial before this one: those of something else still hold, and
    one of the same thing gives way.
    """
    before = list(takewhile(lambda command: isinstance(command, _EDITS), done))
    changed = set(map(_subject, edits))
    return [*(command for command in before if _subject(command) not in changed), *edits], list(done[len(before) :])


def _subject(command: Command) -> str:
    """Return what a change is of."""
    match command:
        case Assign(target):
            return f"set {expression_line(target)}"
        case Freeze(pattern):
            return f"freeze {pattern}"
        case _:
            return type(command).__name__


def branch_name(edits: Sequence[Command], taken: Sequence[str]) -> str:
    """Return a name for a branch on which something is otherwise, such as `lr-0.01`; none that is taken."""
    words = line_of(edits[0]).removeprefix("set ")
    name = re.sub(r"[^\w.+*-]+", "-", words).strip("-")[:_NAME].strip("-") or "otherwise"
    number = 2
    unique = name
    while unique in taken or unique.isdigit() or unique == "now":
        unique, number = f"{name}-{number}", number + 1
    return unique


class WhatIf(Controller):
    """Begins changes, and does the same again with something changed."""

    def __init__(self, screen: Desk, travel: TimeTravel, typing: CommandLines) -> None:
        """Hold the screen; `travel` compares, `typing` begins to type."""
        super().__init__(screen)
        self._travel, self._typing = travel, typing

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {"edit": self.edit_element, "try": lambda: self._typing.begin("try set lr = ")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return what each command of the screen's own does."""
        return {"try": self.try_again}

    # -- edits --------------------------------------------------------------------------------------------------------
    def edit(self, line: str) -> None:
        """Begin to type a change; in the past, one to do the same again with."""
        self._typing.begin(line if self.screen.past.row is None else f"try {line}")

    def edit_element(self, grad: bool = False) -> None:
        """Begin to type a change of the element under the cursor of Tensor, or of its `.grad`."""
        view, spot = self.screen.tensor.view, self.screen.tensor.spot
        place = f"[{', '.join(map(str, spot))}]" if spot else ""
        named = view is not None and view.path
        self.edit(f"set {name_line(view.path)}{'.grad' if grad else ''}{place} = " if view and named else "set ")

    # -- doing it again -----------------------------------------------------------------------------------------------
    def try_again(self, text: str) -> None:
        """Do what was done again with something changed, on a branch of its own; then compare the two.

        Raises:
            GradstepError: it changes nothing, or this is no moment for it.
        """
        try:
            edits = parse_commands(text) if text.strip() else []
        except GradstepError as error:
            from gradstep.steps.faults import problem_of_line

            problem = problem_of_line(error)
            remedy = problem.remedy.replace("Did you mean `", "Did you mean `try ")
            raise GradstepError(replace(problem, remedy=remedy)) from None
        if not edits or not all(isinstance(command, _EDITS) for command in edits):
            what = "It takes commands that change something, and does the same again after them."
            raise wrong("try takes a change", what, "Write, for instance: try set lr = 0.01")
        if self.screen.queue.stop.position is not None or not self.screen.queue.stop.number:
            raise wrong("there is nothing to do again yet", "A phase has to come to its end first.", "c goes on")
        start = self.screen.past.row.stop if self.screen.past.row is not None else 0
        self.screen.run_worker(self._try(edits, start), name="try")

    async def _try(self, edits: Sequence[Command], start: int) -> None:
        with suppress(ConnectionError):
            [view] = await self.screen.session.look([LookTimeline(0, _ALL)])
            if not isinstance(view, TimelineView) or not view.rows:
                self.screen.told("There is no history to go back in: --history 1GiB keeps one.")
                return
            again = again_from(view, start)
            name = branch_name(edits, [branch.name for branch in view.branches])
            try:
                job = _trial(again, edits, name, view)
            except GradstepError as error:
                self.screen.told(f"{error.problem.title}. {error.problem.remedy}")
                return
            self.screen.put(job._replace(done=lambda problem: self._tried(problem, again, name, edits)))

    def _tried(self, problem: Problem | None, again: Again, name: str, edits: Sequence[Command]) -> None:
        """Show both side by side."""
        if problem is not None:
            return
        changed = "; ".join(map(line_of, edits))
        if again.commands:
            self._travel.compare(again.end, name)
            self.screen.told(
                f"On branch {name}: what came after stop {again.start.stop} was done again after {changed}."
            )
        else:
            self.screen.told(f"On branch {name}: nothing came after stop {again.start.stop} that could be done again.")


def _trial(again: Again, edits: Sequence[Command], name: str, view: TimelineView) -> Job:
    """Return the job that goes to the start, changes something there, and does the rest again on a new branch.

    Raises:
        GradstepError: something that was done has no line that could be read again.
    """
    changes, rest = otherwise(edits, [command for line in again.commands for command in parse_commands(line)])
    way: list[Command] = [] if view.stop == again.start.stop else [Goto(again.start.stop)]

    def program() -> Program:
        problem = yield from sequence([*way, Branch(name), *changes])
        if problem is not None:
            yield from sequence(_back(view))
            return problem
        return (yield from sequence(rest))

    return Job(lambda _: program())


def _back(view: TimelineView) -> list[Command]:
    """Return the commands that lead back to where a timeline was."""
    branch = next((branch for branch in view.branches if branch.present), None)
    there: list[Command] = [] if branch is None else [Switch(branch.name)]
    return there if branch is not None and branch.stop == view.stop else [*there, Goto(view.stop)]
