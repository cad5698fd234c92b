"""The Layers view: one row a module in forward order, with norms that show vanishing and exploding gradients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import ReadNorms, all_update_norms, has_norm, norms
from gradstep.engine.observe.forward import is_zeroing
from gradstep.engine.reads import Reading, gather, on_host, read, scalars
from gradstep.engine.yielding import Waits, never
from gradstep.values.views.training import LayerRow, LayersView
from gradstep.views.expiry import version_of
from gradstep.views.numbers import Norms
from gradstep.views.training.zeros import FunctionalZeros

_QUICK = 1 << 24
"""Elements up to which an update is measured right after its step: about 10 ms."""


class _Step(NamedTuple):
    """A tensor that a step wrote, with its contents before, until the update is measured."""

    name: str
    live: Tensor
    before: Tensor
    version: int


class LayersViewer:
    """Makes the view, and keeps what can only be measured before the next step: the update of the last one.

    While zeros are recorded, every step is measured when it ends, or if that takes long at the second request after
    it, so that the numbers are there when the panel is shown; a session that never shows it pays nothing.
    """

    def __init__(self, held: Held, waits: Waits = never) -> None:
        self.held, self._waits = held, waits
        self._left: deque[_Step] = deque()
        """What the last step wrote that is not measured yet."""
        self._left_at = -1
        """The stop at which it was left for another request."""
        self._iteration: int | None = None
        self._steps = 0
        self._updates: dict[str, tuple[float | None, float | None]] = {}
        self._functional = FunctionalZeros()
        self.fresh: list[tuple[Tensor, float | None]] = []
        """The norms of the weights that the last step wrote, taken with its update."""

    def acted(self) -> None:
        """Measure the update of the phase that has just ended, when the panel is shown."""
        self.fresh = []
        if self.held.recording.zeros:
            with suppress(Exception):  # a failed measurement is not a failure of the phase: it is shown as not observed
                self._observe()
                if sum(step.live.numel() for step in self._left) <= _QUICK:
                    self.fresh = read(self._measure(never, norms))

    def view(self, stop: int, selected: str, taken: Norms | None = None, hurry: bool = False) -> Reading[LayersView]:
        """Read the rows.

        Args:
            stop: the number of the stop.
            selected: the name of the selected parameter.
            taken: the norms already computed for the same look.
            hurry: True to leave the measuring of a large update for the next request at the stop.
        """
        taken = taken or Norms()
        self._observe()
        if hurry and self._left_at != stop and self._left:
            self._left_at = stop
        else:
            yield from self._measure(self._waits if hurry else never, taken.of)
        held, functional = self.held, self._functional.shares
        known = (self._iteration, self._steps) == (held.point.iteration, held.point.steps)
        modules = _in_forward_order(held)
        own = {path: _own(held, module, path) for path, _, module in modules}
        there = {path: [p.grad for _, p in pairs if p.grad is not None] for path, pairs in own.items()}
        weights, grads, shares = yield from gather(
            [
                _by_module({path: [p for _, p in pairs] for path, pairs in own.items()}, taken),
                _by_module(there, taken),
                _shares(held.point.watched.zeros),
            ]
        )
        rows = []
        for path, place, module in modules:
            zeros = shares.get(path)
            if not own[path] and zeros is None and not is_zeroing(module):
                continue
            update, before = _update(own[path], self._updates) if known and own[path] else (None, None)
            frozen = [name for name, p in own[path] if not p.requires_grad]
            row = LayerRow(
                path,
                type(module).__name__,
                weights.get(path),
                grads.get(path),
                update,
                None if update is None or before is None else _ratio(update, before),
                zeros,
                frozen=bool(own[path]) and len(frozen) == len(own[path]),
                partly=tuple(name.rpartition(".")[2] for name in frozen) if len(frozen) < len(own[path]) else (),
                selected=any(f"{selected}.".startswith(f"{name}.") for name, _ in own[path]),
            )
            rows.append((place, row))
        rows += [(place, LayerRow(path, "relu()", zeros=share)) for place, path, share in functional]
        rows.sort(key=lambda pair: pair[0])
        note = "" if rows else "no module has a parameter"
        return LayersView(
            stop, tuple(row for _, row in rows), self._iteration if known else None, note, bool(self._left)
        )

    def _observe(self) -> None:
        held = self.held
        self._functional.observe(held)
        point = held.point
        if point.phase != "step" or (self._iteration, self._steps) == (point.iteration, point.steps):
            return
        saved = held.saved.copies.of("weight")
        each = zip(saved.keys, saved.live, saved.copies, strict=True)
        kept = [_Step(name, live, copy, version_of(live)) for (_, name), live, copy in each if has_norm(live)]
        if kept:
            self._iteration, self._steps = point.iteration, point.steps
            self._updates, self._left = {}, deque(kept)

    def _measure(self, waits: Waits, of: ReadNorms) -> Reading[list[tuple[Tensor, float | None]]]:
        """Measure what is left of the last update, until a command waits; return the norms of the weights.

        Args:
            waits: returns whether a command waits.
            of: reads the norms of tensors, which may be known.
        """
        weights: list[tuple[Tensor, float | None]] = []
        while self._left and not waits():
            steps = [self._left.popleft()]
            if waits is never or not on_host(steps[0].live):  # all together: each would wait for the device
                steps += self._left
                self._left.clear()
            steps = [step for step in steps if version_of(step.live) == step.version]  # not written since
            measured = yield from all_update_norms([(step.live, step.before) for step in steps], of)
            for step, found in zip(steps, measured, strict=True):
                self._updates[step.name] = (found.change, found.before)
                weights.append((step.live, found.after))
        return weights


def _in_forward_order(held: Held) -> list[tuple[str, float, nn.Module]]:
    """Return path, place and module, by the first time that the last forward entered each.

    A module that it never entered (its weight is used directly) comes after the module around it.
    """
    entered: dict[str, int] = {}
    for place, path in enumerate(held.point.watched.owners.paths):
        if path is not None:
            entered.setdefault(path, place)
    found = []
    for module, path in held.paths.items():
        around = path
        while around not in entered and around:
            around = around.rpartition(".")[0]
        found.append((path, float(entered.get(around, 0)), module))
    found.sort(key=lambda each: each[1])
    return found


def _own(held: Held, module: nn.Module, path: str) -> list[tuple[str, nn.Parameter]]:
    parameters = [p for p in module._parameters.values() if p is not None]
    if not path:
        parameters += [p for name, p in held.parameters if name not in held.owned]
    return [(held.names.get(p, ""), p) for p in parameters]


def _by_module(tensors: dict[str, list[Tensor]], taken: Norms) -> Reading[dict[str, float]]:
    """Read the norm over all tensors of each module, where there is one."""
    each = iter((yield from taken.of([tensor for several in tensors.values() for tensor in several])))
    found = {}
    for path, several in tensors.items():
        parts = [norm for norm in (next(each) for _ in several) if norm is not None]
        if parts:
            found[path] = _hypot(parts)
    return found


def _hypot(parts: Sequence[float]) -> float:
    """Return the norm of norms; NaN when one of them is NaN, as in torch and unlike `math.hypot` with an inf."""
    return math.nan if any(map(math.isnan, parts)) else math.hypot(*parts)


def _update(
    own: Sequence[tuple[str, nn.Parameter]], updates: dict[str, tuple[float | None, float | None]]
) -> tuple[float | None, float | None]:
    """Return the norm of the update of a module's parameters, and their norm before."""
    pairs = [(moved, before) for moved, before in (updates.get(name, (None, None)) for name, _ in own)]
    moved = [moved for moved, _ in pairs if moved is not None]
    before = [before for _, before in pairs if before is not None]
    return (_hypot(moved) if moved else None), (_hypot(before) if before else None)


def _ratio(update: float, before: float) -> float:
    if before == 0:
        return math.inf if update else 0.0
    return update / before


def _shares(zeros: Mapping[str, Sequence[tuple[Tensor, int]]]) -> Reading[dict[str, float]]:
    """Read the share of zeros over all calls of each module."""
    total = {path: sum(size for _, size in counts) for path, counts in zeros.items()}
    nonzero = iter((yield from scalars([count for counts in zeros.values() for count, _ in counts])))
    counted = {path: int(sum(next(nonzero) for _ in counts)) for path, counts in zeros.items()}
    return {path: (size - counted[path]) / size for path, size in total.items() if size}
