"""Checkpoint files restore the state bit for bit; a damaged or foreign file changes nothing."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from holding import hold
from hypothesis import given, settings
from hypothesis import strategies as st
from running import runner_of
from safetensors import torch as package
from torch import nn
from travelling import Traveller

from gradstep.engine.bits import same_bits
from gradstep.engine.files import safetensors
from gradstep.engine.files.checkpoint_file import pending, save
from gradstep.engine.history import travel as arrive
from gradstep.engine.state.digest import digest
from gradstep.values.commands import Restore
from gradstep.values.errors import GradstepError

KINDS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
KINDS += [torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


def write(traveller: Traveller, path: Path) -> Path:
    base, then = arrive.way_to(traveller.timeline.here())
    assert base.checkpoint is not None
    save(traveller.held, base.checkpoint, then, traveller.timeline.losses(base), traveller.digest(), path)
    return path


def restore(traveller: Traveller, path: Path) -> None:
    runner_of(traveller.held).carry_out(Restore(str(path)), traveller.scope)
    for command in pending(path)[0]:
        runner_of(traveller.held).carry_out(command, traveller.scope)
    traveller.check()


def refused(traveller: Traveller, path: Path) -> str:
    before, point = traveller.digest(), traveller.held.point
    with pytest.raises(GradstepError) as caught:
        restore(traveller, path)
    assert traveller.digest() == before
    assert traveller.held.point is point
    return str(caught.value)


@pytest.mark.parametrize("name", ["mlp", "cnn", "rnn", "gpt", "shuffled"])
@pytest.mark.parametrize("more", [(), ("forward",), ("forward", "backward"), ("forward", "backward retain_graph=true")])
def test_a_file_brings_the_state_back_and_the_way_goes_on_as_it_did(
    name: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    traveller = Traveller(name, 1 << 30)
    traveller.take("loop", 2)
    traveller.take("act", "next_batch")
    for line in more:
        assert traveller.take("act", line)
    path, there = write(traveller, tmp_path / "x.safetensors"), traveller.digest()
    losses = list(traveller.held.losses)
    on = ("step", "zero_grad", "forward", "backward", "step") if "backward" in more else ("forward", "backward", "step")
    for line in on:
        assert traveller.take("act", line)
    end = traveller.digest()
    other = Traveller(name, 1 << 30)
    other.take("loop", 1)
    restore(other, path)
    assert other.digest() == there
    assert other.held.losses == losses
    for line in on:
        assert other.take("act", line)
    assert other.digest() == end


def test_a_restore_can_be_undone_and_done_again(tmp_path: Path) -> None:
    traveller = Traveller("cnn", 1 << 30)
    first = traveller.digest()
    traveller.take("loop", 1)
    path, there = write(traveller, tmp_path / "x.safetensors"), traveller.digest()
    traveller.go(1)
    traveller.take("act", "forward")
    restore(traveller, path)
    assert traveller.digest() == there
    losses = list(traveller.held.losses)
    traveller.take("undo", 2)
    assert traveller.digest() == first
    assert traveller.held.losses == []
    traveller.take("redo", 2)
    assert traveller.digest() == there
    assert traveller.held.losses == losses


def test_the_package_of_that_name_reads_it(tmp_path: Path) -> None:
    traveller = Traveller("gpt", 1 << 30)
    traveller.take("loop", 1)
    found = package.load_file(write(traveller, tmp_path / "x.safetensors"))
    for name, parameter in traveller.held.parameters:
        assert torch.equal(found[name], parameter)
        assert torch.equal(found[f"{name}.state.exp_avg"], traveller.held.optimizer.state[parameter]["exp_avg"])


def test_a_file_of_another_workload_or_optimizer_is_refused(tmp_path: Path) -> None:
    cnn, mlp = Traveller("cnn", 1 << 30), Traveller("mlp", 1 << 30)
    path = write(cnn, tmp_path / "x.safetensors")
    assert "from another workload" in refused(mlp, path)
    cnn.take("act", "optimizer adam")
    assert "has SGD, and this is Adam" in refused(cnn, path)
    larger = Traveller.of(hold(nn.Linear(4, 3), [(torch.ones(1, 4), torch.ones(1, 3))]), 1 << 30)
    small = Traveller.of(hold(nn.Linear(4, 2)), 1 << 30)
    assert "weight is (2, 4) torch.float32 in the file" in refused(larger, write(small, tmp_path / "y.safetensors"))


def test_a_file_that_gradstep_did_not_write_is_refused(tmp_path: Path) -> None:
    mlp = Traveller("mlp", 1 << 30)
    package.save_file({"0.weight": torch.zeros(3)}, tmp_path / "x.safetensors")
    assert "was not written by `checkpoint`" in refused(mlp, tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").write_text("not even that")
    assert "can't be restored" in refused(mlp, tmp_path / "y.safetensors")
    assert "No such file" in refused(mlp, tmp_path / "z.safetensors")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Traveller, Path, bytes]:
    torch.manual_seed(0)
    traveller = Traveller("xor", 1 << 30)
    traveller.take("loop", 2)
    path = write(traveller, tmp_path_factory.mktemp("files") / "x.safetensors")
    return traveller, path, path.read_bytes()


@settings(max_examples=150)
@given(data=st.data())
def test_a_file_that_is_damaged_or_cut_off_is_refused(written: tuple[Traveller, Path, bytes], data: Any) -> None:
    traveller, path, whole = written
    if data.draw(st.booleans()):
        path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        place = data.draw(st.integers(0, len(whole) * 8 - 1))
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
    refused(traveller, path)


def test_a_file_without_its_hash_is_refused_and_one_of_the_first_is_not(tmp_path: Path) -> None:
    traveller = Traveller("xor", 1 << 30)
    traveller.take("loop", 2)
    path, there = write(traveller, tmp_path / "x.safetensors"), traveller.digest()
    tensors, texts = safetensors.read(path)
    traveller.go(1)
    package.save_file(tensors, path, texts)
    assert "its hash does not match" in refused(traveller, path)
    package.save_file(tensors, path, {**texts, "xxh3_128": "of the bytes as they lay"})
    restore(traveller, path)
    assert traveller.digest() == there


def test_every_dtype_of_the_format_comes_back_and_memory_that_is_shared_once_for_each(tmp_path: Path) -> None:
    path, base = tmp_path / "x.safetensors", torch.randn(10)
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in KINDS}
    tensors |= {"empty": torch.empty(0, 3), "number": torch.tensor(math.nan), "turned": torch.randn(3, 4).t()}
    tensors |= {"all": base, "first": base[:4], "last": base[4:]}
    safetensors.write(path, tensors, {"a": "ü", "b": ""})
    found, texts = safetensors.read(path)
    assert texts == {"a": "ü", "b": ""}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert same_bits(found[name], tensor.contiguous()), name


@pytest.mark.parametrize(
    "odd",
    [torch.zeros(1, dtype=torch.complex128), torch.eye(2).to_sparse(), torch.empty(2, device="meta")],
    ids=["complex128", "sparse", "meta"],
)
def test_what_the_format_does_not_have_is_said_and_nothing_is_written(odd: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(GradstepError, match=r"can't be written to a \.safetensors file"):
        safetensors.write(tmp_path / "x.safetensors", {"odd": odd}, {})
    assert os.listdir(tmp_path) == []


def test_a_save_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    traveller = Traveller("xor", 1 << 30)
    path = write(traveller, tmp_path / "x.safetensors")
    old = path.read_bytes()
    traveller.take("loop", 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, broken, full)
            with pytest.raises(GradstepError, match="can't be written"):
                write(traveller, path)
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["x.safetensors"]
    with pytest.raises(GradstepError, match="can't be written"):
        write(traveller, tmp_path / "no folder" / "x.safetensors")


def test_what_only_pickle_could_write_is_refused(tmp_path: Path) -> None:
    class Odd:
        def state_dict(self) -> dict[str, object]:
            return {"thing": lambda: 0}

        def load_state_dict(self, _: object) -> None: ...

    held = hold(nn.Linear(4, 2), state={"odd": Odd()})
    with pytest.raises(GradstepError, match=r"odd.thing holds a builtins.function"):
        write(Traveller.of(held, 1 << 30), tmp_path / "x.safetensors")
    assert os.listdir(tmp_path) == []


def test_strides_of_a_gradient_come_back(tmp_path: Path) -> None:
    traveller = Traveller("cnn", 1 << 30)
    parameter = traveller.held.parameter("head.weight")
    traveller.take("act", "forward")
    traveller.take("act", "backward")
    assert parameter.grad is not None
    parameter.grad = parameter.grad.t().contiguous().t()
    traveller.take("act", "set lr = 0.1")
    assert parameter.grad is not None
    strides = parameter.grad.stride()
    assert not parameter.grad.is_contiguous()
    path = write(traveller, tmp_path / "x.safetensors")
    traveller.take("act", "zero_grad")
    restore(traveller, path)
    assert parameter.grad is not None
    assert parameter.grad.stride() == strides


def test_sparse_gradients_come_back(tmp_path: Path) -> None:
    def made() -> Traveller:
        torch.manual_seed(0)
        batches = [(torch.tensor([[1, 2], [2, 4]]), torch.ones(2, 2))]
        optimizer = {"optimizer": lambda p: torch.optim.SparseAdam(list(p), lr=0.1)}
        return Traveller.of(hold(nn.EmbeddingBag(10, 2, sparse=True), batches, **optimizer), 1 << 30)

    traveller, other = made(), made()
    traveller.take("loop", 1)
    for line in ("forward", "backward"):
        traveller.take("act", line)
    restore(other, write(traveller, tmp_path / "x.safetensors"))
    for line in ("step", "forward", "backward"):  # the second adds to the first
        assert other.digest() == traveller.digest()
        for each in (traveller, other):
            assert each.take("act", line)
    path = write(traveller, tmp_path / "x.safetensors")
    other.go(1)
    restore(other, path)
    assert other.digest() == traveller.digest()


def test_a_batch_that_was_written_comes_back(tmp_path: Path) -> None:
    def made() -> Traveller:
        torch.manual_seed(0)
        return Traveller.of(hold(nn.Linear(4, 2), [(torch.ones(3, 4), torch.ones(3, 2)) for _ in range(2)]), 1 << 30)

    traveller, other = made(), made()
    for line in ("next_batch", "set input[0] = 7", "next_batch", "forward", "backward"):
        assert traveller.take("act", line)
    assert other.take("act", "next_batch")
    before = other.digest()
    restore(other, write(traveller, tmp_path / "x.safetensors"))
    assert other.digest() == traveller.digest()
    assert other.take("act", "next_batch")
    assert other.held.batches.batch[0][0].tolist() == [7, 7, 7, 7]
    other.go(2)
    assert other.digest() == before
    assert other.held.batches.batch[0][0].tolist() == [1, 1, 1, 1]


def test_a_buffer_that_is_a_view_of_a_batch_is_not_written_through(tmp_path: Path) -> None:
    class Remembers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 2)
            self.register_buffer("last", torch.zeros(1, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.last = x[:1].detach()
            out: torch.Tensor = self.inner(x)
            return out

    torch.manual_seed(0)
    batches = [(torch.full((3, 4), float(i)), torch.ones(3, 2)) for i in range(2)]
    traveller = Traveller.of(hold(Remembers(), batches), 1 << 30)
    for line in ("next_batch", "next_batch", "forward", "backward"):
        traveller.take("act", line)
    path = write(traveller, tmp_path / "x.safetensors")
    for line in ("next_batch", "forward", "backward"):
        traveller.take("act", line)
    restore(traveller, path)
    assert [x.mean().item() for x, _ in batches] == [0, 1]


def test_the_header_says_what_it_holds(tmp_path: Path) -> None:
    path = write(Traveller("xor", 1 << 30), tmp_path / "x.safetensors")
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    assert header["__metadata__"]["gradstep"] == "1"
    assert header["__metadata__"]["measured_on"].startswith("torch ")
    assert len(digest(Traveller("xor", 1).held)[0]) == len(header["__metadata__"]["digest"])
