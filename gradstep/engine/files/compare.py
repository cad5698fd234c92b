"""Compare two .safetensors files: states that `checkpoint` wrote, or any named tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.diagnose.closeness import difference_of
from gradstep.engine.files.checkpoint_file import not_understood, ours, pending, unreadable
from gradstep.engine.files.safetensors import read
from gradstep.engine.files.trees import decode
from gradstep.values.commands import line_of
from gradstep.values.differences import FileComparison, Tolerance
from gradstep.values.errors import GradstepError

_RANDOM = "generators"
"""What the names of the generators' states begin with: of two, no difference says more than that there is one."""
_NAMED = ("weights", "grads", "buffers")
"""The sections that name a tensor for each entry, in the order in which they are told."""
_POINT = {"iteration": "iteration", "phase": "the last phase", "value": "loss", "used_batch": "the batch was used"}
"""What counts of where the loop stood, and what it is called; the rest is only there to be said."""
_WHOLE = {
    "cursor": "the batch",
    "epoch": "the order of the batches",
    "training": "train/eval mode",
    "attributes": "what modules keep in plain attributes",
    "ledger": "what .grad is a sum of",
    "losses": "the losses on the way",
}
"""The sections that are the same or not, and what they are called."""


class _File(NamedTuple):
    path: Path
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    """What `checkpoint` wrote besides the tensors; empty for a file from another program."""
    then: str
    """The commands that `restore` runs after it."""

    def names(self) -> Iterator[str]:
        for section in _NAMED:
            for value in self.state.get(section, {}).values():
                if value is not None:
                    yield value["tensor"]
        yield from self.tensors


def compare_files(paths: tuple[Path, Path], tolerance: Tolerance | None) -> FileComparison:
    """Return the differences between two files; without a tolerance, bits are compared.

    Raises:
        GradstepError: a file can't be read, or is damaged.
    """
    one, other = map(_read, paths)
    found, same = [], 0
    for name in dict.fromkeys((*one.names(), *other.names())):
        if not name.startswith(_RANDOM):
            difference = difference_of(name, one.tensors.get(name), other.tensors.get(name), tolerance)
            found += [difference] if difference is not None else []
            same += difference is None
    try:
        others = tuple(_others(one, other))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise not_understood(paths[0], error) from None
    return FileComparison((paths[0].name, paths[1].name), tuple(found), others, same)


def _read(path: Path) -> _File:
    try:
        tensors, texts = read(path)
        if "gradstep" not in texts:
            return _File(path, tensors, {}, "")
        then = ", ".join(f"`{line_of(command)}`" for command in pending(path)[0])
        return _File(path, tensors, json.loads(ours(path, texts)["state"]), then or "none")
    except GradstepError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (LookupError, ValueError) as error:
        raise not_understood(path, error) from None


def _others(one: _File, other: _File) -> Iterator[str]:
    """Yield the differences other than tensors, in words."""
    a, b = one.state, other.state
    if not a or not b:
        foreign = [file.path.name for file in (one, other) if not file.state]
        yield from (f"{name} was not written by `checkpoint`: it has tensors only" for name in foreign if a or b)
        return
    if a["optimizer"] != b["optimizer"]:
        yield f"the optimizer: {a['optimizer']} and {b['optimizer']}"
    yield from _groups(a["groups"], b["groups"])
    for key, word in _POINT.items():
        if a["point"][key] != b["point"][key]:
            yield f"{word}: {_short(a['point'][key])} and {_short(b['point'][key])}"
    yield from _entries("", a["objects"], b["objects"])
    both = [section for section in _WHOLE if section in a and section in b]  # the first files lack some
    yield from (_WHOLE[section] for section in both if a[section] != b[section])
    for name, here, there in zip(a["weights"], a["requires_grad"], b["requires_grad"], strict=False):
        if here != there:
            yield f"requires_grad of {name}: {here} and {there}"
    if a["randomness"] != b["randomness"] or not _same_random(one.tensors, other.tensors):
        yield "the random generators"
    if one.then != other.then:
        yield f"the commands that `restore` reruns: {one.then} and {other.then}"


def _groups(one: list[Any], other: list[Any]) -> Iterator[str]:
    if [names for names, _ in one] != [names for names, _ in other]:
        yield "the groups of the optimizer's parameters"
    for place, ((_, were), (_, are)) in enumerate(zip(one, other, strict=False)):
        suffix = f" of group {place}" if len(one) > 1 else ""
        for line in _entries("", were, are):
            name, _, values = line.partition(": ")
            yield f"{name}{suffix}: {values}"


def _entries(word: str, one: Any, other: Any) -> Iterator[str]:
    """Yield where two values differ, those inside them one by one; what is a tensor is compared elsewhere."""
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict) and not _is_leaf(one) and not _is_leaf(other):
        for key in dict.fromkeys((*one, *other)):
            yield from _entries(f"{word}.{key}" if word else str(key), _inner(one.get(key)), _inner(other.get(key)))
        return
    if not any(isinstance(each, dict) and each.keys() & {"tensor", "array"} for each in (one, other)):
        values = [_short(each) for each in (one, other)]
        yield f"{word}: {values[0]} and {values[1]}" if values[0] != values[1] else word


def _inner(value: Any) -> Any:
    """Return a dict that `encode` wrote as pairs as one again."""
    if isinstance(value, dict) and isinstance(value.get("dict"), list):
        return {str(key): each for key, each in value["dict"]}
    return value


_LEAVES = frozenset({"float", "complex", "bytes", "tensor", "array", "scalar", "list", "tuple", "set", "deque"})


def _is_leaf(value: Mapping[str, Any]) -> bool:
    return bool(value.keys() & _LEAVES)


def _short(value: Any) -> str:
    """Write a value of a file; a long one by its kind alone."""
    try:
        text = str(decode(value, {}))
    except LookupError:  # it has tensors in it
        return "others"
    return text if len(text) <= 40 else text[:37] + "..."


def _same_random(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    names = [sorted(name for name in tensors if name.startswith(_RANDOM)) for tensors in (one, other)]
    return names[0] == names[1] and all(same_bits(one[name], other[name]) for name in names[0])
