"""Travel to a point of the timeline: restore a checkpoint, then rerun the commands after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, TypeVar

import torch
from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.bits import same_bits, sketch_of, write
from gradstep.engine.held import Held
from gradstep.engine.history.before import command_name, saved_before
from gradstep.engine.history.peek import lend_graph, peek
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import ModuleEntered, NodeAbout
from gradstep.engine.state import registry
from gradstep.engine.state.digest import digest, digest_at
from gradstep.engine.state.images import Image, Images
from gradstep.engine.state.part import Key
from gradstep.engine.state.saved import Saved, restore_parts
from gradstep.engine.state.snapshot import Checkpoint, restore, tensors_of
from gradstep.engine.yielding import give_way, never
from gradstep.values.commands import Forward, PointCommand
from gradstep.values.errors import GradstepError, wrong

_Watched = TypeVar("_Watched")


class Arrival(Struct, frozen=True):
    """How a point was reached."""

    again: int = 0
    """The number of commands that were rerun."""
    differ: tuple[str, ...] = ()
    """What differed in the rerun; the kept results were used instead."""


def go(timeline: Timeline, target: TimelinePoint) -> Arrival:
    """Go to a point: restore everything as it was there, the graph of the loss included.

    Raises:
        GradstepError: a rerun raised or gave a different result; the workload stays where it was.
    """
    here = timeline.here()
    if target is here:
        return Arrival()
    arrival = _travel(timeline, target, graph=True)
    timeline.current = target
    if not timeline.holds(timeline.branch, target):
        timeline.branch = target.branch
    return arrival


@contextmanager
def visit(timeline: Timeline, target: TimelinePoint) -> Iterator[None]:
    """Restore a point for the block, without its graph; the graph that is alive here survives.

    Raises:
        GradstepError: a rerun raised, gave a different result, or is not possible inside a phase.
    """
    if timeline.runner.inside:
        with peek(timeline, target):
            yield
        return
    if target is timeline.here():
        yield
        return
    with _coming_back(timeline):
        alive = timeline.held.point
        _travel(timeline, target, graph=False)
        lend_graph(timeline, target, alive)
        timeline.visiting = True
        try:
            yield
        finally:
            timeline.visiting = False


@contextmanager
def _coming_back(timeline: Timeline, always: bool = True) -> Iterator[None]:
    """Restore everything at the end of the block, the live graph included.

    With `always` False only when the block raises.
    """
    here, held = timeline.here(), timeline.held
    assert here.checkpoint is not None
    point, refused, begun = held.point, held.refused, held.forward_saved
    graphs = _graphs_of(held)
    if begun is not None:  # its copies are shared with images, whose contents will move; they are only buffers
        begun.copies.copies = [copy.clone() for copy in begun.copies.copies]
    kept = (list(held.losses), list(held.loss_rates)) if always else None  # after a failure, the points have them
    came = False
    # a tensor rewritten with the same bits is not restored, but a live graph would see its version change
    written = [tensor for _, tensor in (*held.parameters, *held.buffers()) if tensor.layout is torch.strided]
    versions = [tensor._version for tensor in written]
    try:
        yield
        came = True
    finally:
        if always or not came:
            restore(held, timeline.images, here.checkpoint)
            restore_parts(held, graphs)
            torch._C._autograd._unsafe_set_version_counter(tuple(written), tuple(versions))
            held.losses[:], held.loss_rates[:] = timeline.losses(here) if kept is None else kept
            held.point, held.refused, held.forward_saved = point, refused, begun
            held.saved = saved_before(here)


def watch_again(
    timeline: Timeline, point: TimelinePoint, watch: Callable[[Held, PointCommand], AbstractContextManager[_Watched]]
) -> _Watched:
    """Rerun the command that led to a point under `watch`, and come back.

    Raises:
        GradstepError: the point before can't be reached, or the command raised this time.
    """
    held, command, before = timeline.held, point.command, point.parent
    assert command is not None
    assert before is not None
    with _coming_back(timeline):
        if before is not timeline.here() or before.forward is not None:
            _travel(timeline, before, graph=True)
        timeline.travelling = True
        try:
            with watch(held, command) as seen:
                timeline.runner.carry_out(command, timeline.scope)
        finally:
            timeline.travelling = False
        return seen


def way_to(target: TimelinePoint) -> tuple[TimelinePoint, list[PointCommand]]:
    """Return a point without a live graph, and the commands that lead from there to the target."""
    base, again = _way(target, graph=True)
    return base, [point.command for point in again if point.command is not None]


def keep_both(timeline: Timeline, first: TimelinePoint, second: TimelinePoint) -> tuple[Checkpoint, Checkpoint]:
    """Return the checkpoints of two points, rerunning commands where they were dropped.

    Raises:
        GradstepError: one can't be reached.
    """
    for point in (first, second):
        if point.checkpoint is None:
            if point.lost:
                raise wrong(f"stop {point.number} can't be compared", point.lost)
            with visit(timeline, point):
                pass
    assert first.checkpoint is not None
    assert second.checkpoint is not None
    return first.checkpoint, second.checkpoint


def _travel(timeline: Timeline, target: TimelinePoint, graph: bool) -> Arrival:
    held = timeline.held
    if target.checkpoint is None and not target.digest:
        _run_on(timeline, target)
    base, again = _way(target, graph)
    with _coming_back(timeline, always=False):
        _put(timeline, base)
        differing = _run_again(timeline, again)
        before = saved_before(target)
        held.saved = before if before.known or not again else held.saved  # the rerun has saved it
    differ = tuple(f"{command_name(kind)}: {what}" for kind, what in differing.items())
    return Arrival(len(again), differ)


def _run_on(timeline: Timeline, target: TimelinePoint) -> None:
    """Rerun the commands up to a point and on to the next whose bits are known: if those are the same, so were its own.

    Its checkpoint is kept then.

    Raises:
        GradstepError: they differ, or a command raised this time.
    """
    base, way = _way(target, graph=False)
    known = _next_known(timeline, target)
    between = [*islice(known.path(), known.depth - target.depth)][::-1]
    with _coming_back(timeline):
        _put(timeline, base)
        kept = [way[-1], *between[-2:-1]]
        try:
            for points in (way, between[:-1]):
                _run_again(timeline, points)
            if _run_again(timeline, between[-1:]):
                raise _other_bits(timeline, target)
            assert target.checkpoint is not None
            target.digest = digest_at(timeline.held, target.checkpoint)
        except BaseException:
            for point in kept:
                if point.checkpoint is not None:
                    timeline.drop(point)
            raise


def _next_known(timeline: Timeline, target: TimelinePoint) -> TimelinePoint:
    """Return a point after the target that has a checkpoint or a digest."""
    for point in timeline.points.values():
        known = point.checkpoint is not None or point.digest
        if known and point.depth > target.depth and target.leads_to(point):
            return point
    raise wrong(f"stop {target.number} can no longer be reached", "no stop after it is kept that could prove a rerun")


def _other_bits(timeline: Timeline, point: TimelinePoint) -> GradstepError:
    """Return the error of a rerun that gave other bits, and check commands before relying on them from now on."""
    timeline.trusting = False
    what = f"rerunning the commands up to {command_name(type(point.command))} did not give the same bits"
    return wrong(f"stop {point.number} can't be reached again", what)


def _way(target: TimelinePoint, graph: bool) -> tuple[TimelinePoint, list[TimelinePoint]]:
    """Return the point to restore, and those to rerun from there, the target last.

    Checkpoints have no graph: when one is needed, the rerun starts before the forward that made it.
    """
    if target.checkpoint is not None and (target.forward is None or not graph):
        return target, []
    again: list[TimelinePoint] = []
    why = ""
    first = target.forward if graph else None
    for point in target.path():
        if first is None and is_base(point):
            return point, again[::-1]
        if point.parent is None or point.lost:
            why = point.lost
            break
        again.append(point)
        if point is first:
            first = None
    raise wrong(f"stop {target.number} can no longer be reached", why or "no checkpoint leads to it")


def _put(timeline: Timeline, point: TimelinePoint) -> None:
    held = timeline.held
    assert point.checkpoint is not None
    held.saved = Saved()  # free its memory for the contents that move
    restore(held, timeline.images, point.checkpoint)
    timeline.put_losses(point, timeline.here())
    held.forward_saved, held.refused = None, ""
    held.forget_graph()


def _run_again(timeline: Timeline, points: list[TimelinePoint]) -> dict[type[object], str]:
    """Rerun the commands of points; return the kinds that gave a different result, and what differed.

    What was kept of a point overrides the result of the rerun. The digest proves the rest.
    """
    held = timeline.held
    differing: dict[type[object], str] = {}
    runner = timeline.runner
    observed, runner.observed, timeline.travelling = runner.observed, True, True
    try:
        for place, point in enumerate(points):
            assert point.command is not None
            with _giving_way(timeline):
                timeline.runner.carry_out(point.command, timeline.scope)
            if point.checkpoint is None and point.results is None and not _same_results(held, point):
                raise _other_bits(timeline, point)
            for back, entry in enumerate(reversed(point.entries), 1):
                held.losses[-back], held.loss_rates[-back] = entry
            last = place == len(points) - 1
            if point.checkpoint is not None:
                what = _compare_and_restore(timeline, point, point.checkpoint, last)
            else:
                what = _put_results(held, timeline.images, point.results) if point.results is not None else ""
                if point.rest is not None:
                    restore_parts(held, point.rest)
                if last:
                    _prove(timeline, point)
            if what:
                differing.setdefault(type(point.command), what)
    finally:
        runner.observed, timeline.travelling = observed, False
    return differing


@contextmanager
def _giving_way(timeline: Timeline) -> Iterator[None]:
    """Give up what the block runs, at a module or a node, once a command waits for the look that it is rerun for."""
    held, waits = timeline.held, timeline.waits

    def yields(_: object) -> None:
        give_way(waits)

    def graph(call: EngineCall) -> GraphRecord | None:
        return None if held.graph_takes_long else call.whole_graph()

    yields(None)
    with nullcontext() if waits is never else observe({ModuleEntered: yields, NodeAbout: yields}, graph=graph):
        yield
    yields(None)  # the user's code may have caught the error


def _same_results(held: Held, point: TimelinePoint) -> bool:
    """Return whether a command has added the same losses again, and its results begin with the same rows."""
    if point.sketch:
        now = dict(tensors_of(held))
        if sketch_of(now.get(key) for key in point.wrote) != point.sketch:
            return False
    recorded = [loss for (_, loss), _ in point.entries]
    again = [loss for _, loss in held.losses[len(held.losses) - len(recorded) :]]
    return [*map(float.hex, again)] == [*map(float.hex, recorded)]


def _compare_and_restore(timeline: Timeline, point: TimelinePoint, kept: Checkpoint, last: bool) -> str:
    """Replace the result of a rerun with the point's checkpoint; return where the two differ."""
    held = timeline.held
    differ = _results_differ(held, timeline.images, kept.images)
    for part in registry.PARTS:
        differ += part.differ(part.present(held), kept.captured[part.name])
    there, before, graphs = held.point, kept.point, _graphs_of(held)
    losses = (there.loss, before.loss) if isinstance(point.command, Forward) else (None, None)
    if not _equal(*losses):
        differ.append("the loss")
    if last or differ:
        restore(held, timeline.images, kept)
        if point.forward is not None:  # with the graphs that the rerun made
            for part in registry.PARTS:
                if part.holds_graphs:
                    part.restore(held, part.with_graphs(kept.captured[part.name], graphs[part.name]))
            for key, tensor in tensors_of(held):
                image = kept.images.get(key)
                if image is not None and tensor is not None and tensor is not image.tensor:
                    write(tensor, image.contents)
        held.point = replace(there, value=before.value, change=before.change)
    return _listed(differ)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return same_bits(one, other)


