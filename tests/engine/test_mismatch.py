"""Torch refuses two dtypes, or two devices: the tensor at fault is named."""

from __future__ import annotations

import pytest
import torch
from holding import hold
from running import runner_of
from torch import Tensor, nn

from gradstep.values.commands import Forward
from gradstep.values.errors import GradstepError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(self.fc(x))

    def mixed(self, x: Tensor) -> Tensor:
        return x


class Attribute(Net):
    def __init__(self) -> None:
        super().__init__()
        self.tables = {"mix": torch.eye(4)}

    def mixed(self, x: Tensor) -> Tensor:
        return x @ self.tables["mix"]


class Made(Net):
    def mixed(self, x: Tensor) -> Tensor:
        return x @ torch.ones(4, 4)


class Elsewhere(Net):
    def __init__(self) -> None:
        super().__init__()
        self.mix = torch.eye(4, device="meta")

    def mixed(self, x: Tensor) -> Tensor:
        return x + self.mix[:3]


class Two(Net):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 4).float()

    def mixed(self, x: Tensor) -> Tensor:
        return self.last(x)


def two() -> nn.Module:
    model = Two().double()
    model.last.float()
    return model


CASES = {
    "a plain attribute": (Attribute().double(), torch.float64, "`tables.mix` is a plain attribute of Attribute"),
    "created in the forward": (Made().double(), torch.float64, "Create it with the dtype of another"),
    "two parameters": (two(), torch.float64, "`fc.weight` is float64 and `last.weight` is float32"),
    "the batch": (Attribute(), torch.float64, "convert the batch"),
    "an attribute of another device": (Elsewhere(), torch.float32, '`self.register_buffer("mix", ...)`'),
}


@pytest.mark.parametrize(("model", "dtype", "remedy"), CASES.values(), ids=CASES)
def test_the_remedy_names_what_has_another_dtype_or_device(model: nn.Module, dtype: torch.dtype, remedy: str) -> None:
    held = hold(model, batches=[(torch.ones(3, 4, dtype=dtype), torch.ones(3, 4, dtype=dtype))])
    with pytest.raises(GradstepError) as raised:
        runner_of(held).run(Forward())
    assert remedy in raised.value.problem.remedy
