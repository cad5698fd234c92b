"""What a script trains, found by watching it: its models, their names, its optimizers, and tensors without a module."""

from __future__ import annotations

from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.engine.held import Held
from gradstep.engine.script.frames import named_values
from gradstep.workload import Workload


class Found:
    """The models and optimizers seen so far, as a debuggee that every view can look at."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._models: list[nn.Module] = []
        """The outermost modules that were called, or what the script calls the whole that they are part of."""
        self._known: set[nn.Module] = set()
        """The models, all that is inside of them, and modules without parameters."""
        self.optimizers: list[Optimizer] = []
        self._leaves: list[Tensor] = []
        self._changed = True
        self._held: Held | None = None

    def module(self, module: nn.Module, frame: FrameType | None) -> None:
        """Note that an outermost module was called."""
        if module in self._known:
            return
        whole = _whole(module, frame)
        self._known.update(whole.modules())
        if next(whole.parameters(), None) is None and next(whole.buffers(), None) is None:
            return
        inside = set(whole.modules())
        self._models = [each for each in self._models if each not in inside] + [whole]
        self._changed = True

    def optimizer(self, optimizer: Optimizer) -> None:
        """Note that an optimizer was used."""
        if not any(each is optimizer for each in self.optimizers):
            self.optimizers.append(optimizer)
            self._changed = True

    def leaves(self, leaves: list[Tensor]) -> None:
        """Note the leaves of a graph: those that no module owns are parameters of the script's own."""
        owned = {id(p) for model in self._models for p in model.parameters()} | {id(each) for each in self._leaves}
        new = [leaf for leaf in leaves if id(leaf) not in owned]
        if new:
            self._leaves += new
            self._changed = True

    def held(self, frame: FrameType | None) -> Held:
        """Return what was found as a debuggee; made anew when more was found since the last time."""
        if self._held is None or self._changed:
            self._changed = False
            self._held = self._make(frame)
        return self._held

    def _make(self, frame: FrameType | None) -> Held:
        model = self._model(frame)
        optimizer = self.optimizers[-1] if self.optimizers else NoOptimizer()
        first = next(model.parameters(), next(iter(self._leaves), torch.empty(0)))
        workload = Workload(
            model,
            compute_loss=_not_run_from_here,
            optimizer=optimizer,
            batches=[()],
            name=self._name,
        )
        made, old = Held(workload, first.device, loose=self._names_of_leaves(model, frame)), self._held
        if old is not None:
            made.losses, made.loss_rates, made.point = old.losses, old.loss_rates, old.point
            made.recording = old.recording
        return made

    def _model(self, frame: FrameType | None) -> nn.Module:
        if len(self._models) == 1:
            return self._models[0]
        whole, names = nn.Module(), {id(value): name for name, value in reversed(list(named_values(frame)))}
        whole.__class__ = type("Models", (nn.Module,), {})
        for model in self._models:
            name = base = names.get(id(model), type(model).__name__.lower())
            number = 1
            while name in whole._modules:
                number += 1
                name = f"{base}{number}"
            whole._modules[name] = model
        return whole

    def _names_of_leaves(self, model: nn.Module, frame: FrameType | None) -> dict[str, Tensor]:
        owned = {id(parameter) for parameter in model.parameters()}
        names = {id(value): name for name, value in reversed(list(named_values(frame)))}
        loose = [leaf for leaf in self._leaves if id(leaf) not in owned]
        return {names.get(id(leaf), f"leaf{number}"): leaf for number, leaf in enumerate(loose)}


class NoOptimizer(Optimizer):
    """Stands for the optimizer of a script that has shown none."""

    def __init__(self) -> None:
        self.param_groups, self.defaults = [], {}
        self.state: Any = {}


def _whole(module: nn.Module, frame: FrameType | None) -> nn.Module:
    """Return a module, or where the script has no variable for it the largest one of its variables that it is in."""
    named = [value for _, value in named_values(frame) if isinstance(value, nn.Module)]
    if any(each is module for each in named):
        return module
    around = [each for each in named if each is not module and any(inner is module for inner in each.modules())]
    return max(around, key=lambda each: sum(1 for _ in each.modules()), default=module)


def _not_run_from_here(*_: object) -> Tensor:
    raise NotImplementedError("the script computes its loss itself")
