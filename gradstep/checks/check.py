"""The base class of checks, and what they are given at each phase of the loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.checks.order import Order
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.held import Held
from gradstep.engine.observe.stream import Consumer
from gradstep.values.findings import Rule, Severity, Where
from gradstep.values.views.inside import SourceLine

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., object])
PhaseName = Literal["forward", "backward", "step", "zero_grad", "evaluation", "scheduler", "scaler", "clip", "end"]
"""With the phases: a forward without grad, a call of a scheduler or a `GradScaler`, clipping, the end of a script. Of
these only the beginning is looked at."""


class Seen(NamedTuple):
    """A fault, seen once."""

    what: str
    """What was seen, with the numbers: one sentence."""
    where: Where = Where()
    evidence: Mapping[str, float | int | str] = MappingProxyType({})
    remedy: str = ""
    """In place of the rule's, where the case calls for another."""
    severity: Severity | None = None
    """In place of the rule's, where the case is less certain."""


@dataclass
class Moment:
    """A phase of the loop begins, or has ended: what a check may look at."""

    phase: PhaseName
    held: Held
    iteration: int
    count: int
    """How many phases of this name ended before."""
    find_line: Callable[[], SourceLine] = SourceLine
    """Returns the line of the user's code that called it; an empty one where gradstep did."""
    of: Any = None
    """What begins or has ended: the outermost module that is called, the `EngineCall`, the optimizer, the owner of the
    gradients that are cleared, or the event (`observe/stream.py`)."""
    args: tuple[Any, ...] = ()
    """Of a forward or an evaluation that begins, the arguments of the module; for a held workload, the batch."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    grad_mode: bool = True
    """Whether grad mode was on: checks run under `no_grad`."""
    written: tuple[str, ...] = ()
    """The parameters whose `.grad` the script itself has written since the last phase, as clipping does."""
    find_site: Callable[[], tuple[object, ...]] = tuple
    """Returns what tells this call from calls at other lines, or of other callers; empty for a held workload."""
    find_variables: Callable[[], Iterable[tuple[str, Any]]] = tuple
    """Returns the script's variables that are in scope; none for a held workload."""
    within: tuple[str, ...] = ()
    """The phases that it runs in: a closure is called inside `step`."""
    order: Order = field(default_factory=Order)
    """What the phases before have done."""
    script: bool = False
    """True for a script, whose loop is its own; False for a held workload, whose loop the user drives by hand."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What several checks remember from one phase to the next."""
    _cache: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what several checks want of this moment, made at the first call."""
        if name not in self._cache:
            self._cache[name] = make()
        made: T = self._cache[name]
        return made

    @property
    def loss(self) -> Tensor | None:
        """The loss of the last forward."""
        return self.held.point.loss

    @property
    def value(self) -> float | None:
        """Its value; None where it is not one number."""
        return self.held.point.value

    @property
    def graph(self) -> GraphRecord | None:
        """The graph of the loss; walked at the first use."""
        return self.held.graph()

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer that steps or clears; else the one that stepped last."""
        return self.of if isinstance(self.of, Optimizer) else self.held.optimizer

    def roots(self) -> list[tuple[str, nn.Module]]:
        """Return the models by name: a held workload has one, a script may have several."""
        held = self.held
        several = [(name, held.model._modules[name]) for name in held.models]
        return [(name, each) for name, each in several if each is not None] or [("", held.model)]

    def parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters by name."""
        yield from self.held.parameters

    def optimized(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters of the optimizer of this step, by name."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                name = self.held.names.get(parameter)
                if name is not None:
                    yield name, parameter

    def at(self, parameter: str = "", module: str = "", node: int = -1, panel: str = "") -> Where:
        """Return where a fault is, with the line that called this phase."""
        line = self.find_line()
        if node >= 0 and self.graph is not None:
            made = self.graph.line(node)
            line = line if made is None else SourceLine(made.file, made.line)
        return Where(module, parameter, line.file, line.line, node, panel)


def at(*phases: PhaseName, first: float = math.inf) -> Callable[[Method], Method]:
    """Mark the phases in which a method of a check is called; one without a mark is called in all.

    Args:
        phases: their names.
        first: after so many phases of a name, only sampled ones are looked at (`sampled`).
    """

    def mark(method: Method) -> Method:
        method.phases, method.first = frozenset(phases), first  # type: ignore[attr-defined]
        return method

    return mark


class Check:
    """One check. It reads what it is given, writes nothing, and yields what it has seen."""

    rule: ClassVar[Rule]

    def __init__(self, threshold: float | None = None) -> None:
        """Take the threshold that the user has set; None for the rule's own."""
        self.threshold = threshold if threshold is not None else (self.rule.threshold or 0.0)

    @at()
    def begins(self, moment: Moment) -> Iterable[Seen]:  # noqa: ARG002
        """Look at a phase that begins."""
        return ()

    def watches(self, moment: Moment) -> Consumer | None:  # noqa: ARG002
        """Return what is to be told of a forward that begins; None for nothing: most forwards are not to be watched."""
        return None

    @at()
    def ended(self, moment: Moment) -> Iterable[Seen]:  # noqa: ARG002
        """Look at a phase that has ended."""
        return ()


def sampled(iteration: int) -> bool:
    """Return whether activations and graphs are looked at in an iteration: in the first, then ever fewer."""
    return iteration < 5 or (iteration < 200 and iteration % 20 == 0) or iteration % 100 == 0


def listed(names: Iterable[str], most: int = 3) -> str:
    """Return the first names, and how many there are beyond them."""
    several = list(names)
    more = f" and {len(several) - most} more" if len(several) > most else ""
    return ", ".join(several[:most]) + more
