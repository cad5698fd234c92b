"""State that a workload keeps where torch's own tools do not see it: reported once, by name, with a remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from torch import nn

from gradstep.engine.debuggee.attributes import CapturedAttributes
from gradstep.engine.debuggee.strays import Stray
from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.state.attributes import AttributesPart, changed_values
from gradstep.engine.state.generators import Generators
from gradstep.engine.tensor_trees import batch_tensors
from gradstep.values.commands import Forward

_LISTED = 4


class Outside:
    """Reports such state of one workload, each once."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._reported: set[str] = set()

    def after(self, point: TimelinePoint | None, points: Collection[TimelinePoint]) -> Iterator[str]:
        """Yield messages after a command that succeeded.

        Args:
            point: the point that it led to; None when no history is kept.
            points: all points of the history.
        """
        held = self._held
        if point is not None and isinstance(point.command, Forward) and not held.unrepeatable:
            other = next((each for each in points if _is_same_forward(each, point)), None)
            if other is not None and repr(other.loss) != repr(point.loss):
                held.mark_unrepeatable()
                start = f", from the same stop {point.parent.number}" if point.parent else ""
                gave = f"this forward gave another loss than that of stop {other.number}{start}"
                yield f"{gave}: {held.unrepeatable} keeps state"
        if held.unrepeatable and "" not in self._reported:
            self._reported.add("")
            yield (
                f"{held.unrepeatable} keeps state that can't be captured: a view that ran the forward again may have "
                "changed it, and undo does not restore it. From now on no view runs a phase again"
            )
        if held.point.phase == "forward":
            yield from self._kept(held.attributes.capture() if point is None else held.attributes.last)
        elif held.point.phase == "backward":
            yield from self._untrained()

    def _kept(self, now: CapturedAttributes) -> Iterator[str]:
        held = self._held
        before = held.saved.captured.get(AttributesPart.name)
        written = [key[1] for key in held.saved.copies.of("attribute", written=True).keys]
        new = [name for name in self._changed(before, now, written) if name not in self._reported]
        self._reported.update(new)
        if new:
            names = ", ".join(f"`self.{name}`" for name in new[:_LISTED])
            more = f" and {len(new) - _LISTED} more" if len(new) > _LISTED else ""
            yield (
                f"this model keeps state in {names}{more}, outside of parameters and buffers. Views, undo and "
                "`checkpoint` restore it; `state_dict()` lacks it: make it a buffer, or list its object in `state=`"
            )

    def _changed(self, before: CapturedAttributes | None, now: CapturedAttributes, written: list[str]) -> list[str]:
        if before is None or (before is now and not written):
            return []
        tensors = dict(before.tensors())
        moved = [path for path, tensor in now.tensors() if tensors.get(path) is not tensor]
        paths = [*changed_values(before, now), *moved, *written]
        return sorted({path.partition("[")[0] for path in paths})

    def _untrained(self) -> Iterator[str]:
        held = self._held
        batch = {id(tensor) for _, tensor in batch_tensors(held.point.batch)}
        groups: dict[str, list[Stray]] = {}
        for stray in sorted(held.strays.values(), key=lambda stray: stray.name):
            if stray.name not in self._reported and id(stray.leaf) not in batch and stray.leaf.grad is not None:
                self._reported.add(stray.name)
                groups.setdefault(stray.name.partition("[")[0], []).append(stray)
        for top, strays in groups.items():
            names = " and ".join(f"{stray.name} {tuple(stray.leaf.shape)}" for stray in strays[:2])
            names += f" and {len(strays) - 2} more" if len(strays) > 2 else ""
            what = "get gradients but are" if len(strays) > 1 else "gets a gradient but is"
            remedy = "give it to the optimizer, or make it an nn.Parameter of a module"
            if isinstance(strays[0].leaf, nn.Parameter) and strays[0].name != top:
                remedy = f"`{top}` is a plain container: use nn.ModuleList, nn.ParameterList or nn.ModuleDict"
            yield f"{names} {what} never trained: no optimizer has it. {remedy}"


def _is_same_forward(one: TimelinePoint, other: TimelinePoint) -> bool:
    """Return whether one forward from one point, with the same random generators, led to both points."""
    if one is other or one.parent is not other.parent or one.command != other.command:
        return False
    checkpoints = (one.checkpoint, other.checkpoint)
    if None in checkpoints:
        return False
    drawn = [checkpoint.captured[Generators.name] for checkpoint in checkpoints if checkpoint is not None]
    return not any(Generators().differ(*drawn))
