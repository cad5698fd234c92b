"""The one place that hooks torch. It emits a stream of events, whoever runs the training loop.

`observe` subscribes consumers to kinds of events (`stream.py`) for as long as a block lasts. Only the hooks that the
subscribed kinds need are installed (`hooks/`), and each once, however many consumers there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from threading import get_ident
from typing import Any

from torch import Tensor

from gradstep.engine.observe import composites, stream
from gradstep.engine.observe.compiled import Regions
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.hooks import engine, forward, loop
from gradstep.engine.observe.hooks.installed import Hook, Replacement
from gradstep.engine.observe.stream import Consumer
from gradstep.engine.observe.subscriptions import (
    HERE,
    OPS,
    SUBSCRIBED,
    SUBSCRIPTIONS,
    TABLE,
    GraphOf,
    Observation,
    Subscription,
)

_REGION_KINDS = OPS | {stream.ModuleEntered, stream.ModuleLeft, stream.CallEntered, stream.CallLeft}


@contextmanager
def observe(
    *consumers: Consumer,
    everywhere: Sequence[Consumer] = (),
    graph: GraphOf = EngineCall.whole_graph,
    leaves: Sequence[Tensor] = (),
    computes: bool = False,
) -> Iterator[Observation]:
    """Call consumers with the events of this thread while the block lasts; earlier subscriptions come first.

    Args:
        consumers: what is called for each kind of event.
        everywhere: consumers of what happens on other threads too; they are called first.
        graph: returns the graph of an engine call whose nodes to observe; None for none.
        leaves: the tensors to emit `GradientArrives` for.
        computes: the consumers call torch themselves, which must not be observed.
    """
    several = [*((each, True) for each in everywhere), *((each, False) for each in consumers)]
    mine = [Subscription(_unseen(one) if computes else one, all_threads, graph, leaves) for one, all_threads in several]
    try:
        SUBSCRIPTIONS.extend(mine)
        _sync()
        if HERE.mode is not None or all(OPS.isdisjoint(each.consumer) for each in mine):
            yield Observation(mine)
        else:
            with _running():
                yield Observation(mine)
    finally:
        _end(mine)


@contextmanager
def _running() -> Iterator[None]:
    """Have a mode see the operations of this thread; one that is still on the stack is used again."""
    over, HERE.over = HERE.over, None
    HERE.mode = mode = over or forward.Operations()
    try:
        if over is None:
            forward.put_on_stack(mode)
        yield
    finally:
        forward.take_off_stack()
        composites.HERE.show()


def _unseen(consumer: Consumer) -> Consumer:
    def hidden(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(event: Any) -> Any:
            with unobserved():
                return function(event)

        return call

    return {kind: hidden(function) for kind, function in consumer.items()}


def observing() -> Sequence[object]:
    """Return what observes on this thread."""
    return [each for each in SUBSCRIPTIONS if each.thread == get_ident()]


def end_since(before: Sequence[object]) -> None:
    """End what has begun to observe on this thread since `before`, and remove the hooks that it has left.

    An interrupt may come at any line: also between installing a hook and noting it.
    """
    _end([each for each in SUBSCRIPTIONS if each.thread == get_ident() and each not in before])


def _end(several: Sequence[Subscription]) -> None:
    for each in several:
        each.over = each.deaf = True
    for each in [each for each in SUBSCRIPTIONS if each.over]:
        with suppress(ValueError):  # another thread has removed it
            SUBSCRIPTIONS.remove(each)
    forward.sweep()
    _sync()


_REGIONS = Regions(forward.region_begins, forward.region_ended, lambda: _sync())
_HOOKS = (*forward.HOOKS, *engine.HOOKS, *loop.HOOKS)


def _sync() -> None:
    """Put into torch what the subscribed kinds need, and nothing more; nothing at all while a compiled region runs.

    Other sessions observe on threads of their own. There is no lock, which an interrupt could leave locked: what has
    changed meanwhile is put right by doing it again.
    """
    done = None
    while done != (now := (tuple(SUBSCRIPTIONS), _REGIONS.running)):
        subscribed: dict[type, list[tuple[Subscription, Callable[[Any], Any]]]] = {}
        for each in now[0]:
            for kind, call in each.consumer.items():
                subscribed.setdefault(kind, []).append((each, call))
        TABLE.engine = tuple([each for each in now[0] if each.engine])
        SUBSCRIBED.update(subscribed)
        for kind in SUBSCRIBED.keys() - subscribed.keys():
            SUBSCRIBED.pop(kind, None)
        _REGIONS.put(not _REGION_KINDS.isdisjoint(subscribed))
        needed = frozenset() if now[1] else frozenset(subscribed)
        if TABLE.installed != needed:
            there, others = _split(needed)
            grows = TABLE.installed is not None and TABLE.installed <= needed
            TABLE.installed = None  # until it is done: an interrupt may come at any line
            for hook in () if grows else others:  # all: what a script has put back meanwhile is removed
                hook.remove()
            for hook in there:
                hook.install()
            TABLE.installed = needed
        done = now


@lru_cache(64)
def _split(kinds: frozenset[type]) -> tuple[Sequence[Hook | Replacement], Sequence[Hook | Replacement]]:
    """Return the hooks that emit kinds of events, and the others."""
    there = [hook for hook in _HOOKS if not hook.kinds.isdisjoint(kinds)]
    return there, [hook for hook in _HOOKS if hook not in there]
