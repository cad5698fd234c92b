"""A `.steps` file that runs a training script, steps it, and expects something of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gradstep.steps.replay import replay

SCRIPT = """\
import sys, torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.SGD(net.parameters(), lr=0.01)
x = torch.randn(16, 4)
for step in range(int(sys.argv[1])):
    opt.zero_grad()
    loss = (net(x) - 1).pow(2).mean()
    loss.backward()
    opt.step()
    print("step", step)
    if step == 7:
        import os
        os.kill(os.getpid(), 9)
"""


@pytest.fixture
def steps(tmp_path: Path) -> Callable[[str], int]:
    """Return what replays statements that follow `run train.py 9`, and gives the exit code."""
    (tmp_path / "train.py").write_text(SCRIPT)

    def run(text: str) -> int:
        (tmp_path / "test.steps").write_text(f"run train.py 9\n{text}\n")
        return replay([str(tmp_path / "test.steps")])

    return run


def test_it_is_stepped_and_its_variables_are_expected(
    steps: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    text = """forward; expect loss > 0; backward; expect norm(2.weight.grad) > 0
        break train.py:11 if step == 4; continue; expect step == 4; expect shape(x) == [16, 4]
        delete; into backward; expect node.name == "MeanBackward0"
        expect error "script" {
            undo
        }
        until iteration == 6"""
    code = steps(text.replace("into backward; ", "forward; into; "))
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert "step 3\n" in captured.out


def test_an_expectation_that_fails_and_a_script_that_dies_have_their_exit_codes(
    steps: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert steps("forward; expect step == 3") == 1
    assert "step == 3" in capsys.readouterr().err
    assert steps("continue") == 3
    assert "SIGKILL" in capsys.readouterr().err
