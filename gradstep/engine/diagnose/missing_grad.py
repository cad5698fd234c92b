"""Why a `.grad` is None: the walk from the parameter through the forward to where the path to the loss ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.observe.dataflow import Dataflow, Op
from gradstep.engine.observe.events import Event
from gradstep.engine.observe.rerun import backward_again, forward_again, same_way
from gradstep.values.errors import GradstepError

_SHOWN = 4
"""How many places at most are named where a path ends."""


def why_none(held: Held, name: str, parameter: Tensor) -> list[str]:
    """Say in lines why the `.grad` of a tensor is None, and where the path to it ends.

    Args:
        held: the workload.
        name: what the tensor is called.
        parameter: the tensor.
    """
    if parameter.grad is not None:
        return [f"{name}.grad is not None"]
    if not parameter.is_leaf:
        return [f"{name} is no leaf: torch hands its gradient on and keeps none (retain_grad() would)"]
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
            return ["a backward gave it one, and zero_grad has set it to None since"]
        if held.point.ran:
            return list(_not_passed_on(held, graph, name, parameter))
        return [f"no backward has run since: the graph of this loss leads to {name}, and backward will fill it"]
    return _followed(held, name, parameter)


def _without(held: Held, name: str, tensor: Tensor) -> str:
    """Say what a tensor without requires_grad is."""
    if any(tensor is parameter for _, parameter in held.parameters):
        return f"{name} is frozen: its requires_grad is False, and backward passes it by; `unfreeze {name}` trains it"
    if any(tensor is buffer for _, buffer in held.buffers()):
        return f"{name} is a buffer: backward gives a .grad to parameters only"
    return f"{name}.requires_grad is False: backward gives a .grad only to what requires grad"


def _not_passed_on(held: Held, graph: GraphRecord, name: str, parameter: Tensor) -> Iterator[str]:
    """Say which nodes on the way to a leaf passed None on; a custom Function's backward may return that."""
    by_hand = " (what flowed was changed by hand)" if held.point.flows is not None else ""
    yield f"the graph of this loss leads to {name}, and the backward passed nothing on to it{by_hand}"
    ways = {place for place in graph.leaves if leaf_tensor(graph.nodes[place]) is parameter}
    for place in reversed(range(len(graph.nodes))):  # what a node leads to comes after it
        if ways.intersection(graph.edges[place]):
            ways.add(place)
    dry: list[int] = []

    def see(event: Event) -> None:
        came = any(value is not None for value in event.inputs)
        if event.node is None or event.outputs is None or event.number not in ways or not came:
            return
        ends = zip(event.node.next_functions, event.outputs, strict=False)
        left = [value for (following, _), value in ends if following is not None]
        if any(
            target in ways and value is None for target, value in zip(graph.edges[event.number], left, strict=False)
        ):
            dry.append(event.number)

    try:
        backward_again(held, see)
    except GradstepError as error:
        yield f"it was not run again to see where: {error.problem.what}"
    for number in dry[:3]:
        owner = f" of {graph.owners[number]}" if graph.owners[number] else ""
        made = Op(f"#{number} {graph.nodes[number].name()}{owner}", held.line_of(number), frozenset())
        yield f"{made.line()} gave None"


class Walk:
    """The forward of the last loss, walked again: what its loss depends on of what was computed from some tensors."""

    def __init__(self, held: Held, starts: list[Tensor]) -> None:
        """Walk it.

        Raises:
            GradstepError: it can't be run again, or takes another way now.
        """
        self._held, self._starts = held, starts
        self.flow, self._loss = self._run()
        self.ops = self.flow.reaching(self._loss, self._taken_out())
        """The operations between the tensors and the loss."""

    @property
    def cuts(self) -> list[Op]:
        """The operations at which paths to the loss end, one for each line; those that are only a choice last."""
        found = {op.line(): op for op in self.ops if op.cut}
        return sorted(found.values(), key=lambda op: op.whole)

    def _run(self, nudged: Iterable[int] = ()) -> tuple[Dataflow, Tensor]:
        """Walk once; `nudged` are the numbers, of those that are taken out of torch, to change a little."""
        flow, changed = Dataflow(self._starts, frozenset(nudged)), bool(nudged)
        loss, _ = forward_again(self._held, flow.watch, _anything if changed else same_way)
        return flow, loss

    def _taken_out(self) -> list[int]:
        """Return the operations that take a number out of torch that the loss depends on.

        Torch does not see what is computed from such a number: the forward runs again with it changed a little, and
        where the loss stays the same to the last bit it does not depend on it.
        """
        every = self.flow.taken_out
        by_line: dict[str, list[int]] = {}
        for number, place in enumerate(every):
            by_line.setdefault(self.flow.ops[place].line(), []).append(number)
        if not every or not self._changes(range(len(every))):
            return []
        groups = list(by_line.values())
        count = [group for group in groups if len(groups) == 1 or self._changes(group)]
        return [every[number] for group in count for number in group]

    def _changes(self, nudged: Iterable[int]) -> bool:
        try:
            return not same_bits(self._run(nudged)[1], self._loss)
        except Exception:  # a shape that is computed from it, say
            return True


def _anything(_: Tensor, __: Tensor) -> bool:
    return True


def _followed(held: Held, name: str, parameter: Tensor) -> list[str]:
    try:
        walk = Walk(held, [parameter])
    except GradstepError as error:
        problem = error.problem
        return [f"the graph of this loss does not lead to {name}; where its path ends is not known: {problem.what}"]
    cuts, flow = walk.cuts, walk.flow
    if not flow.ops:
        module = _module_of(held, name)
        used = f"; {module} was not called, or did not use it" if module else ""
        return [f"this forward does not use {name}{used}"]
    if not walk.ops:
        left = f"the last operation on it is {flow.ops[-1].line()}"
        return [f"{name} is used, but what came of it is no part of this loss", left]
    if cuts:
        lines = [f"the path from {name} to the loss ends at {cuts[0].line()}", cuts[0].cut]
        for cut in cuts[1:_SHOWN]:
            lines += [f"and at {cut.line()}", cut.cut]
        more = len(cuts) - _SHOWN
        return [*lines, f"and at {more} other place{'s' * (more > 1)}"] if more > 0 else lines
    again = next((op for op in walk.ops if op.reruns), None)
    if again is not None and not held.point.ran:
        runs = "a reentrant checkpoint: backward runs its forward again, and gives what it uses a .grad then"
        return [f"no backward has run since: {again.line()} is {runs}"]
    last = walk.ops[-1].line()
    return [f"the loss depends on {name}, but no path of its graph leads there; last used by {last}"]


def _module_of(held: Held, name: str) -> str:
    path = name.rpartition(".")[0]
    found: nn.Module | None = next((m for m, p in held.paths.items() if p == path), None)
    return f"{path} {type(found).__name__}".strip() if found is not None else ""
