"""Read and write .safetensors files: written atomically, and checked against a hash when read.

The format has named dense tensors and string metadata, and no code. It has no checksum either, so a hash is added here:
without it, a flipped bit would be read as a weight.
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
"""The metadata key of a hash (xxh3_128) of all other metadata and of each tensor with its name, dtype and shape."""

_FIRST_HASH = "xxh3_128"
"""The key in the first files, whose hash was of the raw bytes; it is not checked, the digest in them is."""


def write(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write a file atomically.

    Raises:
        OSError: it can't be written; an existing file is unchanged.
        GradstepError: the format can't hold a tensor.
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
    """Yield tensors as the package requires them: dense, contiguous, and without shared memory."""
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
    """Return the metadata of a file.

    Raises:
        OSError: it can't be read.
        GradstepError: it is not a .safetensors file, or is damaged.
    """
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    open(path, "rb").close()  # for the operating system's own error when it can't be read
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise damaged(path, f"it is truncated, or not a .safetensors file ({error})") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and metadata of a file, and check its hash; a file from another program has none.

    Raises:
        OSError: it can't be read.
        GradstepError: it is not a .safetensors file, or is damaged.
    """
    with _opened(path) as file:
        texts = file.metadata() or {}
        # tensors may be mapped to the file: they are copied before anything writes them
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    written = texts.pop(_HASH, None)
    lost = written is None and "gradstep" in texts and _FIRST_HASH not in texts
    if lost or (written is not None and _hash(tensors, texts) != written):
        raise damaged(path, "its hash does not match: it was changed or corrupted after it was written")
    return tensors, texts


def damaged(path: Path, what: str) -> GradstepError:
    """Return the error for a damaged file; nothing was changed."""
    return wrong("this file can't be restored", f"{path}: {what}", "nothing was changed", path.name)


def _unwritable(what: str) -> GradstepError:
    return wrong("this can't be written to a .safetensors file", what, "the format has only dense tensors")
