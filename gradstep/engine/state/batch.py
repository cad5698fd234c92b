"""The batches: the cursor, the current batch, and the batches of a list that were written in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.batches import Cursor, move
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.generators import PREFIX, decoded, encoded, same_entries
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing
from gradstep.engine.tensor_trees import batch_tensors


class BatchPart(Part[Cursor]):
    """The cursor. Restoring it may remake an iterator, so the generators are restored after it."""

    name = "batch"
    kinds: ClassVar = {"batch": "batch", "input": "batch"}
    restored_for_rerun = False
    always_captured = False
    self_contained = True
    sections: ClassVar = {"cursor": "the batch"}

    def capture(self, held: Debuggee) -> Cursor:
        return held.batches.cursor()

    def restore(self, held: Debuggee, captured: Cursor) -> None:
        held.batches.restore(captured)

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        if writing.batch:
            return input_rows(held.batches.batch)
        return () if writing.takes_batch else None

    def tensors(self, held: Debuggee, captured: Cursor) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("batch", str(place)), tensor) for place, (tensor, _) in enumerate(held.batches.written)]

    def title(self, key: Key) -> str:
        return "batch" if key[0] == "batch" else key[1]

    def hash(self, held: Debuggee, captured: Cursor, hasher: Hasher) -> None:
        hasher.add("batches", [captured.taken, captured.within])
        hasher.add("batch", captured.batch)
        # a written batch of a list is used again in the next epoch; other sources make new ones
        here = {id(tensor) for _, tensor in batch_tensors(captured.batch)}
        for written, before in held.batches.written if held.batches.sequence is not None else ():
            now = hasher.hash_of(written)
            if now != before and id(written) not in here:
                hasher.raw(before + now)

    def encode(self, held: Debuggee, captured: Cursor, file: Writer) -> Mapping[str, Any]:
        sequence = held.batches.sequence
        keys = {id(tensor): key for key, tensor in self.tensors(held, captured)}
        written = []
        for place, batch in enumerate(sequence or () if keys else ()):
            for name, leaf in batch_tensors(batch):
                there = file.tensor(keys[id(leaf)], f"batch {place} {name}") if id(leaf) in keys else None
                if there is not None:
                    written.append([place, name, there])
        start = None if captured.start is None else encoded(captured.start, file, f"{PREFIX} at the start of the epoch")
        return {
            "cursor": [captured.taken, captured.within],
            "epoch": start,
            "batch": None if sequence is not None else file.value(captured.batch, "batch"),
            "written": written,
        }

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        taken, within = file.state["cursor"]
        sequence = held.batches.sequence
        writes: list[tuple[str, Tensor, Tensor]] = []
        if sequence is None:
            batch = move(file.value(file.state["batch"]), held.device)
        else:
            if not 0 <= within <= len(sequence):
                raise file.damaged(f"the current batch is {within}, and the workload has {len(sequence)}")
            batch = move(sequence[within - 1], held.device) if taken else None
            for place, name, entry in file.state.get("written", ()):  # the first files lack it
                writes.append((name, dict(batch_tensors(sequence[place]))[name], file.value(entry)))
        start = None if file.state["epoch"] is None else decoded(held, file, file.state["epoch"])

        def apply() -> None:
            for _, leaf, value in writes:
                leaf.data.copy_(value)
            held.batches.restore(Cursor(taken, within, batch, start))

        return Decoded(apply, [(("input", name), leaf) for name, leaf, _ in writes])

    def differ(self, one: Cursor, other: Cursor) -> Iterator[str]:
        if (one.taken, one.within) != (other.taken, other.within):
            yield f"the batch: {one.taken} and {other.taken}"
        elif not _same_batch(one.batch, other.batch):
            yield "the batch"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        yield from super().differ_in_files(one, other)
        if not same_entries(one, other, "epoch"):
            yield "the order of the batches"

    def size(self, captured: Cursor, before: Cursor | None) -> int:
        shared = before is not None and captured.batch is before.batch
        return 0 if shared else sum(tensor.nbytes for _, tensor in batch_tensors(captured.batch))


def input_rows(batch: object) -> list[Row]:
    """Return the tensors of a batch, which a forward may write in place."""
    return [(("input", name), tensor) for name, tensor in batch_tensors(batch)]


def _same_batch(one: object, other: object) -> bool:
    here, there = list(batch_tensors(one)), list(batch_tensors(other))
    return one is other or (
        [name for name, _ in here] == [name for name, _ in there]
        and all(same_bits(a, b) for (_, a), (_, b) in zip(here, there, strict=True))
    )
