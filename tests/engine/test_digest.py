"""The digest changes with everything that a phase can depend on, and with nothing else."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from holding import ZEROS, B, F, Fused, N, S, Z, run

from gradstep.engine.state.digest import digest, state_size


class Adam(torch.optim.AdamW):
    """Another class."""


class Thing:
    """An object in `state=`."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = state


def build() -> Fused:
    thing = Thing()
    fused = Fused(
        lambda p: torch.optim.AdamW(p, lr=0.1),
        schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 5),
        state={"thing": thing},
    )
    run(fused.held, N, F, B, S)
    thing.state = {"list": [1, 2.0, None], "array": np.arange(3), "inner": {"tensor": torch.zeros(2)}}
    return fused


def flip(tensor: torch.Tensor) -> None:
    """Flip the lowest bit of the last element."""
    word = {4: torch.int32, 8: torch.int64}[tensor.element_size()]
    flat = tensor.data.view(-1).view(word)
    flat[-1] ^= 1


CHANGES: dict[str, Callable[[Fused], object]] = {
    "a bit of a parameter": lambda f: flip(f.model.first.weight),
    "a bit of a frozen parameter": lambda f: flip(f.model.frozen),
    "minus zero": lambda f: f.model.norm.bias.data.fill_(-0.0),
    "a bit of a buffer": lambda f: flip(f.model.norm.running_var),
    "an integer buffer": lambda f: f.model.norm.num_batches_tracked.add_(1),
    "a bit of a grad": lambda f: flip(f.model.first.weight.grad),
    "None in place of a grad": lambda f: setattr(f.model.first.weight, "grad", None),
    "zeros in place of None": lambda f: setattr(f.model.unused, "grad", torch.zeros(3)),
    "a bit of the optimizer's state": lambda f: flip(f.held.optimizer.state[f.model.last.bias]["exp_avg_sq"]),
    "the optimizer's step count": lambda f: f.held.optimizer.state[f.model.last.bias]["step"].add_(1),
    "lr": lambda f: f.held.optimizer.param_groups[0].update(lr=math.nextafter(0.1, 1)),
    "a hyper-parameter": lambda f: f.held.optimizer.param_groups[0].update(amsgrad=True),
    "betas": lambda f: f.held.optimizer.param_groups[0].update(betas=(0.9, 0.998)),
    "the scheduler": lambda f: setattr(f.held.schedulers[0], "last_epoch", 4),
    "torch's generator": lambda f: torch.rand(1),
    "python's generator": lambda f: random.random(),
    "numpy's generator": lambda f: np.random.rand(),
    "numpy's kept gaussian": lambda f: np.random.randn(),
    "the cursor": lambda f: setattr(f.held.batches, "taken", 9),
    "the place in the epoch": lambda f: setattr(f.held.batches, "within", 9),
    "a bit of the batch": lambda f: flip(f.held.batches.batch[0]),
    "another optimizer of the same hyper-parameters": lambda f: setattr(f.held.optimizer, "__class__", Adam),
    "train and eval": lambda f: f.model.drop.eval(),
    "requires_grad": lambda f: f.model.unused.requires_grad_(False),
    "a listed object's list": lambda f: thing(f)["list"].append(1),
    "a listed object's array": lambda f: thing(f)["array"].__setitem__(0, 1),
    "a listed object's inner tensor": lambda f: flip(thing(f)["inner"]["tensor"]),
    "a listed object's name": lambda f: thing(f).update(other=thing(f).pop("inner")),
}


def thing(fused: Fused) -> dict[str, Any]:
    return fused.held.workload.state["thing"].state  # type: ignore[no-any-return]


@pytest.mark.parametrize("change", CHANGES)
def test_it_changes_with(change: str) -> None:
    fused = build()
    if change == "minus zero":
        fused.model.norm.bias.data.fill_(0.0)
    if change == "numpy's kept gaussian":
        np.random.randn()  # draws two and keeps one: the next leaves the generator's words as they are
    before = fused.digest()
    assert fused.digest() == before, "taking it changes nothing"
    CHANGES[change](fused)
    assert fused.digest() != before


VALUES: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    (1, "1"),
    (0.0, -0.0),
    (None, "None"),
    ([1, [2]], [1, 2]),
    ([1], [1, 1]),
    ({1, 2}, {1, 3}),
    (np.float32(1), np.float32(2)),
    (np.int64(1), np.int64(2)),
    (deque([1]), deque([2])),
    (Counter("a"), Counter("b")),
    (torch.float32, torch.float64),
    (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
    (b"a", b"b"),
    (1j, 2j),
    (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)),
]


