"""What is recorded of a script that runs through: norms, update ratios, the order of phases, and times."""

from __future__ import annotations

import time
from collections import Counter, defaultdict

import torch
from msgspec import Struct, field
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norms
from gradstep.engine.observe.loop_phases import Edge, Name
from gradstep.engine.reads import gather, read
from gradstep.engine.script.loop import ScriptLoop

SHARE = 0.005
"""Share of the running time that norms may take; over it, iterations are left out."""
MOST = 2000
"""Samples kept of each series: beyond it, every second one is dropped."""


class Layer(Struct):
    """The samples of one parameter, each at an iteration of `RunRecorder.sampled`."""

    name: str
    shape: tuple[int, ...]
    grad: list[float | None] = field(default_factory=list)
    """L2 norm of `.grad` before the step; None where there was none."""
    weight: list[float | None] = field(default_factory=list)
    """L2 norm of the weight before the step."""
    update: list[float | None] = field(default_factory=list)
    """L2 norm of what the step added, over that of the weight; None where that is 0."""


class RunRecorder:
    """Takes note of the phases of a loop, on its thread."""

    def __init__(self, loop: ScriptLoop) -> None:
        self._loop = loop
        self._began = time.perf_counter()
        self.sampled: list[int] = []
        """The iterations whose norms are in `layers`."""
        self.layers: dict[str, Layer] = {}
        self.orders: Counter[tuple[str, ...]] = Counter()
        """How many iterations had their phases in each order."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Seconds in each phase."""
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._order: list[str] = []
        self._iteration = 0
        self._start = 0.0
        """When the phase that runs began, of several the outermost."""
        self._spent = 0.0
        self._before: list[Tensor] | None = None
        self._every = 1

    def told(self, name: Name, edge: Edge, outermost: bool, grad_mode: bool) -> None:
        """Note a phase that begins or has ended."""
        if edge == "ended":
            self.counts[name] += 1
            if outermost:
                if name != "zero_grad":
                    self.seconds[name] += time.perf_counter() - self._start
                shown, order = name if grad_mode or name != "forward" else "forward (no grad)", self._order
                if not order or order[-1] != shown:
                    order.append(shown)
        elif edge == "begins" and outermost:
            if self._loop.iteration != self._iteration:
                self._iteration = self._loop.iteration
                self._end_iteration()
            self._start = time.perf_counter()
        if name == "step" and not self._loop.counts and self._loop.held is not None:
            began = time.perf_counter()
            (self._step_begins if edge == "begins" else self._step_ended)(self._loop.held)
            self._spent += time.perf_counter() - began

    def end(self) -> None:
        """Note that the script has ended."""
        self._end_iteration()

    def _end_iteration(self) -> None:
        if self._order:
            self.orders[tuple(self._order)] += 1
        self._order = []

    def _step_begins(self, held: Held) -> None:
        due = self._iteration % self._every == 0 and self._spent <= SHARE * (time.perf_counter() - self._began)
        self._before = None
        if due or not self.sampled:
            with torch.no_grad():
                self._before = [parameter.detach().clone() for _, parameter in held.parameters]

    def _step_ended(self, held: Held) -> None:
        before, self._before = self._before, None
        if before is None or len(before) != len(held.parameters):
            return
        with torch.no_grad():
            parameters = [parameter.detach() for _, parameter in held.parameters]
            gradients = [p.grad for _, p in held.parameters if p.grad is not None]
            changes = [after - old for after, old in zip(parameters, before, strict=True)]
            grads, weights, updates = read(gather([norms(gradients), norms(before), norms(changes)]))
        found = iter(grads)
        self.sampled.append(self._iteration)
        for (name, parameter), weight, update in zip(held.parameters, weights, updates, strict=True):
            layer = self.layers.setdefault(name, Layer(name, tuple(parameter.shape)))
            missing = len(self.sampled) - 1 - len(layer.grad)
            for series in (layer.grad, layer.weight, layer.update):
                series += [None] * missing
            layer.grad.append(None if parameter.grad is None else next(found))
            layer.weight.append(weight)
            layer.update.append(update / weight if weight and update is not None else None)
        if len(self.sampled) > MOST:
            self._thin()

    def _thin(self) -> None:
        self._every *= 2
        self.sampled = self.sampled[::2]
        for layer in self.layers.values():
            layer.grad, layer.weight, layer.update = layer.grad[::2], layer.weight[::2], layer.update[::2]
