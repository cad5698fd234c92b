"""The history of a loop's phases, which the checks of their order read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from gradstep.engine.held import Held
from gradstep.engine.observe.stream import ScalerCalled

_KEPT = 256
"""Backwards that are remembered while nothing uses or clears their gradients."""
_NEAR = 16
"""Nodes of a graph among which the scaled loss is looked for: several may be summed, or divided."""


@dataclass
class Ran:
    """A backward, and what has become of its gradients."""

    site: tuple[object, ...]
    """Where it was called."""
    wrote: set[str]
    """The parameters that still hold its gradient."""
    finite: bool
    """Whether its loss was finite."""
    used: bool = False
    """True once a step has used some of it."""


@dataclass
class Discarded:
    """The gradients of a backward, cleared before a step has used any of them."""

    site: tuple[object, ...]
    names: frozenset[str]
    finite: bool
    versions: dict[str, int]
    """The version counters of some of these parameters: they change where a script updates weights itself."""


_CALLS = ("clip", "scheduler", "scaler")


def stage_of(scaler: GradScaler, optimizer: Any) -> str:
    """Return what a scaler has done for an optimizer since its last update: READY, UNSCALED or STEPPED."""
    state = scaler._per_optimizer_states
    return str(state[id(optimizer)]["stage"].name) if id(optimizer) in state else "READY"


class Scheduled(NamedTuple):
    """A call of a scheduler."""

    name: str
    """Its class."""
    waiting: bool
    """True where gradients of its optimizer were there that no step had used."""
    backwards: int
    """How many backwards had run."""


@dataclass
class Order:
    """Backwards, steps, clears, and calls of schedulers, in the order in which they came.

    Begun anew where iterations were left out: a check that remembers something forgets it when the order is another.
    """

    whole: bool = True
    """False where iterations before were left out."""
    backwards: int = 0
    """Backwards that added to a `.grad` and have ended."""
    steps: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """How many steps each optimizer has made, by its id; skipped ones too."""
    at_step: dict[int, int] = field(default_factory=dict)
    """`backwards` at the last step of each optimizer, by its id."""
    live: list[Ran] = field(default_factory=list)
    """The backwards whose gradients are still there."""
    discarded: list[Discarded] = field(default_factory=list)
    """What was cleared unused since the parameters' last step."""
    written: bool = False
    """True where the script has written a `.grad` itself since the last step, other than by torch's clipping."""
    scheduled: dict[int, list[Scheduled]] = field(default_factory=lambda: defaultdict(list))
    """For the optimizers that have made no step, the calls of their schedulers, by the optimizer's id."""
    scaler: GradScaler | None = None
    """The scaler that was called last."""
    scaled: set[str] = field(default_factory=set)
    """The parameters whose `.grad` is one of a scaled loss, and has not been unscaled."""
    unscaled: set[str] = field(default_factory=set)
    """The parameters with the gradient of a loss that was not scaled, since `.grad` was cleared."""
    mixed: set[str] = field(default_factory=set)
    """The parameters whose `.grad` is a sum of those of a scaled loss and of one that was not scaled."""
    scales: int = 0
    """Losses that were scaled since the last update of the scaler."""
    _losses: list[int] = field(default_factory=list)
    """The sequence numbers of the nodes that scaled a loss."""
    _clipped: bool = False
    """True once torch's clipping or a scaler has written gradients since the last step."""
    _left: list[tuple[Tensor, int, int]] = field(default_factory=list)
    """Some parameters that the last backward wrote, with identity and version of their `.grad` at its end."""
    _tensors: dict[str, Tensor] = field(default_factory=dict)
    _held: Held | None = None

    def begins(self, phase: str, held: Held, of: Any, written: bool) -> None:
        """Note what begins.

        Args:
            phase: the phase or call.
            held: what is trained.
            of: what it is of.
            written: whether the script has written a `.grad` itself since the last phase.
        """
        if held is not self._held:  # more was found in the script: names may mean others now
            self._held, self.live, self.discarded = held, [], []
            self.scaled, self.unscaled, self.mixed = set(), set(), set()
            self._tensors, self._left = dict(held.parameters), []
        if phase == "clip":
            self._clipped = self._clipped or bool(of.gradients)
        elif phase == "scheduler":
            self._scheduler(type(of.scheduler).__name__, of.scheduler.optimizer)
        elif phase == "scaler":
            self._scaler(of)
        if (written and phase not in _CALLS) or (phase == "step" and self._is_touched()):
            self.written, self._clipped = self.written or not self._clipped, False
        if phase == "zero_grad":
            names = self.names_of(of)
            self.scaled -= names
            self.unscaled -= names
            self.mixed -= names
            self._left = []
            self._cleared(held, names)

    def ended(self, phase: str, held: Held, of: Any, site: Callable[[], tuple[object, ...]]) -> None:
        """Note what has ended; `site` returns where it was called."""
        if phase == "backward" and getattr(of, "accumulates", True):
            self.backwards += 1
            value = held.point.value
            wrote, finite = set(held.point.written), value is None or isfinite(value)
            some = [self._tensors[name] for name in held.point.written[:3] if name in self._tensors]
            self._left = [(p, id(p.grad), p.grad._version) for p in some if p.grad is not None]
            if self._is_scaled(of):
                self.scaled |= wrote
                self.mixed |= wrote & self.unscaled
            elif self.scaler is not None:
                self.unscaled |= wrote
                self.mixed |= wrote & self.scaled
            self.live = [*self.live, Ran(site(), wrote, finite)][-_KEPT:]
        elif phase == "step":
            optimizer = of if isinstance(of, Optimizer) else held.optimizer
            names = self.names_of(optimizer)
            for ran in self.live:
                ran.used = ran.used or not ran.wrote.isdisjoint(names)
            self.discarded = [each for each in self.discarded if each.names.isdisjoint(names)]
            self.steps[id(optimizer)] += 1
            self.at_step[id(optimizer)] = self.backwards
            self.written = self._clipped = False
            self._left = []

    def fresh(self, names: set[str]) -> list[Ran]:
        """Return the backwards whose gradients of some parameters no step has used."""
        return [ran for ran in self.live if not ran.used and not ran.wrote.isdisjoint(names)]

    def thrown_away(self, names: set[str]) -> list[Discarded]:
        """Return what was cleared unused since the last step of some parameters."""
        return [each for each in self.discarded if not each.names.isdisjoint(names)]

    def _cleared(self, held: Held, names: set[str]) -> None:
        for ran in self.live:
            gone = ran.wrote & names
            ran.wrote -= names
            if gone and not ran.used:
                some = sorted(gone)[:3]
                versions = {name: parameter._version for name, parameter in held.parameters if name in some}
                self.discarded.append(Discarded(ran.site, frozenset(gone), ran.finite, versions))
        self.live = [ran for ran in self.live if ran.wrote]
        del self.discarded[:-_KEPT]

    def _is_touched(self) -> bool:
        """Return whether gradients are not as the last backward has left them."""
        return any(id(p.grad) != number or p.grad._version != at for p, number, at in self._left if p.grad is not None)

    def _scaler(self, call: ScalerCalled) -> None:
        self.scaler = call.scaler
        self._clipped = self._clipped or call.name in ("unscale_", "step")
        if call.name == "scale":
            several = call.of if isinstance(call.of, (list, tuple)) else [call.of]
            nodes = [each.grad_fn for each in several if isinstance(each, Tensor)]
            self._losses += [int(node._sequence_nr()) for node in nodes if node is not None]
            del self._losses[:-_KEPT]
            self.scales += 1
        elif call.name == "update":
            self.scales, self._losses = 0, []
        elif stage_of(call.scaler, call.of) == "READY":  # a step unscales what is not unscaled yet
            self.scaled -= self.names_of(call.of)

    def _is_scaled(self, call: Any) -> bool:
        """Return whether the graph of a backward begins at a scaled loss, or a little above one."""
        outputs = [each.grad_fn for each in getattr(call, "outputs", ()) if isinstance(each, Tensor)]
        waiting = [node for node in outputs if node is not None] if self._losses else []
        for node in waiting:  # grows during the loop
            if int(node._sequence_nr()) in self._losses:
                return True
            if len(waiting) < _NEAR:
                waiting += [each for each, _ in node.next_functions if each is not None]
        return False

    def _scheduler(self, name: str, optimizer: Any) -> None:
        if isinstance(optimizer, Optimizer) and not self.steps.get(id(optimizer)):
            waiting = bool(self.fresh(self.names_of(optimizer)))
            self.scheduled[id(optimizer)].append(Scheduled(name, waiting, self.backwards))

    def names_of(self, owner: object) -> set[str]:
        """Return the names of the parameters of an optimizer or a module."""
        names = {} if self._held is None else self._held.names
        if isinstance(owner, Optimizer):
            several: list[Tensor] = [each for group in owner.param_groups for each in group["params"]]
        else:
            several = list(owner.parameters()) if isinstance(owner, nn.Module) else []
        return {name for name in map(names.get, several) if name is not None}