@pytest.mark.parametrize(("one", "other"), VALUES)
def test_values_that_differ_have_digests_that_differ(one: Any, other: Any) -> None:
    fused = build()
    found = []
    for value in (one, other, one):
        thing(fused)["value"] = value
        found.append(fused.digest())
    assert found[0] != found[1]
    assert found[0] == found[2]


class Plain:
    """An object with its address in its repr, and with a reference to itself."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.me = self
        self.call = lambda: None


def test_objects_count_by_what_they_hold_and_not_by_where_they_lie() -> None:
    fused = build()
    found = []
    for number in (1, 1, 2):
        thing(fused)["value"] = {"plain": Plain(number), object: number, "bare": object()}
        found.append(fused.digest())
    assert found[0] == found[1] != found[2]


def test_one_seed_gives_one_digest_in_every_process_and_another_seed_another() -> None:
    code = (
        "from gradstep.engine.state.digest import digest; from gradstep.engine.debuggee.loading import *\n"
        "from gradstep.engine.held import Held\n"
        "from gradstep.engine.debuggee.generators import seed_everything\n"
        "from gradstep.engine.runner import Runner\n"
        "from gradstep.values.commands import *\n"
        "for seed in (0, 1):\n"
        "    seed_everything(seed)\n"
        "    h = Held(build(find_factory('cnn', ''), 'cnn'), find_device('cpu'))\n"
        "    r = Runner(h); [r.run(a) for a in (Forward(), Backward(), Step(), ZeroGrad(False))]; print(*digest(h))"
    )
    one, again = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
        for _ in range(2)
    )
    assert one == again
    assert one[0] != one[1]
    assert len(one[0].split()[0]) == 32


def test_cleared_to_none_and_to_zeros_are_two_states() -> None:
    ends = []
    for clear in (Z, ZEROS):
        fused = build()
        run(fused.held, clear)
        ends.append(fused.digest())
    assert ends[0] != ends[1]


def test_the_size_is_of_what_is_hashed() -> None:
    fused = build()
    tensors = [*fused.model.parameters(), *fused.model.buffers()]
    tensors += [p.grad for p in fused.model.parameters() if p.grad is not None]
    tensors += [v for s in fused.held.optimizer.state.values() for v in s.values()]
    assert state_size(fused.held) == sum(t.numel() * t.element_size() for t in tensors)
    assert digest(fused.held)[1] > state_size(fused.held)


def test_a_loaders_own_generator_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(4, 4), torch.randn(4, 2))
    fused = Fused(batches=torch.utils.data.DataLoader(data, shuffle=True, generator=generator))
    before = fused.digest()
    torch.rand(1, generator=generator)
    assert fused.digest() != before


class Sums(torch.nn.Module):
    """A loss module with a buffer and a parameter."""

    sum: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sum", torch.zeros(2))
        self.scale = torch.nn.Parameter(torch.ones(2))

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        self.sum += output.detach().sum(0)
        return ((output - target) * self.scale).square().mean()


@pytest.mark.parametrize("name", ["sum", "scale"])
def test_what_a_loss_that_is_a_module_holds_counts(name: str) -> None:
    loss = Sums()
    fused = Fused(loss=loss)
    run(fused.held, N, F, B)
    before = fused.digest()
    flip(getattr(loss, name))
    assert fused.digest() != before
    flip(getattr(loss, name))
    assert fused.digest() == before
    loss.eval()
    assert fused.digest() != before


def test_the_generator_of_a_batch_samplers_sampler_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(4, 4), torch.randn(4, 2))
    sampler = torch.utils.data.RandomSampler(data, generator=generator)
    batches = torch.utils.data.BatchSampler(sampler, 2, drop_last=False)
    fused = Fused(batches=torch.utils.data.DataLoader(data, batch_sampler=batches))
    before = fused.digest()
    torch.rand(1, generator=generator)
    assert fused.digest() != before


def test_a_scaler_of_gradients_counts() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    fused = Fused(state={"scaler": scaler})
    scaler.scale(torch.ones(()))  # its scale is a tensor from here on
    before = fused.digest()
    scale: torch.Tensor = scaler._scale  # type: ignore[assignment]
    flip(scale)
    assert fused.digest() != before
    flip(scale)
    assert fused.digest() == before
    scaler.set_growth_interval(7)
    assert fused.digest() != before
