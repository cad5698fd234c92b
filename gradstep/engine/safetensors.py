"""The .safetensors format: named tensors and texts in one file, nothing in it that could run."""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from gradstep.values.errors import GradstepError, wrong

_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Names of the format (github.com/huggingface/safetensors, README: Format), and what torch calls them."""
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_LENGTH = struct.Struct("<Q")
_LONGEST = 100 << 20
"""Bytes of a header that readers accept, as the format's own does."""
_HASH = "xxh3_128"
"""Under this word the texts hold a hash of all bytes behind the header, and of the header without it."""


def write(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write a file, all at once: it is the old one or the new one, never half of one.

    Raises:
        OSError: it can't be written; what was there is as it was.
        GradstepError: a tensor is of a kind that the format does not have.
    """
    entries: dict[str, Any] = {}
    place, total = 0, xxhash.xxh3_128()
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES or tensor.layout is not torch.strided:
            what = f"{name} is {tensor.dtype}, {tensor.layout}"
            raise wrong("this can't be written to a .safetensors file", what, "the format has dense tensors only")
        size = tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + size],
        }
        place += size
        for part in _bytes(tensor):
            total.update(part)
    entries["__metadata__"] = dict(texts)
    total.update(_text(entries))
    entries["__metadata__"][_HASH] = total.hexdigest()
    header = _text(entries)
    header += b" " * (-len(header) % 8)
    _write_whole(path, [_LENGTH.pack(len(header)), header], tensors)


def _write_whole(path: Path, head: list[bytes], tensors: Mapping[str, Tensor]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "wb") as file:
            for part in head:
                file.write(part)
            for tensor in tensors.values():
                for chunk in _bytes(tensor):
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _text(entries: Mapping[str, Any]) -> bytes:
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def _bytes(tensor: Tensor) -> Iterator[memoryview]:
    flat = tensor.detach().contiguous().cpu().reshape(-1)
    if flat.numel():
        yield flat.view(torch.uint8).numpy().data


def read_texts(path: Path) -> dict[str, str]:
    """Return the texts of a file.

    Raises:
        OSError: it can't be read.
        GradstepError: it is no such file, or is damaged.
    """
    with open(path, "rb") as file:
        return _header(path, file.read(_LENGTH.size), file.read(_LONGEST), path.stat().st_size)[1]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and texts of a file, its hash checked.

    Raises:
        OSError: it can't be read.
        GradstepError: it is no such file, or is damaged.
    """
    data = path.read_bytes()
    entries, texts, start = _header(path, data[: _LENGTH.size], data[_LENGTH.size :], len(data))
    body = memoryview(data)[start:]
    if _HASH in texts:
        total = xxhash.xxh3_128(body)
        found = json.loads(data[_LENGTH.size : start].decode("utf-8", "surrogatepass"))
        del found["__metadata__"][_HASH]
        total.update(_text(found))
        if total.hexdigest() != texts[_HASH]:
            raise damaged(path, "it is not what was written: a bit is flipped, or more")
    whole = torch.frombuffer(bytearray(body), dtype=torch.uint8) if len(body) else torch.empty(0, dtype=torch.uint8)
    tensors = {}
    for name, (dtype, shape, begin, end) in entries.items():
        tensors[name] = whole[begin:end].clone().view(dtype).reshape(shape)
    return tensors, texts


Entry = tuple[torch.dtype, list[int], int, int]


def _header(path: Path, length: bytes, rest: bytes, size: int) -> tuple[dict[str, Entry], dict[str, str], int]:
    """Return the tensors' dtype, shape and place, the texts, and where the tensors begin."""
    if len(length) < _LENGTH.size:
        raise damaged(path, f"it has {size} bytes, and a header alone takes more")
    (count,) = _LENGTH.unpack(length)
    if count > min(_LONGEST, size - _LENGTH.size):
        raise damaged(path, "the length of its header lies beyond its end: it is cut off, or no .safetensors file")
    try:
        found = json.loads(rest[:count].decode("utf-8", "surrogatepass"))
        texts = {str(key): str(value) for key, value in found.pop("__metadata__", {}).items()}
        entries = {str(name): _entry(entry) for name, entry in found.items()}
    except GradstepError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise damaged(path, f"its header can't be read ({type(error).__name__}: {error})") from None
    start = _LENGTH.size + count
    ends = sorted((begin, end) for _, _, begin, end in entries.values())
    place = 0
    for begin, end in ends:
        if begin != place:
            raise damaged(path, "its tensors do not lie one behind the other")
        place = end
    if start + place != size:
        raise damaged(path, f"it should have {start + place:,} bytes, and has {size:,}")
    return entries, texts, start


def _entry(entry: Mapping[str, Any]) -> Entry:
    dtype, shape = _DTYPES[entry["dtype"]], [int(n) for n in entry["shape"]]
    begin, end = (int(n) for n in entry["data_offsets"])
    if min([*shape, begin], default=0) < 0 or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError("a tensor's size does not fit its shape")
    return dtype, shape, begin, end


def damaged(path: Path, what: str) -> GradstepError:
    """Return the error for a file that is not what it should be; nothing was changed."""
    return wrong("this file can't be restored", f"{path}: {what}", "nothing was changed", path.name)
