"""When torch refuses a backward, the node that saved, what wrote or freed it, and the lines of both are named."""

from __future__ import annotations

import torch
from holding import B, F, S, failed, hold, run
from torch import Tensor, nn

from gradstep.engine.digest import digest
from gradstep.engine.faults import named


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).exp()
        hidden += 1
        return self.second(hidden)  # type: ignore[no-any-return]


def test_an_in_place_op_of_the_forward_is_named_with_both_lines_and_versions() -> None:
    held = run(hold(InPlace()), F)
    problem = failed(held, B)
    before = digest(held)
    said = named(held, problem, "").what
    assert "ExpBackward0" in said
    assert "`hidden = self.first(x).exp()` saved it at version 0; it is at version 1 now" in said
    assert "`hidden += 1` wrote it after that" in said
    assert digest(held) == before


class InPlaceBeforeFastPath(InPlace):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.tensor([[False, False, True]]).expand(len(x), -1)
        with torch.no_grad():
            x = self.encoder(torch.stack([x, x, x], 1), src_key_padding_mask=padded)[:, 0] + x
        return super().forward(x)


def test_a_module_on_its_fast_path_does_not_keep_the_culprit_from_being_named() -> None:
    held = run(hold(InPlaceBeforeFastPath()), F)
    said = named(held, failed(held, B), "").what
    assert "`hidden += 1` wrote it after that" in said


def test_the_step_that_wrote_the_weights_is_named() -> None:
    torch.manual_seed(0)
    held = run(hold(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))), F)
    from gradstep.values.commands import Backward

    run(held, Backward(retain_graph=True), S)
    said = named(held, failed(held, B), "").what
    assert "of 1 Linear" in said
    assert "optimizer.step() wrote it" in said


def test_the_backward_that_freed_the_graph_is_named() -> None:
    held = run(hold(InPlace()), F)
    held = run(hold(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))), F, B)
    said = named(held, failed(held, B), "command 2, `backward`").what
    assert "has nothing left of what it saved" in said
    assert "freed by command 2, `backward`" in said


def test_any_other_problem_is_left_as_it_is() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    problem = failed(held, B)
    assert named(held, problem, "") == problem
