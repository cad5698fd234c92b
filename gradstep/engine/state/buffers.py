"""The buffers: a forward may write one in place, resize it, or replace it with another tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from gradstep.engine.bits import same_bits, write
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing
from gradstep.engine.tensor_trees import batch_tensors


class Buffers(Part[tuple[Tensor | None, ...]]):
    """The tensor of each buffer."""

    name = "buffers"
    kinds: ClassVar = {"buffer": "buffer"}

    def capture(self, held: Debuggee) -> tuple[Tensor | None, ...]:
        return tuple([slots.get(key) for _, slots, key in held.buffer_slots])

    def restore(self, held: Debuggee, captured: tuple[Tensor | None, ...]) -> None:
        for (_, slots, key), buffer in zip(held.buffer_slots, captured, strict=True):
            slots[key] = buffer

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        written = writing.code or writing.buffers
        return [(("buffer", name), buffer) for name, buffer in held.buffers()] if written else None

    def tensors(self, held: Debuggee, captured: tuple[Tensor | None, ...]) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("buffer", name), buffer) for (name, _, _), buffer in zip(held.buffer_slots, captured, strict=True)]

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        for name, slots, slot in held.buffer_slots:
            if name == key[1] and tensor is not None:
                slots[slot] = tensor

    def hash(self, held: Debuggee, captured: tuple[Tensor | None, ...], hasher: Hasher) -> None:
        for name, _, _ in held.buffer_slots:
            hasher.add("buffer", name)
            hasher.tensor(("buffer", name))

    def encode(self, held: Debuggee, captured: tuple[Tensor | None, ...], file: Writer) -> Mapping[str, Any]:
        return {"buffers": {name: file.tensor(("buffer", name), name) for name, _, _ in held.buffer_slots}}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        there = file.state["buffers"]
        for name, _ in held.buffers():
            if name not in there:
                raise file.refuse(f"it has no {name}")
        if more := set(there) - {name for name, *_ in held.buffer_slots}:
            raise file.refuse(f"it has {min(more)}, and this model does not")
        found = [file.value(there[name]) for name, _, _ in held.buffer_slots]

        def apply() -> None:
            lent = {_memory(leaf) for _, leaf in batch_tensors([held.batches.batch, *(held.batches.sequence or ())])}
            for (_, slots, key), buffer in zip(held.buffer_slots, found, strict=True):
                there = slots[key]
                # a forward may have replaced the buffer with a batch or a view of one, which must not be written
                if buffer is None or there is None or _memory(there) in lent:
                    slots[key] = None if buffer is None else buffer.to(held.device)
                elif not same_bits(there, buffer):  # an expanded buffer can't be written, and never was
                    write(there, buffer)

        return Decoded(apply, [(("buffer", name), buffer) for name, buffer in held.buffers()])


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
