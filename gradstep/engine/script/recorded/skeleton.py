"""The modules of a script without their tensors, and where each tensor goes."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.script.recorded.blank import blank_module
from gradstep.engine.state.part import Key


class Skeleton:
    """A script's modules without their tensors and without what the script keeps in them: classes, paths, numbers."""

    def __init__(self, held: Held) -> None:
        self.of = weakref.ref(held)
        """What it was made of, to be recognised by."""
        self.device, self.models = held.device, held.models
        self._blank: dict[int, nn.Module] = {}
        self.slots: list[tuple[dict[str, Any], str, Key]] = []
        self._buffers: dict[int, dict[str, str]] = {id(slots): {} for _, slots, _ in held.buffer_slots}
        for name, slots, key in held.buffer_slots:
            self._buffers[id(slots)][key] = name
        self.model = self._copy(held.model, held.names)
        owned = {key[1] for _, _, key in self.slots if key[0] == "weight"}
        self.loose = [name for name, _ in held.parameters if name not in owned]
        self.names = [name for name, _ in held.parameters]

    def _copy(self, module: nn.Module, names: Mapping[Tensor, str]) -> nn.Module:
        if id(module) in self._blank:
            return self._blank[id(module)]
        made = self._blank[id(module)] = blank_module(module)
        for key, parameter in module._parameters.items():
            made._parameters[key] = None
            if parameter is not None and parameter in names:
                self.slots.append((made._parameters, key, ("weight", names[parameter])))
        for key, name in self._buffers.get(id(module._buffers), {}).items():
            made._buffers[key] = None
            self.slots.append((made._buffers, key, ("buffer", name)))
        for key, child in module._modules.items():
            made._modules[key] = None if child is None else self._copy(child, names)
        return made
