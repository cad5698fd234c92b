"""The recorded stops of a script, to look at and compare. The script itself never goes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import FIRST, Timeline
from gradstep.engine.observe.engine_calls import is_transformed
from gradstep.engine.script.recorded.recorded_debuggee import debuggee_of
from gradstep.engine.script.recorded.recorded_stops import RecordedStop, StopRecorder, bytes_of
from gradstep.session.inspector import Inspector
from gradstep.values import numbers
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.outcomes import Stop
from gradstep.values.views import NoView, Request, View
from gradstep.values.views.contributions import LookContributions
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookInside, SourceLine
from gradstep.values.views.node import LookChain, LookNode
from gradstep.values.views.stack import LookStack
from gradstep.values.views.timeline import LookCompare
from gradstep.values.views.training import LookBatch
from gradstep.views.training.compare import compare_view, compare_words

_SHOWN_ONLY = (LookGraph, LookNode, LookChain, LookContributions, LookInside, LookBatch, LookStack)
"""The views of what is not kept: the graph, activations, the batch. At a past stop they are as they were shown."""


@dataclass(eq=False)
class _Kept:
    """What is kept of one stop beside its point."""

    line: SourceLine
    recorded: RecordedStop | None = None
    shown: dict[tuple[str, Request], View] = field(default_factory=dict)
    """The views that were shown there, by selection and request."""


class LookingBack:
    """Records the stops of a script within a budget, and answers requests for views of them.

    Args:
        budget: maximum bytes; 0 records nothing.
        offload: True to keep copies of tensors on a GPU in host memory.
    """

    def __init__(self, budget: int, offload: bool = False) -> None:
        self._budget = budget
        self.timeline: Timeline | None = None
        """The recorded stops; None before the first. Nothing ever travels on it."""
        self.recorder = StopRecorder(offload)
        self._kept: dict[int, _Kept] = {}
        self._emptied = 0
        """How many of the oldest stops have no contents any more."""
        self._past: tuple[int, Inspector] | None = None
        """The last stop that was looked at."""

    # -- recording -----------------------------------------------------------------------------------------------------
    def record(
        self, stop: Stop, inspector: Inspector, line: SourceLine, here: Callable[..., RecordedStop | None]
    ) -> None:
        """Record the present stop.

        Args:
            stop: the stop.
            inspector: answers requests there.
            line: the line that the script is stopped at.
            here: calls a function on the script's thread.
        """
        if not self._budget:
            return
        if self.timeline is None:
            self.timeline = Timeline(inspector.runner, inspector.scope, self._budget)
            self.timeline.images.tally = self.recorder.tally
        held, timeline, recorder = inspector.held, self.timeline, self.recorder
        inspector.timeline, timeline.runner = timeline, inspector.runner
        recorded, lost = None, ""
        if stop.position is not None:
            lost = f"it was inside a {stop.position.phase}"
        elif (size := bytes_of(held)) > self._budget:
            lost = (
                f"its tensors take {numbers.size(size)}, and the history has {numbers.size(self._budget)} (--history)"
            )
        else:
            try:
                recorded = here(lambda: None if is_transformed() else recorder.record(held))
                lost = "" if recorded is not None else "it was inside a torch.func transform, which copies would join"
            except Exception as error:  # out of memory, or tensors of a kind that can't be copied
                lost = f"its tensors could not be copied: {type(error).__name__}: {error}"
        self._add(stop, held, recorded, lost, line)
        self._tidy()

    def _add(self, stop: Stop, held: Held, recorded: RecordedStop | None, lost: str, line: SourceLine) -> None:
        timeline = self.timeline
        assert timeline is not None
        before = timeline.current
        point = TimelinePoint(
            stop.number,
            before,
            None,
            FIRST,
            None if recorded is None else recorded.now,
            held.point.phase,
            stop.iteration,
            stop.loss,
            known=len(held.losses),
            place=_place(stop, line),
            lost=lost,
        )
        if before is not None:
            point.entries = tuple(zip(held.losses[before.known :], held.loss_rates[before.known :], strict=True))
            old = next((each.checkpoint for each in before.path() if each.checkpoint is not None), None)
            if old is not None and recorded is not None:
                point.note_written(old, recorded.now)
        else:
            point.entries = tuple(zip(held.losses, held.loss_rates, strict=True))
        if recorded is not None:
            point.small = _ENTRY * len(recorded.now.images)
        self._kept[point.number] = _Kept(line, recorded)
        timeline.record(point)
        timeline.stops = point.number

    def shown(self, selection: str, requests: Sequence[Request], views: Sequence[View]) -> None:
        """Keep the views that are shown at the present stop."""
        here = None if self.timeline is None else self.timeline.current
        if here is None or self.timeline is None:
            return
        kept = self._kept[here.number].shown
        for request, view in zip(requests, views, strict=True):
            if isinstance(view, NoView):
                continue
            with suppress(TypeError):  # what can't be encoded or hashed is not kept
                size = len(msgspec.msgpack.encode(view))
                if (selection, request) not in kept:
                    here.small += size
                    self.timeline.small += size
                kept[selection, request] = view

    def _tidy(self) -> None:
        """Drop the oldest contents until the rest is within the budget; their rows stay."""
        timeline = self.timeline
        assert timeline is not None
        self._past = None
        why = f"its tensors were dropped: the history is over its budget of {numbers.size(self._budget)} (--history)"
        for point in islice(timeline.points.values(), self._emptied, None):
            if timeline.bytes <= self._budget or point is timeline.current:
                return
            self._emptied += 1
            kept = self._kept[point.number]
            if kept.recorded is not None or kept.shown:
                kept.recorded = None
                kept.shown.clear()
                point.lost = point.lost or why
                timeline.drop(point)

    # -- looking -------------------------------------------------------------------------------------------------------
    def look(self, at: int, present: Inspector, requests: Sequence[Request]) -> tuple[View, ...]:
        """Return one view of a past stop for each request, of what was recorded there."""
        timeline = self.timeline
        try:
            if timeline is None:
                return tuple(NoView(at, "no stop is recorded: the history is off (`--history off`)") for _ in requests)
            point = timeline.at(at)
        except GradstepError as error:
            return tuple(NoView(at, error.problem.title) for _ in requests)
        selection = "" if present.selection is None else present.selection.line
        return tuple(self._view(point, present, selection, request) for request in requests)

    def compare(self, first: str, second: str) -> str:
        """Return how two recorded stops differ.

        Raises:
            GradstepError: one is not recorded.
        """
        if self.timeline is None:
            raise wrong("no stop is recorded", "the history is off (`--history off`)", "start with --history 1GiB")
        return compare_words(compare_view(self.timeline, self.timeline.number, LookCompare(first, second)))

    def _view(self, point: TimelinePoint, present: Inspector, selection: str, request: Request) -> View:
        kept = self._kept[point.number]
        with suppress(TypeError):
            if (selection, request) in kept.shown:
                return kept.shown[selection, request]
        if isinstance(request, _SHOWN_ONLY):
            return NoView(point.number, "not recorded: at a past stop this is kept only as the panel showed it there")
        if kept.recorded is None:
            return NoView(point.number, f"not recorded: {point.lost}")
        (view,) = self._inspector(point, kept.recorded, present).look(point.number, (request,))
        return view

    def _inspector(self, point: TimelinePoint, recorded: RecordedStop, present: Inspector) -> Inspector:
        if self._past is None or self._past[0] != point.number:
            losses, rates = Timeline.losses(point)
            held = debuggee_of(recorded, losses, rates)
            self._past = point.number, present.aside(held)
            self._past[1].line = lambda: self._kept[point.number].line
        made = self._past[1]
        made.selection = present.selection
        return made


_ENTRY = 16
"""Approximate bytes of a dict entry."""


def _place(stop: Stop, line: SourceLine) -> str:
    """Return what a stop was at, in words: the phase, and the line of the script."""
    words = stop.position.words if stop.position is not None else stop.phase or "start"
    return words if not line.line else f"{words}  {line.file.rpartition('/')[2]}:{line.line}"
