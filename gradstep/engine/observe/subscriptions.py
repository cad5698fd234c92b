"""Who observes torch, on which thread; events are emitted to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import get_ident, local
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.observe import stream
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.functions import THREAD
from gradstep.engine.observe.stream import Consumer

GraphOf = Callable[[EngineCall], "GraphRecord | None"]
OPS = frozenset({stream.OpStarts, stream.OpRan, stream.CompositeRan, stream.RegionRan})
ENGINE = frozenset({stream.EngineEntered, stream.EngineLeft, stream.NodeAbout, stream.NodeRan, stream.GradientArrives})


class _Thread(local):
    """What is known of one thread."""

    def __init__(self) -> None:
        self.mode: TorchFunctionMode | None = None
        """The mode that observes its operations, while they are subscribed to."""
        self.over: TorchFunctionMode | None = None
        """A mode that is no longer needed, and is still on the stack."""
        self.depth = 0
        """How many calls of the engine are running."""
        self.called = False
        """True while an outermost module runs."""


HERE = _Thread()


@dataclass(eq=False)
class Subscription:
    """A consumer, and the thread on which it observes."""

    consumer: Consumer
    everywhere: bool
    graph: GraphOf
    leaves: Sequence[Tensor]
    thread: int = field(default_factory=get_ident)
    within: int = field(default_factory=lambda: HERE.depth)
    """How many calls of the engine were running when it began: it does not observe those."""
    over: bool = False
    """True after the block: a hook that an interrupt has left does nothing."""
    deaf: bool = False
    """True while its consumer is not called: it is paused, or over."""
    engine: bool = field(init=False)
    """True where calls of autograd's engine are subscribed to."""
    entered: Callable[[Any], Any] | None = field(init=False)
    left: Callable[[Any], Any] | None = field(init=False)
    """What is called as one begins, and as it ends."""
    nodes: bool = field(init=False)
    """True where their nodes are subscribed to."""

    def __post_init__(self) -> None:
        self.engine = not ENGINE.isdisjoint(self.consumer)
        self.entered, self.left = self.consumer.get(stream.EngineEntered), self.consumer.get(stream.EngineLeft)
        self.nodes = stream.NodeAbout in self.consumer or stream.NodeRan in self.consumer


class Observation:
    """The subscriptions of one `observe`."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = subscriptions

    def pause(self, paused: bool) -> None:
        """Emit no events to them from now on, or emit them again; what is installed in torch stays."""
        for each in self.subscriptions:
            each.deaf = paused or each.over


SUBSCRIPTIONS: list[Subscription] = []
SUBSCRIBED: dict[type, Sequence[tuple[Subscription, Callable[[Any], Any]]]] = {}
"""The subscriptions to each kind of event, and the function to call."""


class _Table:
    """What is derived from the subscriptions."""

    engine: tuple[Subscription, ...] = ()
    """Those to the engine."""
    installed: frozenset[type] | None = frozenset()
    """The kinds of events that the hooks in torch emit; None while they are changed."""


TABLE = _Table()


def emit(event: Any) -> Any:
    """Emit an event; return the replacement that a consumer returned, None without one."""
    several = SUBSCRIBED.get(type(event))
    if several is None or THREAD.unobserved:
        return None
    thread, changed = get_ident(), None
    for who, call in several:
        if not who.deaf and (who.thread == thread or who.everywhere):
            made = call(event)
            changed = changed if made is None else made
    return changed
