"""Images of tensors: shared memory, unusual layouts, and memory that is reused."""

from __future__ import annotations

import gc
import mmap
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from holding import Fused, hold
from torch import Tensor, nn
from travelling import Traveller

from gradstep.engine.bits import all_same_bits, same_bits
from gradstep.engine.state import images as images_room
from gradstep.engine.state import memory as memory_room
from gradstep.engine.state.images import Image, Images
from gradstep.engine.state.memory import Memory, copies_of, copy_all
from gradstep.values.errors import GradstepError


class Odd(nn.Module):
    """Tied weights, overlapping buffers, a transposed weight, an expanded and an empty buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 4)
        self.two = nn.Linear(4, 4)
        self.two.weight = self.one.weight
        self.turned = nn.Parameter(torch.randn(2, 4).t())
        whole = torch.zeros(4)
        self.register_buffer("whole", whole)
        self.register_buffer("part", whole[:2])
        self.register_buffer("wide", torch.ones(1).expand(3))
        self.register_buffer("empty", torch.ones(0))
        self.register_buffer("low", torch.ones(3, dtype=torch.float16))
        self.register_buffer("flag", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        self.part += 1
        self.whole *= 1.5
        self.flag ^= True
        self.low += 0.25
        return self.two(self.one(x)) @ self.turned


class Table(nn.Module):
    """Sparse gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 2, sparse=True, max_norm=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.table(x).sum(1)


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_odd_tensors_go_back_and_forth(budget: int) -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Odd()), budget)
    _there_and_back(traveller)


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_sparse_gradients_and_weights_that_a_forward_writes(budget: int) -> None:
    torch.manual_seed(0)
    batches = [(torch.tensor([[0, 1, 1]]), torch.zeros(1, 2)), (torch.tensor([[5, 0, 2]]), torch.ones(1, 2))]
    _there_and_back(Traveller.of(hold(Table(), batches), budget))


def _there_and_back(traveller: Traveller) -> None:
    for _ in range(2):
        for line in ("forward", "backward", "forward", "backward", "step", "next_batch", "zero_grad"):
            assert traveller.take("act", line)
            traveller.check()
    numbers = list(traveller.timeline.points)
    for number in (*numbers[::-1], *numbers, *numbers[::3]):
        traveller.go(number)
        traveller.check()


def test_an_unchanged_tensor_is_kept_once() -> None:
    images = Images()
    tensor, other = torch.ones(1000), torch.ones(1000)
    kept = [images.current(tensor), images.current(other)]
    images.take([tensor, other])
    tensor.add_(1)
    (written,) = images.settle()
    assert written is kept[0]
    assert images.current(other) is kept[1]
    assert kept[1].copy is None
    assert torch.equal(kept[0].contents, torch.ones(1000))
    assert images.memory.given == 4000


def test_contents_change_places_when_they_are_brought_back() -> None:
    images = Images()
    tensor = torch.arange(300_000.0)
    old = images.current(tensor)
    version = tensor._version
    images.take([tensor])
    tensor.mul_(2)
    images.settle()
    new, address = images.current(tensor), tensor.data_ptr()
    given = images.memory.given
    images.load([old])
    assert same_bits(tensor, torch.arange(300_000.0))
    assert same_bits(new.contents, 2 * torch.arange(300_000.0))
    assert (tensor.data_ptr(), tensor._version) == (address, version)
    images.load([new])
    assert same_bits(tensor, 2 * torch.arange(300_000.0))
    assert images.memory.given == given


def _doubled(images: Images, count: int, size: int) -> tuple[list[Tensor], list[Image]]:
    tensors = [torch.full((size,), float(i)) for i in range(1, count + 1)]
    old = [images.current(tensor) for tensor in tensors]
    images.take(tensors)
    for tensor in tensors:
        tensor.mul_(2)
    images.settle()
    return tensors, old


