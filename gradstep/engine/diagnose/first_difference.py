"""Where two runs part: the first tensor of the state that differs after a command, and inside it the module or node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.checkpoint import name_of, tensors_of
from gradstep.engine.debuggee.batches import leaves
from gradstep.engine.diagnose.closeness import apart
from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint, fork_of
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import keep_both, watch_again
from gradstep.values.commands import Backward, Command, Forward
from gradstep.values.parting import Apart, Sides, Tolerance
from gradstep.values.side_by_side import Found, Turn, side_by_side


class Passed(NamedTuple):
    """One tensor that came out of a module, or arrived at a node."""

    name: str
    kind: str
    """The name without what another dtype or device may move: the number of a node."""
    tensor: Tensor


def state_of(held: Held) -> dict[str, Tensor | None]:
    """Return every tensor of the state by name, and the loss."""
    found = {name_of(key): tensor for key, tensor in tensors_of(held)}
    loss = held.point.loss
    return {"loss": None if loss is None else loss.detach(), **found}


def first_difference(
    one: Mapping[str, Tensor | None], other: Mapping[str, Tensor | None], tolerance: Tolerance | None
) -> Apart | None:
    """Return the first tensor that is apart; None where none is. Without a tolerance bits are compared."""
    found = (apart(name, one.get(name), other.get(name), tolerance) for name in dict.fromkeys((*one, *other)))
    return next(filter(None, found), None)


# -- inside a phase ----------------------------------------------------------------------------------------------------
@contextmanager
def watched(held: Held, command: Command) -> Iterator[list[Passed]]:
    """Note what comes out of each module of a forward, or arrives at each node of a backward, in its order."""
    seen: list[Passed] = []
    with ExitStack() as stack:
        if isinstance(command, Forward):
            stack.callback(register_module_forward_hook(_module_hook(held, seen), always_call=False).remove)
        elif isinstance(command, Backward):
            graph = held.graph()
            for place, node in enumerate(graph.nodes if graph is not None else ()):
                if leaf_tensor(node) is None:
                    owner = graph.owners[place] if graph is not None else None
                    kind = node.name() + (f" of {owner}" if owner else "")
                    stack.callback(node.register_hook(_node_hook(place, kind, seen)).remove)
        yield seen


def _module_hook(held: Held, seen: list[Passed]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, _: Any, output: Any) -> None:
        path = held.paths.get(module)
        if path is not None:
            name = f"module {path or 'the model'} {type(module).__name__}"
            seen.extend(Passed(name, name, tensor.detach().clone()) for _, tensor in leaves(output))

    return hook


def _node_hook(number: int, kind: str, seen: list[Passed]) -> Callable[[Any, Any], None]:
    def hook(inputs: tuple[Tensor | None, ...], _: Any) -> None:
        for place, tensor in enumerate(inputs):
            if tensor is not None:
                name = f"node #{number} {kind}, input {place}"
                seen.append(Passed(name, f"{kind}, input {place}", tensor.detach().clone()))

    return hook


def first_inside(one: list[Passed], other: list[Passed], tolerance: Tolerance | None) -> Apart | None:
    """Return the first module or node whose results are apart; None where all are the same.

    Where something is let pass, a node that one side alone has is let pass too: another dtype needs other casts.
    """
    if tolerance is not None:
        close = (apart(a.name, a.tensor, b.tensor, tolerance) for a, b in _matched(one, other))
        return next(filter(None, close), None)
    for a, b in zip(one, other, strict=False):
        if a.name != b.name:
            return Apart(a.name, f"on the other side it is {b.name}")
        found = apart(a.name, a.tensor, b.tensor)
        if found is not None:
            return found
    if len(one) != len(other):
        more = (one if len(one) > len(other) else other)[min(len(one), len(other))]
        return Apart(more.name, "it is there on one side only")
    return None


def _matched(one: list[Passed], other: list[Passed]) -> Iterator[tuple[Passed, Passed]]:
    """Yield what both have, in its order."""
    a, b = ([(each.kind, each.tensor.shape) for each in side] for side in (one, other))
    for first, second, size in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        yield from zip(one[first : first + size], other[second : second + size], strict=True)


# -- two branches ------------------------------------------------------------------------------------------------------
class _Steps:
    """What led from the fork of two branches to the end of one."""

    def __init__(self, fork: TimelinePoint, end: TimelinePoint) -> None:
        self.here = fork
        self._rest = [point for point in end.path() if point.depth > fork.depth]

    def coming(self) -> Turn | None:
        if not self._rest:
            return None
        point = self._rest[-1]
        assert point.command is not None
        return Turn(point.command, f"stop {point.number} of {point.branch}")

    def go(self) -> None:
        self.here = self._rest.pop()


def branches_part(timeline: Timeline, names: tuple[str, str]) -> Sides:
    """Return the first command after the fork of two points at which what led to them parts; bits are compared.

    Raises:
        GradstepError: there is no such point, or what was not kept can't be reached again.
    """
    first, second = timeline.named(names[0]), timeline.named(names[1])
    fork = fork_of(first, second)
    one, other = _Steps(fork, first), _Steps(fork, second)

    def look(went: Sequence[bool]) -> Found:
        tensor = _first_kept(timeline, one.here, other.here)
        inside = None
        if tensor is not None and all(went) and isinstance(one.here.command, type(other.here.command)):
            seen = [watch_again(timeline, point, watched) for point in (one.here, other.here)]
            inside = first_inside(seen[0], seen[1], None)
        return Found(tensor, inside, (one.here if went[0] else other.here).iteration)

    return replace(side_by_side((one, other), names, look), fork=fork.number)


def _first_kept(timeline: Timeline, one: TimelinePoint, other: TimelinePoint) -> Apart | None:
    """Return the first tensor that is apart between two points; one that both share is not looked into."""
    kept = keep_both(timeline, one, other)
    if one.loss != other.loss and not (one.loss != one.loss and other.loss != other.loss):
        losses = [None if point.loss is None else torch.tensor(point.loss) for point in (one, other)]
        return apart("loss", losses[0], losses[1])
    for key in dict.fromkeys((*kept[0].images, *kept[1].images)):
        a, b = (each.images.get(key) for each in kept)
        if a is not b:
            found = apart(name_of(key), None if a is None else a.contents, None if b is None else b.contents)
            if found is not None:
                return found
    return None
