"""The contents of tensors at past points: one image for each interval in which a tensor did not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from weakref import KeyedRef, WeakValueDictionary

import torch
from torch import Tensor

from gradstep.engine.bits import all_same_bits, hash_of, same_form, size_of, write
from gradstep.engine.state.memory import Memory, copy_all, is_plain, swap_all


class Image:
    """The contents of one tensor over one interval; shared by every checkpoint in it.

    The contents are in the tensor itself until something writes it, and in a copy from then on.
    """

    __slots__ = ("__weakref__", "_hash", "_tally", "copy", "size", "tensor", "version")

    def __init__(self, tensor: Tensor, tally: Tally) -> None:
        self.tensor = tensor
        self.size, self._tally = 0, tally
        self.size = size_of(tensor)
        tally.bytes += self.size
        self.copy: Tensor | None = None
        self.version = tensor._version
        self._hash = b""

    @property
    def contents(self) -> Tensor:
        """The tensor or the copy with the contents; must not be written."""
        return self.tensor if self.copy is None else self.copy

    @property
    def hash(self) -> bytes:
        """The hash of the contents; computed once."""
        if not self._hash:
            self._hash = hash_of(self.contents)
        return self._hash

    @property
    def hashed(self) -> bool:
        """True once the hash is computed."""
        return bool(self._hash)

    def __del__(self) -> None:
        self._tally.bytes -= self.size


class Tally:
    """The total bytes of all images, and of what else checkpoints share."""

    def __init__(self) -> None:
        self.bytes = 0
        self._sizes: dict[int, KeyedRef[tuple[int, int], object]] = {}
        self._released = self._release

    def hold(self, shared: object, size: int) -> None:
        """Count the bytes of an object for as long as it lives; once, however often it is given."""
        if id(shared) not in self._sizes:
            self._sizes[id(shared)] = KeyedRef(shared, self._released, (id(shared), size))
            self.bytes += size

    def _release(self, gone: KeyedRef[tuple[int, int], object]) -> None:
        place, size = gone.key
        del self._sizes[place]
        self.bytes -= size


class Images:
    """The images of the tensors of one held workload; only this class moves contents between tensors and copies."""

    def __init__(self, offload: bool = False) -> None:
        """Keep copies on the device of their tensors, or with `offload` in host memory for tensors on a GPU."""
        self.memory = Memory(offload)
        self._inside: WeakValueDictionary[int, Image] = WeakValueDictionary()
        """The image of each tensor's present contents, by id; an image keeps its tensor alive, so ids stay valid."""
        self._open: list[Image] = []
        self.tally = Tally()

    def current(self, tensor: Tensor) -> Image:
        """Return the image of a tensor's present contents."""
        image = self._inside.get(id(tensor))
        if image is None or image.tensor is not tensor:
            image = self._inside[id(tensor)] = Image(tensor, self.tally)
        return image

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy each tensor before an act that may write it; `settle` or `abandon` must follow."""
        if not tensors:
            return []
        try:
            return self._take(tensors)
        except BaseException:  # out of memory: a copy that was not filled must not be used
            self.abandon()
            raise

    def _take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        images = [self.current(tensor) for tensor in tensors]
        new = list({id(image): image for image in images if image.copy is None}.values())
        self._open += new
        for image, copy in zip(new, self.memory.take([image.tensor for image in new]), strict=True):
            image.version, image.copy = image.tensor._version, copy
        return [image.contents for image in images]

    def settle(self) -> list[Image]:
        """End a successful act: drop the copies of unwritten tensors; return the images of written ones."""
        if not self._open:
            return []
        written = []
        same = all_same_bits((image.tensor, image.contents) for image in self._open)
        for image, unwritten in zip(self._open, same, strict=True):
            if unwritten:
                image.copy = None
            else:
                self._inside.pop(id(image.tensor), None)
                written.append(image)
        self._open.clear()
        return written

    def abandon(self) -> None:
        """End an act that was rolled back: drop all copies."""
        for image in self._open:
            image.copy = None
            self._inside[id(image.tensor)] = image  # `settle` may have been interrupted
        self._open.clear()

    @contextmanager
    def in_the_middle(self) -> Iterator[list[Image]]:
        """Allow contents to move in the middle of an act; yield the images of the tensors written so far.

        At the end of the block every tensor must have the contents it had at the beginning.
        """
        opened, written = [(image, image.copy) for image in self._open], []
        same = all_same_bits((image.tensor, image.contents) for image in self._open)
        for (image, _), unwritten in zip(opened, same, strict=True):
            if unwritten:
                image.copy = None
            else:
                self._inside.pop(id(image.tensor), None)
                written.append(image)
        before, self._open = self._open, []
        try:
            yield written
        finally:
            for image, copy in opened:
                image.copy = copy if image.copy is None else image.copy
                self._inside[id(image.tensor)] = image
            self._open = before

    def load(self, images: Iterable[Image]) -> None:
        """Move contents back into their tensors, version counters included; the present ones move into copies."""
        self.memory.outdate()
        moved = [image for image in images if image.copy is not None]
        apart, together = _by_memory(moved)
        self._swap([image for image in apart if self._can_swap(image)])
        for lot in _in_lots([image for image in apart if image.copy is not None]):
            self._move(lot)
        for image in together:  # tensors may overlap: all are read before any is written
            there = self._leave(image.tensor)
            if there is not None:
                there.copy = image.tensor.detach().clone()
        for image in together:
            assert image.copy is not None
            write(image.tensor, image.copy)
            image.copy = None
            self._inside[id(image.tensor)] = image
        if moved:
            tensors, versions = tuple(i.tensor for i in moved), tuple(i.version for i in moved)
            torch._C._autograd._unsafe_set_version_counter(tensors, versions)

    def _can_swap(self, image: Image) -> bool:
        """Return whether a tensor's present contents are needed, and can take the place of those of the image."""
        tensor, copy = image.tensor, image.copy
        if copy is None or id(tensor) not in self._inside or not is_plain(tensor) or not is_plain(copy):
            return False
        return tensor.is_contiguous() and copy.is_contiguous() and not tensor.is_conj() and not tensor.is_neg()

    def _swap(self, images: list[Image]) -> None:
        """Move contents from copies into tensors, and the present ones into the same copies: no memory is needed."""
        swap_all([(image.tensor, image.copy) for image in images if image.copy is not None])
        for image in images:
            there = self._leave(image.tensor)
            assert there is not None
            image.copy, there.copy = None, image.copy
            self._inside[id(image.tensor)] = image

    def _move(self, images: list[Image]) -> None:
        """Move contents from copies into tensors, and the present ones into memory that one lot frees for the next."""
        live = [image.tensor.data for image in images]
        left = [(tensor, self._inside.get(id(image.tensor))) for image, tensor in zip(images, live, strict=True)]
        needed = [(tensor, there) for tensor, there in left if there is not None]
        rooms = [self.memory.like(tensor) for tensor, _ in needed]
        copy_all(rooms, [tensor for tensor, _ in needed])
        for room, (_, there) in zip(rooms, needed, strict=True):  # from here on the tensors can be written
            self._leave(there.tensor)
            there.copy = room
        copy_all(live, [image.contents for image in images])
        for image in images:
            image.copy = None
            self._inside[id(image.tensor)] = image

    def _leave(self, tensor: Tensor) -> Image | None:
        """Return the image of a tensor about to be written, if a checkpoint still needs its present contents."""
        there = self._inside.pop(id(tensor), None)
        if there is not None:
            there.version = tensor._version
        return there


_LOT = 16 << 20
"""Bytes that are moved at once: about the memory that a move needs in addition to the history's own."""


def _in_lots(images: list[Image]) -> Iterator[list[Image]]:
    """Yield the images in lots of about equal size; a large one alone."""
    lot: list[Image] = []
    size = 0
    for image in images:
        if lot and size + image.size > _LOT:
            yield lot
            lot, size = [], 0
        lot.append(image)
        size += image.size
    if lot:
        yield lot


def _by_memory(images: list[Image]) -> tuple[list[Image], list[Image]]:
    """Return the images of dense tensors that share no memory and were not resized, and the others."""
    places = [_place(image.tensor) for image in images]
    owners = Counter(places)
    apart: list[Image] = []
    together: list[Image] = []
    for image, place in zip(images, places, strict=True):
        (apart if owners[place] == 1 and _in_form(image) else together).append(image)
    return apart, together


def _in_form(image: Image) -> bool:
    return image.tensor.layout is torch.strided and same_form(image.tensor, image.contents)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)
