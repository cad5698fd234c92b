"""Where two runs diverge: the first tensor of the state that differs after a command, and the module or node in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from typing import NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.graph import is_leaf
from gradstep.engine.diagnose.closeness import difference_of
from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint, fork_of
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import keep_both, watch_again
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import Consumer, ModuleLeft, NodeRan
from gradstep.engine.state.part import Key
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import tensors_of
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.commands import Backward, Command, Forward
from gradstep.values.differences import RunComparison, TensorDifference, Tolerance
from gradstep.values.side_by_side import Difference, LocatedCommand, side_by_side


class Traced(NamedTuple):
    """One output of a module, or one gradient that a node passed on."""

    name: str
    path: str | None
    """The module, or the module that made the node; None outside of the model."""
    kind: str
    """The node's name and the input that the gradient is for; empty for a module, whose class may differ."""
    tensor: Tensor


class Renamed:
    """Maps the names of a second model to those of the first: it may be wrapped, compiled, or have other module names.

    Equal names are paired. Where the names differ but the parameters (or buffers) have the same shapes in the same
    order, they are paired in that order, and the module paths follow from them.
    """

    def __init__(self, one: Held, other: Held) -> None:
        self._names: dict[str, str] = {}
        self._paths: dict[str, str] = {}
        for a, b in (
            (one.parameters, other.parameters),
            ([(name, slots.get(key)) for name, slots, key in held.buffer_slots] for held in (one, other)),
        ):
            self._pair([(name, _shape(t)) for name, t in a], [(name, _shape(t)) for name, t in b])

    def _pair(self, one: list[tuple[str, object]], other: list[tuple[str, object]]) -> None:
        same_names = {name for name, _ in one} == {name for name, _ in other}
        if same_names or [shape for _, shape in one] != [shape for _, shape in other]:
            return
        for (a, _), (b, _) in zip(one, other, strict=True):
            if a != b:
                self._names[b] = a
            parts, others = a.split("."), b.split(".")
            for tag, _start, end, _begin, stop in SequenceMatcher(None, parts, others, autojunk=False).get_opcodes():
                if tag in ("insert", "replace"):
                    self._paths.setdefault(".".join(others[:stop]), ".".join(parts[:end]))

    def key(self, key: Key) -> Key:
        """Return the key in the first model's state for a key of the second's."""
        return (key[0], self._names.get(key[1], key[1]), *key[2:])

    def path(self, path: str | None) -> str | None:
        """Return the path in the first model for a module of the second."""
        if path is None or not self._paths:
            return path
        head = next((head for head in _heads(path) if head in self._paths), None)
        return path if head is None else (self._paths[head] + path.removeprefix(head)).removeprefix(".")

    @property
    def words(self) -> str:
        """How the names differ, as text; empty if they do not."""
        first = next(iter(self._names.items()), None)
        return (
            ""
            if first is None
            else f"the models name tensors differently, `{first[1]}` is `{first[0]}`: paired in order"
        )


def _shape(tensor: Tensor | None) -> object:
    return None if tensor is None else tensor.shape