@pytest.mark.parametrize("threads", [1, 3])
def test_contents_change_places_with_their_copies(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images = Images()
    tensors, old = _doubled(images, 3, 1_300_001)  # many blocks and a part
    new = [images.current(tensor) for tensor in tensors]
    monkeypatch.setattr(images.memory, "like", None)  # no memory is needed
    for kept, factor in ((old, 1), (new, 2)):
        addresses = [tensor.data_ptr() for tensor in tensors]
        images.load(kept)
        assert [tensor.data_ptr() for tensor in tensors] == addresses
        for i, (tensor, one, other) in enumerate(zip(tensors, old, new, strict=True), 1):
            assert (tensor == factor * i).all()
            assert (one.contents == i).all()
            assert (other.contents == 2 * i).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_large_tensors_are_compared_to_their_last_byte(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    large = [torch.zeros(1_300_001) for _ in range(3)]
    pairs = [(tensor, tensor.clone()) for tensor in (large[0], torch.zeros(3), *large[1:])]
    assert all_same_bits(pairs) == [True] * 4
    large[1][-1] = -0.0
    assert all_same_bits(pairs) == [True, True, False, True]
    assert all_same_bits([(large[0], large[2].double()), (large[0].view(1, -1), large[2]), *pairs[2:]]) == [
        False,
        False,
        False,
        True,
    ]


@pytest.fixture
def no_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Move contents as between devices."""
    monkeypatch.setattr(images_room.Images, "_can_swap", lambda *_: False)


@pytest.mark.usefixtures("no_swaps")
def test_large_contents_change_places_one_after_the_other_in_the_memory_of_one() -> None:
    images = Images()
    tensors, old = _doubled(images, 3, 5_000_000)
    new = [images.current(tensor) for tensor in tensors]
    given = images.memory.given
    images.load(old)
    assert images.memory.given == given
    assert images.memory.free == tensors[0].nbytes
    for i, (tensor, image) in enumerate(zip(tensors, new, strict=True), 1):
        assert (tensor == i).all()
        assert (image.contents == 2 * i).all()


@pytest.mark.usefixtures("no_swaps")
def test_a_way_back_without_memory_leaves_all_contents_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images()
    tensors, old = _doubled(images, 3, 5_000_000)
    new = [images.current(tensor) for tensor in tensors]
    like, calls = images.memory.like, list[Tensor]()

    def fails(tensor: Tensor) -> Tensor:
        calls.append(tensor)
        if len(calls) == 2:
            raise MemoryError
        return like(tensor)

    monkeypatch.setattr(images.memory, "like", fails)
    with pytest.raises(MemoryError):
        images.load(old)
    images.load(new)
    for kept, factor in ((new, 2), (old, 1), (new, 2)):
        images.load(kept)
        assert [float(tensor[0]) for tensor in tensors] == [factor * i for i in (1, 2, 3)]
        assert all(images.current(tensor) is image for tensor, image in zip(tensors, kept, strict=True))


def test_memory_comes_back_and_is_used_again() -> None:
    memory = Memory()
    like = torch.ones(10, 20).t()
    made = memory.like(like)
    address = made.data_ptr()
    assert made.stride() == like.stride()
    assert (memory.given, memory.free) == (800, 0)
    del made
    gc.collect()
    assert (memory.given, memory.free) == (0, 800)
    assert memory.like(torch.ones(10, 20)).data_ptr() != address
    assert memory.like(like).data_ptr() == address
    memory.shrink()
    assert memory.free == 0


def test_what_one_act_copied_stays_for_the_next_that_copies_as_much() -> None:
    memory, weight = Memory(), torch.ones(10, 20)
    address = memory.take([weight])[0].data_ptr()
    gc.collect()
    for _ in range(4):  # a backward copies nothing
        memory.take([])
        memory.shrink()
    assert memory.free == weight.nbytes
    assert memory.take([weight])[0].data_ptr() == address


def test_only_copies_into_much_new_memory_take_time(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, weight = Memory(), torch.ones(10, 20)
    monkeypatch.setattr(memory_room, "_NOTICED", weight.nbytes)
    made = memory.take([weight])
    assert memory.short
    spent = memory.seconds
    assert spent > 0
    del made
    gc.collect()
    assert not memory.short
    memory.take([weight])
    assert memory.seconds == spent, "memory that is used again"
    memory.take([weight[:5]])
    assert memory.seconds == spent, "little"


def test_the_next_slab_is_prepared_once_half_of_the_present_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    slabs: list[int] = []
    pages = memory_room._pages

    def counted(size: int) -> Tensor:
        slabs.append(size)
        return pages(size)

    monkeypatch.setattr(memory_room, "_pages", counted)
    memory, small = Memory(), torch.zeros(memory_room._SLAB // 16)  # a quarter of a slab
    kept = [memory.like(small) for _ in range(2)]
    assert not list(memory.prepare([small]))
    kept.append(memory.like(small))
    assert len(list(memory.prepare([small]))) == 1
    assert not list(memory.prepare([small])), "it is there"
    assert len(slabs) == 2
    kept += [memory.like(small) for _ in range(2)]
    assert len(slabs) == 2, "a command that needs it finds it"


def test_prepared_memory_is_new_once_and_touched_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, weight, wide = Memory(), torch.ones(100, 20).t(), torch.ones(30, 100)
    assert not list(memory.prepare([weight, wide])), "too little to be noticed"
    monkeypatch.setattr(memory_room, "_NOTICED", weight.nbytes + wide.nbytes)
    monkeypatch.setattr(memory_room, "_PIECE", 5000)
    next(memory.prepare([weight, wide]))  # which a command interrupts
    assert memory.free == weight.nbytes
    monkeypatch.setattr(memory_room, "_NOTICED", 1)
    assert len(list(memory.prepare([weight, wide]))) == 3
    assert not list(memory.prepare([weight, wide])), "it is there"
    memory.shrink()
    assert memory.free == weight.nbytes + wide.nbytes
    copies = memory.take([weight, wide])
    assert (memory.free, memory.seconds) == (0, 0.0)
    assert all(map(same_bits, copies, (weight, wide)))


def test_copies_made_ahead_are_used_while_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, tensors = Memory(), [torch.ones(100, 20), torch.ones(30), torch.ones(8, 8).t()]
    assert not list(memory.copy_ahead(tensors)), "too little to be noticed"
    monkeypatch.setattr(memory_room, "_NOTICED", 1)
    monkeypatch.setattr(memory_room, "_PIECE", 5000)
    copied: list[Tensor] = []
    monkeypatch.setattr(memory_room, "copy_all", lambda to, of: copied.extend(of) or copy_all(to, of))

    def taken() -> list[int]:
        """Return the sizes of the tensors that are copied now."""
        copied.clear()
        assert all(map(same_bits, memory.take(tensors), tensors))
        return [tensor.numel() for tensor in copied]

    assert len(list(memory.copy_ahead(tensors))) == 3
    assert not list(memory.copy_ahead(tensors)), "they are there"
    assert taken() == [64]
    assert taken() == [2000, 30, 64], "they are used once"
    assert len(list(islice(memory.copy_ahead(tensors), 2))) == 2, "which a command interrupts"
    assert taken() == [2000, 30, 64]
    list(memory.copy_ahead(tensors))
    tensors[1].add_(1.0)
    assert taken() == [30, 64]
    list(memory.copy_ahead(tensors))
    tensors[0].data = torch.zeros(100, 20)
    assert taken() == [2000, 64]
    list(memory.copy_ahead(tensors))
    memory.outdate()
    tensors[0].data.add_(1.0)  # which no counter counts
    assert taken() == [2000, 30, 64]


def test_a_rerun_has_the_memory_of_what_was_copied_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_room, "_NOTICED", 1)
    memory, tensors = Memory(), [torch.ones(100, 20), torch.ones(30)]
    list(memory.copy_ahead(tensors))
    new = memory._new
    tensors[0].data.add_(1.0)
    lent = [memory.lend(tensor) for tensor in tensors]
    assert all(map(same_bits, lent, tensors))
    assert memory._new == new
    assert all(map(same_bits, memory.take(tensors), tensors))


@pytest.mark.parametrize("size", [10, 2000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64, torch.bool, torch.float64])
def test_a_copy_small_or_in_huge_pages_has_the_bits_and_the_strides(size: int, dtype: torch.dtype) -> None:
    tensor = (torch.randn(size, size + 3) * 3).to(dtype).t()
    parameter = nn.Parameter(tensor.contiguous(), requires_grad=False)
    inner = tensor[1:, 1:]
    for given, copy in zip((tensor, parameter, inner), copies_of([tensor, parameter, inner]), strict=True):
        assert type(copy) is Tensor
        assert same_bits(given, copy)
        assert copy.stride() == torch.empty_like(given).stride()
        assert copy.untyped_storage().data_ptr() != given.untyped_storage().data_ptr()
        copy.zero_()
        assert given.count_nonzero()


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="there are no huge pages to ask for")
def test_small_copies_lie_side_by_side_and_none_in_another() -> None:
    memory = Memory()
    likes = [
        torch.ones(3, 5).t(),
        torch.ones(7, dtype=torch.bool),
        torch.ones(2, 2, dtype=torch.complex64),
        torch.ones(0),
    ]
    likes += [torch.ones((), dtype=torch.float64), torch.ones(1000, 900), torch.ones(1000, 900)] * 2
    made = [memory.like(like) for like in likes]
    for copy, like in zip(made, likes, strict=True):
        assert (copy.shape, copy.stride(), copy.dtype) == (like.shape, like.stride(), like.dtype)
        assert copy.data_ptr() % 64 == 0
        copy.copy_(like)
    assert all(same_bits(copy, like) for copy, like in zip(made, likes, strict=True))
    first, last = made[0], made[5]
    assert first.untyped_storage().data_ptr() == last.untyped_storage().data_ptr()  # of one stretch
    assert made[-1].untyped_storage().data_ptr() != first.untyped_storage().data_ptr()  # which came to its end


def test_a_way_back_that_raises_leaves_everything_where_it_was() -> None:
    fused = Fused()
    traveller = Traveller.of(fused.held, 1 << 30)
    traveller.take("loop", 2)
    traveller.take("act", "forward")
    alive, before = fused.held.point.loss, traveller.digest()
    for number in (2, 6):  # a graph has to be built there
        for times in (1, 2, 3):
            fused.fuse.light(times)
            with pytest.raises(GradstepError, match="on purpose"):
                traveller.go(number)
            fused.fuse.light(0)
            assert traveller.digest() == before
            assert fused.held.point.loss is alive
    assert traveller.take("act", "backward")
    traveller.check()


def test_an_interrupt_on_the_way_back_leaves_everything_where_it_was() -> None:
    fused = Fused()
    traveller = Traveller.of(fused.held, 1)
    traveller.take("loop", 3)
    before = traveller.digest()
    fused.back.light(2, KeyboardInterrupt)
    with pytest.raises(GradstepError, match="interrupted"):
        traveller.go(8)
    assert traveller.digest() == before
    traveller.go(8)
    traveller.check()


@pytest.mark.parametrize(
    "lines", [("step",), ("forward", "backward"), ("next_batch",), ("backward", "clip grad norm=0.5")]
)
def test_no_memory_for_a_copy_leaves_nothing_half_kept(lines: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    fused = Fused()
    traveller = Traveller.of(fused.held, 1 << 30)
    traveller.take("loop", 2)
    for line in ("forward", "backward", "step", "forward"):
        traveller.take("act", line)
    memory = traveller.timeline.images.memory
    like = memory.like
    for line in lines:
        before, refusals = traveller.digest(), 0
        for left in range(40):
            calls = iter(range(left))

            def short(tensor: Tensor, calls: Iterator[int] = calls) -> torch.Tensor:
                if next(calls, None) is None:
                    raise MemoryError
                return like(tensor)

            monkeypatch.setattr(memory, "like", short)
            if traveller.take("act", line):
                break
            refusals += 1
            assert traveller.digest() == before
            monkeypatch.setattr(memory, "like", like)
            fused.fuse.light(2)  # what is put back after another failure is not what was never filled
            assert "on purpose" in traveller.refusal("forward")
            assert traveller.digest() == before
        assert 0 < refusals < 39
        monkeypatch.setattr(memory, "like", like)
        traveller.check()
    for number in (1, 5, max(traveller.timeline.points)):
        traveller.go(number)
        traveller.check()
