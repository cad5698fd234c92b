"""The Timeline view: one row for each command that changed something, and the branches."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from msgspec.structs import replace

from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.values.commands import ACT_NAMES, line_of
from gradstep.values.views.inside import Position
from gradstep.values.views.timeline import LookTimeline, TimelineBranch, TimelineRow, TimelineView

_KINDS = {
    "weight": ("weight", "weights"),
    "grad": (".grad", ".grad"),
    "buffer": ("buffer", "buffers"),
    "state": ("of the state", "of the state"),
    "group": ("hyper-parameter", "hyper-parameters"),
    "batch": ("of the batch", "of the batch"),
    "input": ("of the batch", "of the batch"),
    "attribute": ("attribute", "attributes"),
    "stray": (".grad", ".grad"),
}
"""What one and several tensors of each kind in the registry of state are called."""


def timeline_view(timeline: Timeline, stop: int, look: LookTimeline) -> TimelineView:
    """Return a window of the timeline."""
    here = timeline.current
    if here is None:
        note = "no history is kept: start with --history 1GiB" if not timeline.budget else "no stop is kept yet"
        return TimelineView(stop, (), 0, 0, (), 0, timeline.budget, note)
    total = len(timeline.points)
    end = max(0, total - look.last)
    first = max(0, end - look.count)
    points = [*islice(reversed(timeline.points.values()), total - end, total - first)][::-1]
    last = timeline.branches[timeline.branch]
    way = {point.number for point in points if point.leads_to(last)}
    ends: dict[int, list[str]] = {}
    for name, point in timeline.branches.items():
        ends.setdefault(point.number, []).append(name)
    alike = {id(point.wrote): point for point in points}  # in a loop, few differ
    changed = {which: changed_words(point) for which, point in alike.items()}
    rows = tuple(
        _row(timeline, point, changed[id(point.wrote)], tuple(ends.get(point.number, ())), point.number in way)
        for point in points
    )
    branches = tuple(
        TimelineBranch(name, point.number, point.iteration, point.loss, name == timeline.branch)
        for name, point in timeline.branches.items()
    )
    memory, script = max(0, timeline.bytes), bool(here.place)
    spent, share = timeline.spent, timeline.share
    return TimelineView(stop, rows, total, first, branches, memory, timeline.budget, "", spent, share, script)


def _row(timeline: Timeline, point: TimelinePoint, changed: str, ends: tuple[str, ...], way: bool) -> TimelineRow:
    here, kept = timeline.current, point.checkpoint
    phase = point.phase if point.command is None else ACT_NAMES.get(type(point.command), "edit")
    return TimelineRow(
        point.number,
        point.place if point.command is None else line_of(point.command),
        phase,
        point.branch,
        0 if point.parent is None else point.parent.number,
        point.iteration,
        point.loss,
        point.edit or changed,
        point.small + (0 if kept is None else point.written),
        kept is not None,
        not point.lost or bool(point.place),
        point is here,
        way and here is not None and point.number > here.number,
        () if point.place else ends,
        way,
        note=point.lost,
    )


def with_inside(view: TimelineView, timeline: Timeline, position: Position) -> TimelineView:
    """Return the view with a row for the stop inside a phase: the points are then all in the past."""
    here = timeline.current
    if here is None or view.first + len(view.rows) < view.total:
        return replace(view, total=view.total + 1)
    row = TimelineRow(
        view.stop,
        position.phase,
        position.phase,
        here.branch,
        here.number,
        here.iteration,
        here.loss,
        position.words.partition(": ")[2],
        here=True,
        way=True,
        inside=True,
    )
    return replace(view, rows=(*(replace(each, here=False) for each in view.rows), row), total=view.total + 1)


def changed_words(point: TimelinePoint) -> str:
    """Return the number of tensors that a command wrote, by kind: `4 weights, 8 of the state`."""
    counts = Counter(_KINDS[key[0]] for key in point.wrote)
    return ", ".join(f"{n} {words[n > 1]}" for words, n in counts.items())
