"""The generators are captured and restored exactly, the cached gaussian included."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradstep.engine.debuggee.generators import RandomKeeper, Randomness, seed_everything, state_bytes

DRAWS: list[Callable[[], object]] = [
    random.random,
    lambda: random.gauss(0, 1),  # one in two comes from the one before
    np.random.rand,
    np.random.randn,
    lambda: torch.rand(3).tolist(),
    lambda: torch.randn(()).item(),
]


def state() -> tuple[object, ...]:
    """Return what each library itself says its state is."""
    numpy = np.random.get_state(legacy=False)
    words = numpy["state"]
    return (
        random.getstate(),
        words["key"].tobytes(),
        words["pos"],
        numpy["has_gauss"],
        numpy["gauss"],
        torch.get_rng_state().numpy().tobytes(),
    )


@given(st.lists(st.one_of(st.integers(0, 5), st.just("capture"), st.integers(10, 12)), max_size=40))
def test_what_is_put_back_is_what_was_captured(steps: list[int | str]) -> None:
    seed_everything(3)
    keeper = RandomKeeper()
    kept: list[tuple[Randomness, tuple[object, ...]]] = [(keeper.capture(), state())]
    for step in steps:
        if step == "capture":
            kept.append((keeper.capture(), state()))
        elif isinstance(step, int) and step < 10:
            DRAWS[step]()
        elif isinstance(step, int):
            randomness, was = kept[(step - 10) % len(kept)]
            keeper.restore(randomness)
            assert state() == was
            assert state_bytes(keeper.capture()) == state_bytes(randomness)


def test_a_generator_that_was_not_used_is_captured_once() -> None:
    seed_everything(3)
    keeper = RandomKeeper()
    first = keeper.capture()
    assert keeper.capture() is first
    for draw in DRAWS:
        draw()
        assert keeper.capture() is not first
        keeper.restore(first)
        assert keeper.capture() is first
