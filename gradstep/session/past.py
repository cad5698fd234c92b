"""Going back and forth in time at a session's door: travel commands and edits, and what they say came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradstep.engine import arrive
from gradstep.engine.evaluate import evaluate, holds
from gradstep.engine.thinning import tidy
from gradstep.engine.timeline import Timeline, TimelinePoint
from gradstep.values import commands as cmd
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line

if TYPE_CHECKING:
    from gradstep.session.looks import Looks

HISTORY = 1 << 30
"""Bytes that may be kept to go back in time with, unless told."""


class Past:
    """The history of one loaded workload."""

    def __init__(self, looks: Looks, budget: int) -> None:
        self._looks = looks
        self.timeline = Timeline(looks.held, looks.scope, budget)
        self.timeline.begin()

    def carry_out(self, command: cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand) -> str:
        """Carry out a command that travels, edits, or writes a file; return what there is to say.

        Raises:
            GradstepError: it can't be done; the state is as it was before.
        """
        looks, timeline = self._looks, self.timeline
        if isinstance(command, cmd.Undo) and command.phase:
            return self._undo_phase()
        looks.walking.refuse_inside()
        match command:
            case cmd.Undo(count):
                return self._go(timeline.back(count))
            case cmd.Redo(count):
                return self._go(timeline.forth(count))
            case cmd.Goto(stop):
                return self._go(timeline.at(stop))
            case cmd.Switch(name):
                return self._switch(name)
            case cmd.Branch(name):
                return timeline.begin_branch(name)
            case cmd.BackUntil(condition):
                return self._back_until(condition)
            case cmd.WhoWrote() | cmd.Compare() | cmd.Checkpoint() | cmd.Export():
                raise wrong("this is not there yet", cmd.line_of(command))
            case _:
                return looks.held.carry_out(command, looks.scope)

    def tidy(self) -> list[str]:
        """Keep the history within its budget, after a command; return what there is to say of that."""
        return tidy(self.timeline)

    def _undo_phase(self) -> str:
        if not self._looks.walking.inside:
            raise wrong("not paused inside a phase", "there is no phase to undo", "`undo` goes back by whole commands")
        self._looks.walking.abandon()
        return ""

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
        evaluate(condition, self._looks.scope)  # a name that is wrong is said before anything is searched
        for point in list(timeline.here().path())[1:]:
            with arrive.visit(timeline, point):
                found = self._holds(condition)
            if found:
                return self._go(point)
        first = min(timeline.points)
        raise wrong("it held at no stop before this one", expression_line(condition), f"stop {first} is the first")

    def _holds(self, condition: Expression) -> bool:
        """Tell whether a condition holds; where it can't be asked, such as before there is a `.grad`, it does not."""
        try:
            return holds(evaluate(condition, self._looks.scope))
        except GradstepError:
            return False