def _heads(path: str) -> Iterator[str]:
    """Yield a path and those that enclose it, innermost first."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def state_of(held: Held, renamed: Renamed | None = None) -> dict[str, Tensor | None]:
    """Return every tensor of the state by name, and the loss."""
    keys = ((key if renamed is None else renamed.key(key), tensor) for key, tensor in tensors_of(held))
    found = {name_of(key): tensor for key, tensor in keys}
    loss = held.point.loss
    return {"loss": None if loss is None else loss.detach(), **found}


def first_difference(
    one: Mapping[str, Tensor | None], other: Mapping[str, Tensor | None], tolerance: Tolerance | None
) -> TensorDifference | None:
    """Return the first tensor that differs; None if none does. Without a tolerance, bits are compared."""
    found = (difference_of(name, one.get(name), other.get(name), tolerance) for name in dict.fromkeys((*one, *other)))
    return next(filter(None, found), None)


# -- inside a phase ----------------------------------------------------------------------------------------------------
@contextmanager
def watched(held: Held, command: Command) -> Iterator[list[Traced]]:
    """Record the outputs of each module of a forward, or the gradients that each node of a backward passes on."""
    seen: list[Traced] = []
    graph = held.graph()

    def left(event: ModuleLeft) -> None:
        path = held.paths.get(event.module)
        if path is not None and not event.raised:
            name = f"module {path or 'the model'} {type(event.module).__name__}"
            made = tensors_in(event.output, "", deep=-1)
            seen.extend(Traced(name, path, "", tensor.detach().clone()) for _, tensor in made)

    def ran(event: NodeRan) -> None:
        assert graph is not None
        if is_leaf(event.node):
            return
        owner, node = graph.owners[event.number], event.node.name()
        name = f"node #{event.number} {node}{f' of {owner}' if owner else ''}"
        for place, tensor in enumerate(event.left):
            if tensor is not None:
                what = f", input {place}"
                seen.append(Traced(f"{name}{what}", owner, f"{node}{what}", tensor.detach().clone()))

    consumer: Consumer = {ModuleLeft: left} if isinstance(command, Forward) else {}
    if isinstance(command, Backward) and graph is not None:
        consumer = {NodeRan: ran}
    with observe(everywhere=[consumer], graph=lambda _: graph):
        yield seen


def first_inside(
    one: list[Traced], other: list[Traced], tolerance: Tolerance | None, renamed: Renamed | None, same: bool
) -> TensorDifference | None:
    """Return the first module or node whose results differ; None if there is none.

    A node on one side only is not a difference in itself: another dtype needs other casts, a checkpoint makes other
    nodes.

    Args:
        one: the results of the first side.
        other: the results of the second.
        tolerance: the accepted difference; None to compare bits.
        renamed: maps the second model's names to the first's.
        same: True when the state afterwards is the same. Graphs with different nodes then count as equal: matching
            their nodes is a guess. Otherwise a node on one side only is returned when nothing else differs.
    """
    a = [(each.path, each.kind, each.tensor.shape) for each in one]
    b = [(each.path if renamed is None else renamed.path(each.path), each.kind, each.tensor.shape) for each in other]
    if same and tolerance is None and a != b:
        return None
    alone: TensorDifference | None = None
    for tag, start, end, begin, stop in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            pairs = zip(one[start:end], other[begin:stop], strict=True)
            close = (difference_of(first.name, first.tensor, second.tensor, tolerance) for first, second in pairs)
            found = next(filter(None, close), None)
            if found is not None:
                return found
        elif alone is None:
            alone = _alone(one[start:end], other[begin:stop])
    return None if same or tolerance is not None else alone


def _alone(one: list[Traced], other: list[Traced]) -> TensorDifference:
    if one and other:
        return TensorDifference(one[0].name, f"the other run has {other[0].name}")
    return TensorDifference((one or other)[0].name, "it exists in one run only")


# -- two branches ------------------------------------------------------------------------------------------------------
class _Steps:
    """The commands from the fork of two branches to the end of one."""

    def __init__(self, fork: TimelinePoint, end: TimelinePoint) -> None:
        self.here = fork
        self._rest = [point for point in end.path() if point.depth > fork.depth]

    def next_command(self) -> LocatedCommand | None:
        if not self._rest:
            return None
        point = self._rest[-1]
        assert point.command is not None
        return LocatedCommand(point.command, f"stop {point.number} of {point.branch}")

    def advance(self) -> None:
        self.here = self._rest.pop()


def compare_branches(timeline: Timeline, names: tuple[str, str]) -> RunComparison:
    """Return the first command after the fork of two points at which their branches diverge; bits are compared.

    Raises:
        GradstepError: there is no such point, or a point that was not kept can't be reached again.
    """
    first, second = timeline.named(names[0]), timeline.named(names[1])
    fork = fork_of(first, second)
    one, other = _Steps(fork, first), _Steps(fork, second)

    def look(went: Sequence[bool]) -> Difference:
        tensor = _first_kept(timeline, one.here, other.here)
        inside = None
        if tensor is not None and all(went) and isinstance(one.here.command, type(other.here.command)):
            seen = [watch_again(timeline, point, watched) for point in (one.here, other.here)]
            inside = first_inside(seen[0], seen[1], None, None, same=False)
        return Difference(tensor, inside, (one.here if went[0] else other.here).iteration)

    return replace(side_by_side((one, other), names, look), fork=fork.number)


def _first_kept(timeline: Timeline, one: TimelinePoint, other: TimelinePoint) -> TensorDifference | None:
    """Return the first tensor that differs between two points; tensors that both share are skipped."""
    kept = keep_both(timeline, one, other)
    if one.loss != other.loss and not (one.loss != one.loss and other.loss != other.loss):
        losses = [None if point.loss is None else torch.tensor(point.loss) for point in (one, other)]
        return difference_of("loss", losses[0], losses[1])
    for key in dict.fromkeys((*kept[0].images, *kept[1].images)):
        a, b = (each.images.get(key) for each in kept)
        if a is not b:
            found = difference_of(name_of(key), None if a is None else a.contents, None if b is None else b.contents)
            if found is not None:
                return found
    return None
