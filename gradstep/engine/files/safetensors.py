"""The .safetensors files that hold a state: written whole or not at all, and read only when they are what was written.

The format is the package's of that name: named dense tensors and texts, nothing in it that could run. What is added
here is a hash, for the format has none: a bit that flipped in a weight would be read as a weight.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gradstep.engine.bits import hash_of
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.files import replacing

_HASH = "hash"
"""Under this word the texts hold a hash (xxh3_128) of all the others, and of each tensor with its name and kind."""

_FIRST_HASH = "xxh3_128"
"""The word of the first files, whose hash was of the bytes as they lay; the digest in them proves what is restored."""


def write(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write a file, all at once: it is the old one or the new one, never half of one.

    Raises:
        OSError: it can't be written; what was there is as it was.
        GradstepError: a tensor is of a kind that the format does not have.
    """
    plain = dict(_plain(tensors))
    with replacing(path) as draft:
        try:
            save_file(plain, draft, {**texts, _HASH: _hash(plain, texts)})
        except SafetensorError as error:
            raise OSError(str(error)) from error
        except KeyError as error:  # a dtype that the package has no name for
            raise _unwritable(str(error)) from None


def _plain(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors as the package takes them: dense, in one piece, and each in memory of its own."""
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
            raise _unwritable(f"{name} is {tensor.dtype}, {tensor.layout}")
        plain = tensor.detach().contiguous().cpu()
        place = plain.untyped_storage().data_ptr()
        yield name, plain.clone() if place in seen else plain
        seen.add(place)


def _hash(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    total = xxhash.xxh3_128(json.dumps(sorted(texts.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        total.update(hash_of(tensor))
    return total.hexdigest()


def read_texts(path: Path) -> dict[str, str]:
    """Return the texts of a file.

    Raises:
        OSError: it can't be read.
        GradstepError: it is no such file, or is damaged.
    """
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    open(path, "rb").close()  # what can't be read is said in the system's words
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise damaged(path, f"it is cut off, or no .safetensors file ({error})") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and texts of a file, its hash checked; one of another program has none.

    Raises:
        OSError: it can't be read.
        GradstepError: it is no such file, or is damaged.
    """
    with _opened(path) as file:
        texts = file.metadata() or {}
        # the memory of what is read may be the file's own: it is copied before anything is written into it
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    written = texts.pop(_HASH, None)
    lost = written is None and "gradstep" in texts and _FIRST_HASH not in texts
    if lost or (written is not None and _hash(tensors, texts) != written):
        raise damaged(path, "it is not what was written: a bit is flipped, or more")
    return tensors, texts


def damaged(path: Path, what: str) -> GradstepError:
    """Return the error for a file that is not what it should be; nothing was changed."""
    return wrong("this file can't be restored", f"{path}: {what}", "nothing was changed", path.name)


def _unwritable(what: str) -> GradstepError:
    return wrong("this can't be written to a .safetensors file", what, "the format has dense tensors only")
