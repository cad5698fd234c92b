"""Why a `.grad` is None: where the path from the parameter to the loss ends."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.diagnose.loss_dependencies import LossDependencies, is_compiled
from gradstep.engine.held import Held
from gradstep.engine.numbers.nonfinite import numbers_of
from gradstep.engine.observe.dataflow import Op
from gradstep.engine.stepping.rerun import backward_again
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values import numbers
from gradstep.values.errors import GradstepError

_SHOWN = 4
"""Maximum number of places named where a path ends."""


def why_none(held: Held, name: str, parameter: Tensor) -> list[str]:
    """Return lines on why the `.grad` of a tensor is None or zero, and where the path to it ends."""
    if not parameter.is_leaf and not parameter.retains_grad:
        return [f"{name} is not a leaf: torch keeps the .grad of leaves only, unless retain_grad() was called on it"]
    if parameter.grad is not None:
        return list(_present(held, name, parameter, parameter.grad))
    if not parameter.requires_grad:
        return [_without(held, name, parameter)]
    loss = held.point.loss
    if loss is None:
        return ["no loss yet: .grad is None until a backward; run forward, then backward"]
    if loss.grad_fn is None:
        return ["the loss has no graph: nothing that it depends on requires grad", *_followed(held, name, parameter)]
    graph = held.graph()
    if graph is not None and any(leaf_tensor(graph.nodes[place]) is parameter for place in graph.leaves):
        if held.point.ran and "zero_grad" in held.point.done:
            return [f"backward gave {name} a .grad, and zero_grad has set it to None since"]
        if held.point.ran:
            edited = " (a gradient was edited in flight)" if held.point.flows is not None else ""
            line = f"the graph of this loss leads to {name}, but backward passed no gradient to it{edited}"
            return _ends_compiled(held, name, parameter) or [line, *_stops_in_backward(held, graph, parameter)]
        return [f"no backward has run on this loss yet: its graph leads to {name}, so `backward` gives it a .grad"]
    return _followed(held, name, parameter)


def _without(held: Held, name: str, tensor: Tensor) -> str:
    """Return why a tensor does not require grad."""
    if any(tensor is parameter for _, parameter in held.parameters):
        return f"{name} is frozen: its requires_grad is False, so backward skips it; `unfreeze {name}` trains it"
    if any(tensor is buffer for _, buffer in held.buffers()):
        return f"{name} is a buffer: backward gives a .grad to parameters only"
    return f"{name}.requires_grad is False: backward gives a .grad only to what requires grad"


def _stops_in_backward(held: Held, graph: GraphRecord, parameter: Tensor) -> Iterator[str]:
    """Yield the nodes on the way to a leaf that received a gradient and passed on None, or only zeros."""
    missing = parameter.grad is None
    ways = {place for place in graph.leaves if leaf_tensor(graph.nodes[place]) is parameter}
    for place in reversed(range(len(graph.nodes))):  # the nodes after a node are later in the list
        if ways.intersection(graph.edges[place]):
            ways.add(place)
    found: list[int] = []

    def is_lost(value: Tensor | None) -> bool:
        return value is None if missing else value is not None and not numbers_of(value).any()

    def see(here: StopPlace) -> None:
        if here.node is None or here.outputs is None or here.number not in ways:
            return
        edges = zip(here.node.next_functions, here.outputs, strict=False)
        passed = [value for (following, _), value in edges if following is not None]
        on_the_way = [value for target, value in zip(graph.edges[here.number], passed, strict=False) if target in ways]
        arrived = [value for value in here.inputs if value is not None]
        if arrived and not all(map(is_lost, arrived)) and any(map(is_lost, on_the_way)):
            found.append(here.number)

    try:
        backward_again(held, see)
    except GradstepError as error:
        yield f"where it stopped is unknown, because backward can't run again: {error.problem.what}"
    for number in found[:_SHOWN]:
        owner = f" of {graph.owners[number]}" if graph.owners[number] else ""
        made = Op(f"#{number} {graph.nodes[number].name()}{owner}", held.line_of(number), frozenset())
        yield f"{made.line()} {'returned None' if missing else 'passed on only zeros'}"
    if len(found) > _SHOWN:
        yield f"and {numbers.count(len(found) - _SHOWN, 'more node')}"


def _present(held: Held, name: str, parameter: Tensor, grad: Tensor) -> Iterator[str]:
    """Yield lines on a `.grad` that exists; if it is zero, where backward lost the gradient."""
    if numbers_of(grad).any():
        yield f"{name}.grad is not None"
        return
    graph, entry = held.graph(), held.ledger.entry(held.names.get(parameter, ""))
    if entry.zeroed and not entry.added:
        yield f"{name}.grad is not None: zero_grad(set_to_none=False) filled it with zeros"
        return
    yield f"{name}.grad is not None, but all zeros: backward reached it with a gradient of 0"
    if graph is not None and held.point.ran and parameter.is_leaf:
        yield from _stops_in_backward(held, graph, parameter)


def _followed(held: Held, name: str, parameter: Tensor) -> list[str]:
    try:
        dependencies = LossDependencies(held, [parameter])
    except GradstepError as error:
        problem = error.problem
        return [f"the graph of this loss does not lead to {name}; where its path ends is unknown: {problem.what}"]
    ends, flow = dependencies.cuts, dependencies.flow
    if not flow.ops:
        module = _module_of(held, name)
        used = f"; {module} was not called, or did not use it" if module else ""
        return [f"this forward does not use {name}{used}"]
    if not dependencies.ops:
        left = f"the last operation on it is {flow.ops[-1].line()}"
        return [f"{name} is used, but the loss does not depend on the result", left]
    again = next((op for op in dependencies.ops if op.reruns), None)
    if again is not None and dependencies.leads and not held.point.ran:
        runs = f"`backward` runs its forward again and then gives {name} a .grad"
        return [f"no backward has run on this loss yet: {again.line()} is a reentrant checkpoint; {runs}"]
    if ends:
        return list(_ends(name, ends))
    last = dependencies.ops[-1].line()
    return [f"the loss depends on {name}, but its graph has no path there; last used by {last}"]


def _ends_compiled(held: Held, name: str, parameter: Tensor) -> list[str]:
    """Return where paths end inside compiled regions, which are one node each; empty without such regions."""
    try:
        dependencies = LossDependencies(held, [parameter]) if is_compiled(held) else None
    except GradstepError:
        dependencies = None
    return list(_ends(name, dependencies.cuts)) if dependencies is not None else []


def _ends(name: str, ends: list[Op]) -> Iterator[str]:
    """Yield where paths end, and why; a cause shared by several places comes once, after them."""
    for place, end in enumerate(ends[:_SHOWN]):
        yield f"{'and' if place else f'the path from {name} to the loss ends'} at {end.line()}"
        if place + 1 >= len(ends[:_SHOWN]) or ends[place + 1].cut != end.cut:
            yield end.cut
    if len(ends) > _SHOWN:
        yield f"and at {numbers.count(len(ends) - _SHOWN, 'more place')}"


def _module_of(held: Held, name: str) -> str:
    path = name.rpartition(".")[0]
    found: nn.Module | None = next((m for m, p in held.paths.items() if p == path), None)
    return f"{path} {type(found).__name__}".strip() if found is not None else ""