def _same(images: Images, now: Tensor | None, kept: Image | None) -> bool:
    if kept is None or now is None:
        return kept is None and now is None
    return images.current(now) is kept or same_bits(now, kept.contents)


def _put_results(held: Held, images: Images, results: Mapping[Key, Image | None]) -> str:
    """Replace the result of a rerun with the kept one; return where the two differ."""
    differ = _results_differ(held, images, results)
    images.load(image for image in results.values() if image is not None)
    for key, image in results.items():
        registry.part_of(key).put(held, key, None if image is None else image.tensor)
    return _listed(differ)


def _results_differ(held: Held, images: Images, results: Mapping[Key, Image | None]) -> list[str]:
    now = dict(tensors_of(held))
    return [registry.name_of(key) for key, image in results.items() if not _same(images, now.get(key), image)]


def _graphs_of(held: Held) -> dict[str, Any]:
    """Return the captures of the parts that may hold a graph: those in a checkpoint have no live one."""
    return {part.name: part.capture(held) for part in registry.PARTS if part.holds_graphs}


def _listed(differ: list[str]) -> str:
    return ", ".join(differ[:3]) + (" and more" if len(differ) > 3 else "")


def _prove(timeline: Timeline, point: TimelinePoint) -> None:
    held = timeline.held
    if point.digest and digest(held)[0] != point.digest:
        raise _other_bits(timeline, point)
    timeline.keep(point)


def is_base(point: TimelinePoint) -> bool:
    """Return whether a rerun can start at a point: it has a checkpoint and no live graph."""
    return point.checkpoint is not None and point.forward is None


def run_again_and_compare(timeline: Timeline, way: list[TimelinePoint]) -> dict[type[object], str]:
    """Rerun a sequence of commands, and come back; return the kinds that gave a different result, and what differed.

    Raises:
        GradstepError: one of them raised this time.
    """
    base = way[0].parent
    assert base is not None
    with _coming_back(timeline):
        _put(timeline, base)
        return _run_again(timeline, way)
