"""Running the last phase again, to see what was not recorded, and restoring everything afterwards.

Gradients at nodes are not kept: to show them, forward and backward run again from the state that they began with. That
they give the same bits is checked, and reported where they do not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, Owners, record
from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.observe.compiled import runs_once
from gradstep.engine.observe.forward import Watched, watch_forward
from gradstep.engine.observe.strays import find_strays
from gradstep.engine.observe.stream import Consumer, ModuleEntered
from gradstep.engine.state.aside import aside
from gradstep.engine.state.saved import Saved, without_grads
from gradstep.engine.stepping.backward_places import BackwardPlaces, Passes
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.yielding import Waits, give_way, never
from gradstep.values.errors import wrong
from gradstep.values.views.inside import SourceLine

_INSTEAD = "step into it while it runs: `into forward`, `into backward`; state in plain attributes can be captured"


class EnoughError(BaseException):
    """Raised by what sees a rerun, once it has seen enough: the rerun ends there."""


def forward_again(
    held: Held,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
    same: Callable[[Tensor, Tensor], bool] = same_bits,
) -> tuple[Tensor, Watched]:
    """Run the forward of the last loss again; return its loss and what was recorded of it.

    Args:
        held: the workload; it is unchanged when this returns.
        around: returns a context that wraps the forward, to observe more of it.
        same: returns whether the new loss equals the last one. Where it is not `same_bits`, a forward whose initial
            state is not kept runs from the present state.

    Raises:
        GradstepError: there was no forward, its initial state is not kept, or it gives another loss now.
    """
    with _as_it_began(held, anyhow=same is not same_bits) as grad_mode, without_grads(held):
        return _forward(held, grad_mode, around, same)


def same_way(again: Tensor, loss: Tensor) -> bool:
    """Return whether two losses have the same bits, or were computed by the same operations in the same order."""
    if same_bits(again, loss):
        return True
    return _operations(again) == _operations(loss)


def _operations(loss: Tensor) -> list[str]:
    """Return the names of the nodes of a loss's graph, in the order in which backward runs them."""
    if loss.grad_fn is None:
        return []
    graph = record(loss.grad_fn, Owners())
    return [node.name() for node in graph.nodes]


def backward_again(
    held: Held,
    see: Callable[[StopPlace], None],
    passes: Passes = lambda *_: False,
    gathers: Callable[[int], bool] = lambda _: True,
    waits: Waits = never,
) -> GraphRecord:
    """Run the backward of the last loss again, and call `see` at each place; return its graph, still alive.

    The numbers of its nodes are those of the graph of the last loss.

    Args:
        held: the workload; it is unchanged when this returns.
        see: called before and after each node, under `no_grad`; it may raise `EnoughError`.
        passes: returns True for places to skip: in a large graph most of the time goes into `see`.
        gathers: returns whether the addends of a node are collected, which keeps all of them in memory.
        waits: called at each module and node; once it returns True, the rerun is given up.

    Raises:
        GradstepError: it can't be run again; the problem gives the reason.
        YieldedError: it was given up.
    """
    if any(parameter._post_accumulate_grad_hooks for _, parameter in held.parameters):
        what = "a hook on a parameter runs when its gradient is there, and running it again could do anything"
        raise wrong("this backward is not run again", what, "step into it while it runs: `into backward`")

    def yielding(*place: Any) -> bool:
        give_way(waits)
        return passes(*place)

    flows = held.point.flows
    if flows is not None:
        flows.refuse_elsewhere()
    give_way(waits)
    with _as_it_began(held, waits=waits) as grad_mode, without_grads(held):
        again, watched = _forward(held, grad_mode, waits=waits)
        if again.grad_fn is None:
            raise wrong("the loss has no graph", "nothing that it depends on requires grad")
        graph = record(again.grad_fn, watched.owners)
        find_strays(held, again.grad_fn)
        with (
            suppress(EnoughError),
            without_grads(held),
            nullcontext((see, yielding)) if flows is None else flows.around(see, yielding) as (come, passed),
            BackwardPlaces(graph, lambda _: SourceLine(), held.kinds, held.names, come, passed, gathers).watch(),
        ):
            again.backward(retain_graph=not runs_once(graph.nodes))  # type: ignore[no-untyped-call]
        give_way(waits)  # the user's code may have caught the error
    if not runs_once(graph.nodes):
        return graph
    with _as_it_began(held, waits=waits) as grad_mode, without_grads(held):
        again, watched = _forward(held, grad_mode, waits=waits)
        assert again.grad_fn is not None
        return record(again.grad_fn, watched.owners)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the user's code prints and warns of: it was shown when the phase ran."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere), catch_warnings():
        simplefilter("ignore")
        yield


def _forward(
    held: Held,
    grad_mode: bool,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
    same: Callable[[Tensor, Tensor], bool] = same_bits,
    waits: Waits = never,
) -> tuple[Tensor, Watched]:
    loss = held.point.loss
    yields: Consumer = {ModuleEntered: lambda _: give_way(waits)}
    with watch_forward(held.paths, held.model, more=[yields]) as watched, around(), torch.set_grad_enabled(grad_mode):
        again = held.compute(held.point.batch)
    give_way(waits)  # the user's code may have caught the error
    if loss is None or not same(again, loss):
        what = f"run again from the same state, it gives another loss: {held.mark_unrepeatable()} keeps state"
        raise wrong("the forward does not repeat", f"{what} that can't be captured", _INSTEAD)
    return again, watched


@contextmanager
def _as_it_began(held: Held, anyhow: bool = False, waits: Waits = never) -> Iterator[bool]:
    """Restore the state that the last forward began with, and afterwards the present one; yield its grad mode.

    With `anyhow`, what is not kept of that state stays as it is now.

    Raises:
        GradstepError: that state is not kept.
    """
    first, point = held.began_with(), held.point
    if held.unrepeatable and not anyhow:
        what = f"{held.unrepeatable} keeps state that can't be captured, and would be changed by it"
        raise wrong("the forward is not run again", what, _INSTEAD)
    if point.loss is None or (first is None and not anyhow):
        what = "a past stop that is only viewed has no live graph"
        if point.steps_since_forward:
            what = "a step has changed the weights since, and their old values are not kept"
        raise wrong("the state that the forward began with is not kept", what, "go to that stop, or run forward again")
    begun = first or Saved()
    with aside(held, any(key[0] == "weight" for key in begun.copies.keys), waits), _quiet():
        begun.restore(held)
        yield begun.grad_mode
