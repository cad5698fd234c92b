"""A tensor of the state at two points of the timeline: a window onto both and onto second minus first."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.bits import beside
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import keep_both
from gradstep.engine.numbers.readable import dtype_name, notes_on, why_not
from gradstep.engine.numbers.selection import cut
from gradstep.engine.reads import Reading, gather
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.engine.yielding import Waits, never
from gradstep.values.errors import wrong
from gradstep.values.expressions import name_line
from gradstep.values.views.tensor import Between, LookPlace, LookTensor, Pair, PlaceView, Quantity, TensorView
from gradstep.views.tensor.before_after import BeforeAfter, window_of
from gradstep.views.tensor.goto import place_between
from gradstep.views.tensor.measures import Measures
from gradstep.views.tensor.view import framed

Missing = Literal["", "first", "second"]


class DifferenceViewer:
    """Makes views of a tensor at two points."""

    def __init__(self, waits: Waits = never) -> None:
        self.measures = Measures(waits)

    def view(self, timeline: Timeline, stop: int, look: LookTensor, between: Between) -> Reading[TensorView]:
        """Read a window onto second minus first; where one side has no such tensor, onto the other.

        Only the window is copied. Statistics are of the whole tensor.

        Raises:
            GradstepError: a point does not exist or can't be reached, or neither has a tensor of this name.
        """
        points = timeline.named(between.first), timeline.named(between.second)
        first, second = _tensors(timeline, points, between.name)
        names = [_name(word, point) for word, point in zip((between.first, between.second), points, strict=True)]
        missing: Missing = "first" if first is None else "second" if second is None else ""
        pair = Pair(names[0], names[1], points[0].number, points[1].number, missing)
        there = first if second is None else second
        assert there is not None
        line = name_line(between.name)
        base = TensorView(stop, line, between.name, whole=tuple(there.shape), dtype=dtype_name(there), pair=pair)
        reason = why_not(there) or _why_not_both(first, second)
        if reason:
            return replace(base, note=reason)
        before = None if missing or first is None else beside(first, there)
        side = BeforeAfter(between.name, there, before, "none" if missing else "kept")
        quantity: Quantity = "value" if missing else "ratio" if look.quantity == "ratio" else "change"
        chosen = cut(there.shape, ())
        view, window = framed(base, chosen, look)
        self.measures.refresh(stop, timeline.held.point)
        alone = [None if tensor is None else _alone(between.name, tensor) for tensor in (first, second)]
        known, moved, value = yield from gather(
            [
                gather([self.measures.of(each, chosen, "value", look) for each in alone if each is not None]),
                self.measures.of(side, chosen, quantity, look),
                window_of(side, window, quantity),
            ]
        )
        of_first, of_second = (known[0] if first is not None else None), (known[-1] if second is not None else None)
        gone = {"first": f"{names[0]} has no such tensor", "second": f"{names[1]} has no such tensor"}.get(missing, "")
        return replace(
            view,
            value=value,
            statistics=moved,
            note="; ".join([*notes_on(there), *filter(None, [gone])]),
            quantity=quantity,
            due=moved is None or None in known,
            pair=replace(pair, first_statistics=of_first, second_statistics=of_second),
        )

    @staticmethod
    def place(timeline: Timeline, stop: int, look: LookPlace, between: Between) -> PlaceView:
        """Return where an extreme of second minus first is.

        Raises:
            GradstepError: a point does not exist or can't be reached, or neither has a tensor of this name.
        """
        points = timeline.named(between.first), timeline.named(between.second)
        names = [_name(word, point) for word, point in zip((between.first, between.second), points, strict=True)]
        nothing = PlaceView(stop, f"{name_line(between.name)}, {names[1]} − {names[0]}", look.extreme)
        first, second = _tensors(timeline, points, between.name)
        there = first if second is None else second
        assert there is not None
        reason = why_not(there) or _why_not_both(first, second)
        if reason or look.grad:
            return replace(nothing, why=reason or "a difference has no .grad: choose it in Compare")
        return place_between(nothing, there, first if second is not None else None)


def _tensors(timeline: Timeline, points: tuple[TimelinePoint, TimelinePoint], name: str) -> list[Tensor | None]:
    found = [_of(kept, name) for kept in keep_both(timeline, *points)]
    if found == [None, None]:
        raise wrong("there is no such tensor", f"{name} exists at neither point", "choose one in Compare", name)
    return found


def _of(checkpoint: Checkpoint, name: str) -> Tensor | None:
    image = next((image for key, image in checkpoint.images.items() if name_of(key) == name), None)
    return None if image is None else image.contents


def _why_not_both(first: Tensor | None, second: Tensor | None) -> str:
    """Return why two tensors can't be subtracted; empty when they can, or when one is missing."""
    if first is None or second is None:
        return ""
    if first.shape != second.shape:
        return f"they can't be subtracted: the shapes are {tuple(first.shape)} and {tuple(second.shape)}"
    if first.dtype != second.dtype or first.layout != second.layout:
        return f"they can't be subtracted: they are {first.dtype} {first.layout} and {second.dtype} {second.layout}"
    return ""


def _alone(name: str, tensor: Tensor) -> BeforeAfter:
    return BeforeAfter(name, tensor, None, "unknown")


def _name(word: str, point: TimelinePoint) -> str:
    """Return the name of a point: its branch, if it was named by that."""
    return f"stop {point.number}" if word.isdigit() else word
