"""Weights and gradients that the script writes itself, outside of the phases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.observe.engine_calls import EngineCall, is_transformed
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.loop_phases import Name
from gradstep.engine.script.copies import CopiesBefore, weights_of
from gradstep.engine.script.found import Found
from gradstep.engine.script.iterations import Iterations
from gradstep.engine.script.stops import ScriptStops
from gradstep.engine.state.saved import Saved
from gradstep.values.numbers import listed


class Written(NamedTuple):
    """The names of what was written between the end of a phase and the beginning of the next."""

    weights: tuple[str, ...] = ()
    grads: tuple[str, ...] = ()
    """The parameters whose `.grad` was written or replaced, and is not cleared."""
    to_none: tuple[str, ...] = ()
    """The parameters whose `.grad` was set to None."""
    to_zeros: tuple[str, ...] = ()
    """The parameters whose `.grad` was filled with zeros."""


_NOTHING = Written()


class Writes:
    """Finds what was written between the end of a phase and the beginning of the next.

    A write through `.data` leaves the version counter as it is: where there is no optimizer, contents are compared.
    """

    def __init__(self) -> None:
        self._names: Mapping[Tensor, str] = {}
        self._seen: list[tuple[Tensor, int, Tensor | None, int]] = []
        self._copies: Mapping[str, Tensor] = {}

    def mark(self, names: Mapping[Tensor, str], copies: Mapping[str, Tensor] | None = None) -> None:
        """Note the parameters as they are now.

        Args:
            names: the parameters.
            copies: their contents, by name, where those are to be compared.
        """
        self._names, self._copies = names, copies or {}
        self._seen = [(each, each._version, g := each.grad, 0 if g is None else g._version) for each in names]

    def touched(self) -> tuple[str, ...]:
        """Return the parameters whose `.grad` was written or replaced since `mark`."""
        now = ((weight, weight.grad, old, version) for weight, _, old, version in self._seen)
        differing = (
            weight for weight, g, old, version in now if g is not old or (g is not None and g._version != version)
        )
        return tuple([self._names[weight] for weight in differing])

    def found(self) -> Written:
        """Return what was written since `mark`; the next call finds nothing before another `mark`."""
        if not self._seen:
            return _NOTHING
        names, seen, copies, self._seen, self._copies = self._names, self._seen, self._copies, [], {}
        weights = [
            names[weight]
            for weight, version, _, _ in seen
            if weight._version != version or (copies and _differs(weight, copies, names[weight]))
        ]
        grads: list[str] = []
        to_none: list[str] = []
        to_zeros: list[str] = []
        for weight, _, grad, version in seen:
            now = weight.grad
            if _is_other(now, grad, version):
                (to_none if now is None else grads if _any(now) else to_zeros).append(names[weight])
        return Written(tuple(weights), tuple(grads), tuple(to_none), tuple(to_zeros))


def _is_other(now: Tensor | None, grad: Tensor | None, version: int) -> bool:
    return now is not grad or (now is not None and now._version != version)


def _differs(weight: Tensor, copies: Mapping[str, Tensor], name: str) -> bool:
    return name in copies and not same_bits(weight.detach(), copies[name])


def _any(grad: Tensor) -> bool:
    """Return whether any element is not zero."""
    with unobserved():
        return grad.is_sparse or grad.is_meta or bool(grad.detach().any())


class ScriptWrites:
    """Finds what a script writes itself; where no optimizer is known, a write of weights is a step.

    Args:
        found: what is trained.
        iterations: counts the updates.
        stops: stops the script at such a step.
        copies: copies the weights.
        show: called with `step` and what is known of one.
    """

    def __init__(
        self,
        found: Found,
        iterations: Iterations,
        stops: ScriptStops,
        copies: CopiesBefore,
        show: Callable[..., None],
    ) -> None:
        self._found, self._iterations, self._stops, self._copies, self._show = found, iterations, stops, copies, show
        self._writes = Writes()
        self._unowned = Saved()
        """Copies from the end of the last phase, where no optimizer is known."""
        self.updates = False
        """True once the script has written weights itself, and no optimizer was seen."""
        self.clipped: tuple[str, ...] = ()
        """The parameters whose `.grad` was written in front of the phase that runs."""

    def forget(self) -> None:
        """Forget the weights of the last phase."""
        self.clipped, self._writes, self._unowned = (), Writes(), Saved()

    def touched(self) -> tuple[str, ...]:
        """Return the parameters whose `.grad` was written or replaced since the last phase."""
        return self._writes.touched()

    def mark(self, ended: Name) -> None:
        """Note the weights at the end of a phase; their contents too while no optimizer is known."""
        held = self._stops.now()
        if is_transformed():
            return
        if self._found.optimizers:
            if ended == "step" or not self._stops.runs_on:
                self._writes.mark(held.names)
        else:
            self._unowned = self._copies.take(held, "step")
            self._writes.mark(held.names, weights_of(self._unowned))

    def find(self, name: Name, of: Any, frame: FrameType | None) -> None:
        """Find what was written since the last phase, as another begins; for the arguments see `Phase`."""
        replaced = self._find_in_graph(of, frame) if name == "backward" else ()
        written = self._writes.found()
        self.clipped = written.grads
        for each in (*written.to_none, *written.to_zeros):
            self._found.ledger.cleared(each, each in written.to_none)
        names = (*written.weights, *replaced)
        if not names:
            return
        if self._found.optimizers:
            self._stops.tell(f"written outside of optimizer.step: {listed(names)}")
            return
        self._iterations.updates += 1
        self.updates = True
        held = self._stops.now()
        point = held.point
        since, steps = point.steps_since_forward + 1, point.steps + 1
        text = f"the script updates {listed(names)} itself"
        self._show("step", torch=text, written=names, steps_since_forward=since, steps=steps, unowned=True)
        held.saved = self._unowned
        self._stops.end_of("step")

    def _find_in_graph(self, call: EngineCall, frame: FrameType | None) -> tuple[str, ...]:
        if self._stops.wanted.runs_on and self._stops.held is not None and self._found.owns_parameters:
            return ()
        return self._found.graph([each.grad_fn for each in call.outputs if isinstance(each, Tensor)], frame)
