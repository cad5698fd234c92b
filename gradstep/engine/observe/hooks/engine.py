"""Autograd's engine, its nodes, and the leaves of its graphs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge
from torch.utils.hooks import RemovableHandle

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.observe import stream
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.functions import THREAD
from gradstep.engine.observe.hooks.installed import Replacement
from gradstep.engine.observe.subscriptions import ENGINE, HERE, TABLE, Subscription


def _run_backward(
    outputs: Sequence[Any], gradients: Any, retain: Any, create: Any, inputs: Any, *more: Any, **also: Any
) -> Any:
    """Replace torch's: every way to call autograd's engine goes through this name in `torch.autograd`.

    That holds for functions that were bound before, and for the inner backward of a reentrant checkpoint.
    """
    frame, run = sys._getframe(1), _ENGINE.own
    if THREAD.unobserved:
        return run(outputs, gradients, retain, create, inputs, *more, **also)
    accumulates = bool(also.get("accumulate_grad"))
    name, given = f"torch.autograd.{frame.f_code.co_name}", (tuple(outputs), tuple(gradients), tuple(inputs))
    call = EngineCall(name, *given, accumulates, bool(retain), bool(create))
    depth, thread, table = HERE.depth, get_ident(), TABLE.engine
    try:
        for each in table:
            if each.entered is not None and each.thread == thread and not each.deaf:
                each.entered(stream.EngineEntered(call, depth - each.within, frame))
        table = TABLE.engine  # a consumer may have subscribed another to what this call does
        HERE.depth = depth + 1
        hooking = [each for each in table if (each.nodes or each.leaves) and _hooks(each, thread, depth)]
        if not hooking:
            return run(outputs, gradients, retain, create, inputs, *more, **also)
        with ExitStack() as stack:
            for each in hooking:
                _hook_nodes(each, call, stack)
            for each in hooking:
                _hook_leaves(each, stack)
            return run(outputs, gradients, retain, create, inputs, *more, **also)
    finally:
        HERE.depth = depth
        for each in table:
            if each.left is not None and each.thread == thread and not each.deaf:
                each.left(stream.EngineLeft(call, depth - each.within))


def _hooks(who: Subscription, thread: int, depth: int) -> bool:
    return who.thread == thread and depth == who.within and not who.deaf


def _hook_nodes(who: Subscription, call: EngineCall, stack: ExitStack) -> None:
    """Hook the nodes of a call's graph, where they are subscribed to."""
    graph = who.graph(call) if who.nodes else None
    if graph is not None:
        # on a GPU the engine would call the hooks on a thread of its own
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        hooks = _NodeHooks(who, graph)
        stack.callback(hooks.remove)
        hooks.put(graph.roots)
        hooks.put(graph.leaves)  # before `_hook_leaves`


class _NodeHooks:
    """The hooks of one subscription on the nodes that may run next.

    A node runs only after one that leads to it: its hooks are put on before that one runs, and removed after its own
    run. However large the graph is, few of its nodes have hooks at a time.
    """

    def __init__(self, who: Subscription, graph: GraphRecord) -> None:
        self._who, self._graph = who, graph
        self._about, self._ran = who.consumer.get(stream.NodeAbout), who.consumer.get(stream.NodeRan)
        self._handles: dict[int, tuple[RemovableHandle, RemovableHandle]] = {}
        """By the number of the node; kept until it has run."""

    def put(self, numbers: Iterable[int]) -> None:
        """Hook nodes, but for those that are hooked."""
        for number in numbers:
            if number not in self._handles:
                node = self._graph.nodes[number]
                before, after = partial(self._before, number, node), partial(self._after, number, node)
                self._handles[number] = node.register_prehook(before), node.register_hook(after)

    def remove(self) -> None:
        """Remove the hooks of the nodes that have not run."""
        for several in self._handles.values():
            for handle in several:
                handle.remove()

    def _before(self, number: int, node: Node, arrived: tuple[Any, ...]) -> Any:
        if not self._who.over:
            self.put(self._graph.edges[number])
        if self._about is not None and not self._who.deaf:
            return self._about(stream.NodeAbout(number, node, arrived))
        return None

    def _after(self, number: int, node: Node, left: tuple[Any, ...], arrived: tuple[Any, ...]) -> Any:
        for handle in self._handles.pop(number, ()):
            handle.remove()
        if self._ran is not None and not self._who.deaf:
            return self._ran(stream.NodeRan(number, node, arrived, left))
        return None


def _hook_leaves(who: Subscription, stack: ExitStack) -> None:
    """Hook the leaves, after all nodes: an edited gradient arrives as edited."""
    arrives = who.consumer.get(stream.GradientArrives)
    for leaf in who.leaves if arrives is not None else ():
        stack.callback(get_gradient_edge(leaf).node.register_prehook(_arrives(who, arrives, leaf)).remove)


def _arrives(who: Subscription, call: Any, leaf: Tensor) -> Callable[..., Any]:
    def hook(gradients: tuple[Tensor | None, ...]) -> None:
        if not who.deaf:
            call(stream.GradientArrives(leaf, gradients[0]))

    return hook


_ENGINE = Replacement(ENGINE, torch.autograd, "_engine_run_backward", _run_backward)
HOOKS = (_ENGINE,)
