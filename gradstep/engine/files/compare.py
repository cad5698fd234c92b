"""Compare two .safetensors files: states that `checkpoint` wrote, or any named tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from gradstep.engine.diagnose.closeness import difference_of
from gradstep.engine.files.checkpoint_file import FileReader, not_understood, ours, pending, unreadable
from gradstep.engine.files.safetensors import read
from gradstep.engine.files.trees import tensor_names
from gradstep.engine.state import registry
from gradstep.engine.state.generators import PREFIX
from gradstep.values.commands import line_of
from gradstep.values.differences import FileComparison, Tolerance
from gradstep.values.errors import GradstepError


def compare_files(paths: tuple[Path, Path], tolerance: Tolerance | None) -> FileComparison:
    """Return the differences between two files; without a tolerance, bits are compared.

    Raises:
        GradstepError: a file can't be read, or is damaged.
    """
    one, other = map(_read, paths)
    found, same = [], 0
    for name in dict.fromkeys((*_names(one), *_names(other))):
        difference = difference_of(name, one.tensors.get(name), other.tensors.get(name), tolerance)
        found += [difference] if difference is not None else []
        same += difference is None
    try:
        others = tuple(_others(one, other))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise not_understood(paths[0], error) from None
    return FileComparison((paths[0].name, paths[1].name), tuple(found), others, same)


def _read(path: Path) -> FileReader:
    """Return the contents of a file; its state is empty when `checkpoint` did not write it."""
    try:
        tensors, texts = read(path)
        return FileReader(path, json.loads(ours(path, texts)["state"]) if "gradstep" in texts else {}, tensors)
    except GradstepError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (LookupError, ValueError) as error:
        raise not_understood(path, error) from None


def _names(file: FileReader) -> Iterator[str]:
    """Yield the names of the tensors in the order of the parts; generators are compared as a whole."""
    named = (name for name in tensor_names(file.state) if name in file.tensors)
    yield from (name for name in (*named, *file.tensors) if not name.startswith(PREFIX))


def _others(one: FileReader, other: FileReader) -> Iterator[str]:
    """Yield the differences other than tensors, in words."""
    if not one.state or not other.state:
        foreign = [file.path.name for file in (one, other) if not file.state]
        both = not one.state and not other.state
        yield from (f"{name} was not written by `checkpoint`: it has only tensors" for name in foreign if not both)
        return
    for part in registry.PARTS:
        yield from part.differ_in_files(one, other)
    if one.state["losses"] != other.state["losses"]:
        yield "the losses so far"
    then = [", ".join(f"`{line_of(command)}`" for command in pending(file.path)[0]) or "none" for file in (one, other)]
    if then[0] != then[1]:
        yield f"the commands that `restore` reruns: {then[0]} and {then[1]}"
