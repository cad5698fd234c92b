"""What a workload keeps where torch's own tools do not see it: told once, by name, with the remedy."""

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
    """What has been told of one workload."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._told: set[str] = set()

    def after(self, point: TimelinePoint | None, points: Collection[TimelinePoint]) -> Iterator[str]:
        """Yield what there is to say after an act that went through.

        Args:
            point: where it led to; None where no history is kept.
            points: those of the history.
        """
        held = self._held
        if point is not None and isinstance(point.command, Forward) and not held.unrepeatable:
            other = next((each for each in points if _is_same_forward(each, point)), None)
            if other is not None and repr(other.loss) != repr(point.loss):
                held.came_out_otherwise()
                place = f"stop {other.number}, from the same stop {point.parent.number}" if point.parent else ""
                yield f"this forward came out otherwise than the one to {place}: {held.unrepeatable} keeps state"
        if held.unrepeatable and "" not in self._told:
            self._told.add("")
            yield (
                f"{held.unrepeatable} keeps state that can't be captured: a look that ran the forward again may have "
                "changed it, and undo does not put it back. From here on no look runs a phase again"
            )
        if held.point.phase == "forward":
            yield from self._kept(held.attributes.capture() if point is None else held.attributes.last)
        elif held.point.phase == "backward":
            yield from self._untrained()

    def _kept(self, now: CapturedAttributes) -> Iterator[str]:
        held = self._held
        before = held.saved.captured.get(AttributesPart.name)
        written = [key[1] for key in held.saved.copies.of("attribute", written=True).keys]
        new = [name for name in self._changed(before, now, written) if name not in self._told]
        self._told.update(new)
        if new:
            names = ", ".join(f"`self.{name}`" for name in new[:_LISTED])
            more = f" and {len(new) - _LISTED} more" if len(new) > _LISTED else ""
            yield (
                f"this model keeps state in {names}{more}, outside of parameters and buffers. Looks, undo and "
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
            if stray.name not in self._told and id(stray.leaf) not in batch and stray.leaf.grad is not None:
                self._told.add(stray.name)
                groups.setdefault(stray.name.partition("[")[0], []).append(stray)
        for top, strays in groups.items():
            names = " and ".join(f"{stray.name} {tuple(stray.leaf.shape)}" for stray in strays[:2])
            names += f" and {len(strays) - 2} more" if len(strays) > 2 else ""
            what = "get gradients" if len(strays) > 1 else "gets a gradient"
            remedy = "give it to the optimizer, or make it an nn.Parameter of a module"
            if isinstance(strays[0].leaf, nn.Parameter) and strays[0].name != top:
                remedy = f"`{top}` is a plain container: use nn.ModuleList, nn.ParameterList or nn.ModuleDict"
            yield f"{names} {what} and will never be trained: no optimizer has it. {remedy}"


def _is_same_forward(one: TimelinePoint, other: TimelinePoint) -> bool:
    """Return whether two points were reached by a forward from the same point, drawing from the same generators."""
    if one is other or one.parent is not other.parent or one.command != other.command:
        return False
    checkpoints = (one.checkpoint, other.checkpoint)
    if None in checkpoints:
        return False
    drawn = [checkpoint.captured[Generators.name] for checkpoint in checkpoints if checkpoint is not None]
    return not any(Generators().differ(*drawn))
