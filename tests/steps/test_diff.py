"""Two scripts side by side: the same, or where they part."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradstep.cli import main

START = "load cnn seed=0 device=cpu\nforward; backward; step; zero_grad\n"


def diff(folder: Path, one: str, other: str, *more: str) -> int:
    for name, text in (("a", one), ("b", other)):
        (folder / f"{name}.steps").write_text(text)
    return main(["diff", str(folder / "a.steps"), str(folder / "b.steps"), *more])


def test_the_same_script_is_the_same_to_the_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START + "say later\nforward\n") == 0
    assert "the same for 5 commands; then" in capsys.readouterr().out


def test_dropout_is_named_as_what_parts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START + "seed 1\nforward\n", START + "seed 2\nforward\n") == 1
    out = capsys.readouterr().out
    assert "the same for 6 commands, then they part at `forward`" in out
    assert "a.steps:4" in out
    assert "the scripts differ at" in out
    assert "first inside it: module dropout Dropout differs" in out


def test_a_node_is_named_where_a_backward_parts_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "odd.py").write_text(
        """
import torch
import gradstep

class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, by):
        ctx.by = by
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.by, None

class Net(torch.nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by, self.one, self.two = by, torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.two(Scale.apply(self.one(x), self.by).relu())

def make(by):
    return gradstep.Workload(Net(by), torch.nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1),
                             [(torch.ones(3, 2), torch.ones(3, 2))])

def right():
    return make(1.0)

def wrong():
    return make(2.0)
"""
    )
    loop = "repeat 2 { forward; backward; step; zero_grad }\n"
    assert diff(tmp_path, f"load odd.py:right seed=0\n{loop}", f"load odd.py:wrong seed=0\n{loop}") == 1
    out = capsys.readouterr().out
    assert "the same for 2 commands, then they part at `backward`" in out
    assert "one.weight.grad differs by up to" in out
    assert "first inside it: node #6 ScaleBackward, input 0 differs" in out


def test_a_tolerance_lets_small_differences_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = START + "set head.bias[0] = 1e-9 + 1 * head.bias[0]\nforward\n"
    plain = START + "set head.bias[0] = 1 * head.bias[0]\nforward\n"
    assert diff(tmp_path, plain, changed, "--tolerance", "1e-3") == 0
    assert diff(tmp_path, plain, changed.replace("1e-9", "0.5")) == 1
    assert "head.bias differs by up to 0.500" in capsys.readouterr().out


def test_seeds_part_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START.replace("seed=0", "seed=1")) == 1
    assert "they part at once, at `load cnn seed=0 device=cpu`" in capsys.readouterr().out


def test_a_script_that_is_wrong_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START + "fxrward\n") == 2
    assert "unknown command `fxrward`" in capsys.readouterr().err
    assert diff(tmp_path, START, START + "backward\n") == 2
    assert "second time" in capsys.readouterr().err
