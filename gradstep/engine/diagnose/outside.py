"""What a workload keeps where torch's own tools do not see it: told once, by name, with the remedy."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from gradstep.engine.debuggee.attributes import Kept
from gradstep.engine.debuggee.batches import leaves
from gradstep.engine.held import Held
from gradstep.engine.state.attributes import AttributesPart, changed_values

_LISTED = 4


class Outside:
    """What has been told of one workload."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._told: set[str] = set()

    def after(self) -> Iterator[str]:
        """Yield what there is to say after an act that went through."""
        held = self._held
        if held.point.phase == "forward":
            yield from self._kept()
        elif held.point.phase == "backward":
            yield from self._untrained()

    def _kept(self) -> Iterator[str]:
        held = self._held
        before, now = held.saved.kept.get(AttributesPart.name), held.attributes.capture()
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

    def _changed(self, before: Kept | None, now: Kept, written: list[str]) -> list[str]:
        if before is None or (before is now and not written):
            return []
        tensors = dict(before.tensors())
        moved = [path for path, tensor in now.tensors() if tensors.get(path) is not tensor]
        paths = [*changed_values(before, now), *moved, *written]
        return sorted({path.partition("[")[0] for path in paths})

    def _untrained(self) -> Iterator[str]:
        held = self._held
        batch = {id(tensor) for _, tensor in leaves(held.point.batch)}
        for stray in held.strays.values():
            if stray.name in self._told or id(stray.leaf) in batch or stray.leaf.grad is None:
                continue
            self._told.add(stray.name)
            shape, (top, bracket, _) = tuple(stray.leaf.shape), stray.name.partition("[")
            remedy = "register it in a module, or give it to the optimizer"
            if bracket and isinstance(stray.leaf, nn.Parameter):
                remedy = f"`{top}` is a plain container: use nn.ModuleList, nn.ParameterList or nn.ModuleDict"
            yield (
                f"{stray.name} {shape} gets a gradient and will never be trained: no registered module and no "
                f"optimizer has it; {remedy}"
            )
