"""Why a `.grad` is None: each way in which a path to the loss can end is told from the others, with its line."""

from __future__ import annotations

from typing import Any

import torch
from holding import B, F, S, Z, hold, run
from torch import Tensor, nn

from gradstep.engine.diagnose.missing_grad import why_none
from gradstep.engine.digest import digest
from gradstep.engine.held import Held


class Two(nn.Module):
    """A model with a second layer, whose fate each test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))  # type: ignore[no-any-return]


class Detached(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden = hidden.detach()
        return self.second(hidden)  # type: ignore[no-any-return]


class Data(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).data)  # type: ignore[no-any-return]


class Ungraded(Two):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.first(x).relu()
        return self.second(hidden)  # type: ignore[no-any-return]


class Chosen(Two):
    def forward(self, x: Tensor) -> Tensor:
        chosen = self.first(x).argmax(1)
        return self.second.weight[:, chosen].t()


class Number(Two):
    def forward(self, x: Tensor) -> Tensor:
        scale = self.first(x).sum().item()
        return self.second(x[:, :3] * scale)  # type: ignore[no-any-return]


class Unused(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(x[:, :3])  # type: ignore[no-any-return]


class Aside(Two):
    def forward(self, x: Tensor) -> Tensor:
        self.aside = self.first(x).relu()
        return self.second(x[:, :3])  # type: ignore[no-any-return]


class FastPath(nn.Module):
    """A first layer that learns nothing, for the encoder behind it runs without grad, on its fast path in eval."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.aside, self.second = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2).eval()

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.zeros(len(x), 3, dtype=torch.bool)
        padded[:, 2] = True
        with torch.no_grad():
            hidden = self.encoder(self.first(x).unsqueeze(1).expand(-1, 3, -1), src_key_padding_mask=padded)
        return self.second(hidden[:, 0])  # type: ignore[no-any-return]


def test_a_module_on_its_fast_path_is_walked_through_as_one_operation() -> None:
    # padded input: looked at op by op the encoder would give another loss, and the forward would not repeat
    said = why(FastPath, "first.weight")
    assert "ends at F.linear" in said
    assert "grad mode is off here" in said
    assert "TransformerEncoder at test_absent.py" in why(FastPath, "encoder.layers.1.linear1.weight")
    assert "does not use aside.weight" in why(FastPath, "aside.weight")


def why(model: type[nn.Module], name: str = "first.weight", *acts: object) -> str:
    torch.manual_seed(0)
    held = run(hold(model()), *(acts or (F, B)))
    before = digest(held)
    tensor = held.tensor(name)
    assert tensor is not None
    said = "\n".join(why_none(held, name, tensor))
    assert digest(held) == before
    return said


class Stops(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        return None


class Stopped(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(Stops.apply(self.first(x)))  # type: ignore[no-any-return]


def test_a_function_whose_backward_gives_none_is_named() -> None:
    said = why(Stopped)
    assert "the backward passed nothing on to it" in said
    assert "StopsBackward" in said
    assert "gave None" in said
    assert "AddmmBackward0" not in said
    assert "zero_grad" in why(Stopped, "second.weight", F, B, Z)


def test_the_place_where_the_path_ends_is_named() -> None:
    said = why(Detached)
    assert "torch.Tensor.detach at test_absent.py:" in said
    assert "`hidden = hidden.detach()`" in said
    assert "without their history" in said


def test_data_no_grad_whole_numbers_and_item_are_told_apart() -> None:
    assert "`.data` gives the same numbers" in why(Data)
    ungraded = why(Ungraded)
    assert "grad mode is off here" in ungraded
    assert "`hidden = self.first(x).relu()`" in ungraded
    assert "whole numbers (int64)" in why(Chosen)
    assert "`item` takes the number out of torch" in why(Number)


def test_what_is_not_used_is_told_from_what_is_used_and_left() -> None:
    assert "does not use first.weight" in why(Unused)
    aside = why(Aside)
    assert "no part of this loss" in aside
    assert "`self.aside = self.first(x).relu()`" in aside


def test_the_plain_cases_need_no_walk() -> None:
    assert "no loss yet" in _of(hold(Two()))
    assert "no backward has run since" in why(Two, "first.weight", F)
    assert "zero_grad has set it to None" in why(Two, "first.weight", F, B, Z)
    assert "is not None" in why(Two)


def test_a_frozen_one_is_passed_by() -> None:
    model = Two()
    model.first.requires_grad_(False)
    assert "requires_grad is False" in _of(run(hold(model), F, B))


def test_after_a_step_the_forward_is_still_walked() -> None:
    assert "without their history" in why(Detached, "first.weight", F, B, S)


def _of(held: Held) -> str:
    tensor = held.tensor("first.weight")
    assert tensor is not None
    return "\n".join(why_none(held, "first.weight", tensor))
