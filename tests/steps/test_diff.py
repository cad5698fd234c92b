"""Two scripts side by side: the same, or where they part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradstep.cli import main
from gradstep.session.side_by_side import SideSession, tolerance_of
from gradstep.values.commands import Load
from gradstep.values.differences import Tolerance

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
    assert "the same for 6 commands, then they diverge at `forward`" in out
    assert "a.steps:4" in out
    assert "one has `seed 1`" in out
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
    assert "the same for 2 commands, then they diverge at `backward`" in out
    assert "one.weight.grad differs by up to" in out
    assert "first inside it: node #6 ScaleBackward, input 0 differs" in out


WRAPPED = """
import torch
import gradstep
from torch import nn
from torch.utils.checkpoint import checkpoint

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin, self.drop = nn.Linear(4, 4), nn.Dropout(0.2)

    def forward(self, x):
        return self.drop(self.lin(x)).tanh()

class Net(nn.Module):
    reentrant = None

    def __init__(self):
        super().__init__()
        self.norm, self.blocks = nn.BatchNorm1d(4), nn.ModuleList([Block(), Block()])

    def forward(self, x):
        x = self.norm(x).requires_grad_()
        for block in self.blocks:
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        return x

class Reentrant(Net):
    reentrant = True

class NonReentrant(Net):
    reentrant = False

class Wrapper(nn.Module):
    "As DistributedDataParallel does, and a LightningModule."

    def __init__(self, inner):
        super().__init__()
        self.module = inner

    def forward(self, *args):
        return self.module(*args)

class Renamed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.layers = nn.BatchNorm1d(4), nn.ModuleList([Block(), Block()])

    def forward(self, x):
        x = self.first(x).requires_grad_()
        for block in self.layers:
            x = block(x)
        return x

def each(model):
    for i, block in enumerate(model.blocks):
        model.blocks[i] = Wrapper(block)
    return model

def other(model):
    model.blocks[1].drop.p = 0.9
    return Wrapper(model)

def make(model):
    return gradstep.Workload(model, nn.functional.mse_loss, lambda p: torch.optim.AdamW(p, lr=0.1),
                             [(torch.randn(3, 4), torch.randn(3, 4)) for _ in range(2)])

def plain(): return make(Net())
def reentrant(): return make(Reentrant())
def non_reentrant(): return make(NonReentrant())
def wrapped(): return make(Wrapper(Wrapper(Net())))
def wrapped_inside(): return make(each(Net()))
def renamed(): return make(Renamed())
def dropped(): return make(other(Net()))
def compiled(): return make(torch.compile(Net(), backend="eager"))
"""


def loop_of(factory: str) -> str:
    return f"load net.py:{factory} seed=0 device=cpu\nrepeat 2 {{ zero_grad; forward; backward; step; next_batch }}\n"


@pytest.mark.parametrize("factory", ["reentrant", "non_reentrant", "wrapped", "wrapped_inside", "renamed", "compiled"])
def test_models_of_other_classes_or_names_are_the_same_where_every_bit_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], factory: str
) -> None:
    (tmp_path / "net.py").write_text(WRAPPED)
    for one, other in (("plain", factory), (factory, "plain")):
        code = diff(tmp_path, loop_of(one), loop_of(other))
        out = capsys.readouterr().out
        assert code == 0, out
        assert "the same for 11 commands" in out
        assert ("paired in order" in out) == ("entrant" not in factory)


def test_inside_a_wrapped_model_the_module_that_parts_them_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(WRAPPED)
    assert diff(tmp_path, loop_of("plain"), loop_of("dropped")) == 1
    out = capsys.readouterr().out
    assert "they diverge at `forward`" in out
    assert "first inside it: module blocks.1.drop Dropout differs by" in out
    assert "`norm.weight` is `module.norm.weight`: paired in order" in out


def test_a_tolerance_lets_small_differences_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changed = START + "set head.bias[0] = 0.25 + 1e-7\nforward\n"
    plain = START + "set head.bias[0] = 0.25\nforward\n"
    assert diff(tmp_path, plain, changed, "--rtol", "1e-3") == 0
    assert "within rtol 0.001, atol 0" in capsys.readouterr().out
    assert diff(tmp_path, plain, changed) == 1
    assert "head.bias differs by up to 8.94e−08 at [0] (0.25 and 0.250000089, 3 ulps)" in capsys.readouterr().out
    assert diff(tmp_path, plain, changed, "--atol", "1e-8") == 1
    assert "beyond rtol 0, atol 1e-08" in capsys.readouterr().out


def test_a_learning_rate_that_one_side_sets_parts_them_at_the_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = START.replace("forward; b", "set lr = 0.5\nforward; b")
    assert diff(tmp_path, START, changed) == 1
    out = capsys.readouterr().out
    assert "the same for 3 commands, then they diverge at `step`" in out
    assert "only one has `set lr = 0.5`" in out
    assert "b.steps:2" in out


def test_an_edit_that_one_side_has_is_where_they_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START + "forward\n", START + "set head.bias[0] = 7\nforward\n") == 1
    first = capsys.readouterr().out.splitlines()[0]
    assert "the same for 5 commands, then they diverge at `set head.bias[0] = 7`" in first
    assert "b.steps:3" in first


def test_what_runs_until_something_holds_is_compared_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop = "load xor seed=0\nuntil iteration == {}\n"
    assert diff(tmp_path, loop.format(2), loop.format(3)) == 1
    assert "they diverge at `until iteration == 2`" in capsys.readouterr().out


def test_a_script_against_itself_repeats_to_the_bit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.steps").write_text(START)
    assert main(["diff", str(tmp_path / "a.steps")]) == 0
    assert "the same for 5 commands" in capsys.readouterr().out


def test_two_dtypes_are_apart_where_the_coarser_one_is_too_coarse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.steps"
    path.write_text("load mlp seed=0 device=cpu\nrepeat 3 { forward; backward; step; zero_grad }\n")
    assert main(["diff", str(path), "--dtype", "float32,float64"]) == 0
    assert "within the tolerances of torch.testing.assert_close" in capsys.readouterr().out
    assert main(["diff", str(path), "--dtype", "float32,float64", "--rtol", "1e-9"]) == 1
    out = capsys.readouterr().out
    assert "they diverge at `forward`" in out
    assert "first inside it: module 0 Linear differs by up to" in out
    assert "beyond rtol 1e-09, atol 0" in out
    # the same weights: cast, they are what they were
    assert "the same for 1 command" in out


def test_a_cast_that_one_dtype_alone_needs_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "wide.py").write_text(
        """
import torch
import gradstep

def workload():
    return gradstep.Workload(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)),
                             lambda out, target: torch.nn.functional.mse_loss(out.float(), target.float()),
                             lambda p: torch.optim.SGD(p, lr=0.1), [(torch.randn(5, 3), torch.randn(5, 2))])
"""
    )
    path = tmp_path / "a.steps"
    path.write_text("load wide.py:workload seed=0 device=cpu\nrepeat 2 { forward; backward; step; zero_grad }\n")
    assert main(["diff", str(path), "--dtype", "float64,float32"]) == 0
    assert main(["diff", str(path), "--dtype", "float64,float32", "--atol", "1e-12"]) == 1
    assert "first inside it: module 0 Linear" in capsys.readouterr().out


def test_the_first_thing_inside_is_named_though_the_state_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.steps"
    path.write_text("load mlp seed=0 device=cpu\nforward\n")
    assert main(["diff", str(path), "--dtype", "bfloat16,float32"]) == 1
    out = capsys.readouterr().out
    assert "the state after it is the same" in out
    assert "first inside it: module 0 Linear" in out
    assert "beyond rtol 0.016, atol 1e-05" in out


def test_json_says_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START.replace("seed=0", "seed=1"), "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["parted"] is True
    assert found["parting"]["lines"] == ["load cnn seed=0 device=cpu", "load cnn seed=1 device=cpu"]
    assert found["parting"]["tensor"]["largest"] > 0
    assert diff(tmp_path, START, START, "--json") == 0
    assert json.loads(capsys.readouterr().out)["parting"] is None


def test_between_devices_what_assert_close_lets_pass_is_let_pass() -> None:
    one, other = SideSession(0), SideSession(0)
    for side in (one, other):
        assert side.execute(Load("xor", 0, "cpu")).ok
    assert tolerance_of(one, other, None) is None
    other.session.time_travel.timeline.held.device = torch.device("cuda")
    assert tolerance_of(one, other, None) == Tolerance()
    assert tolerance_of(one, other, Tolerance(0.5)) == Tolerance(0.5)


def saved(folder: Path, name: str, script: str) -> str:
    (folder / f"{name}.steps").write_text(f"{script}checkpoint {name}.safetensors\n")
    assert main(["replay", str(folder / f"{name}.steps")]) == 0
    return str(folder / f"{name}.safetensors")


def test_two_saved_states_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = "load gpt seed=0 device=cpu\nforward; backward; step; zero_grad\n"
    one, same = saved(tmp_path, "one", start), saved(tmp_path, "same", start)
    other = saved(tmp_path, "other", start + "set lr = 0.5\nseed 3\nset tell.weight[0, 1] = 100\neval\n")
    capsys.readouterr()
    assert main(["diff", one, same]) == 0
    assert "and everything else" in capsys.readouterr().out
    assert main(["diff", one, other]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("1 of ")
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "lr",
        "train/eval mode",
        "the random generators",
        "tell.weight differs by up to 99.9 at [0, 1] (0.147456124 and 100), 30.4 of its norm; 1 of 1,024 elements",
    ]


def test_a_state_with_a_graph_is_told_by_what_builds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = "load mlp seed=0 device=cpu\n"
    one, other = saved(tmp_path, "one", start), saved(tmp_path, "other", start + "forward\n")
    capsys.readouterr()
    assert main(["diff", one, other]) == 1
    assert capsys.readouterr().out == (
        "0 of 4 tensors differ, and 1 other thing:\n  the commands that `restore` reruns: none and `forward`\n"
    )


def test_files_of_other_programs_are_compared_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, last in (("a", 1.0), ("b", 3.0)):
        tensors = {"w": torch.tensor([1.0, last]), "same": torch.ones(2), name: torch.zeros(1)}
        save_file(tensors, tmp_path / f"{name}.safetensors")
    assert main(["diff", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 1
    out = capsys.readouterr().out
    assert "3 of 4 tensors differ" in out
    assert "w differs by up to 2 at [1] (1 and 3)" in out
    assert "a differs: a tensor and none" in out
    assert "b differs: none and a tensor" in out


def test_what_does_not_go_together_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.steps").write_text(START)
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    one, other = str(tmp_path / "a.steps"), str(tmp_path / "b.safetensors")
    assert main(["diff", one, other]) == 2
    assert "a script can't be compared with a saved state" in capsys.readouterr().err
    assert main(["diff", other]) == 2
    assert main(["diff", one, str(tmp_path / "notes.txt")]) == 2
    assert "neither a script (.steps) nor a saved state" in capsys.readouterr().err
    assert main(["diff", other, other, "--device", "cpu"]) == 2
    assert main(["diff", other, other]) == 2
    assert "b.safetensors" in capsys.readouterr().err
    for wrong in (["--dtype", "int8"], ["--device", "cpu,cpu,cpu"], ["--rtol", "-1"]):
        with pytest.raises(SystemExit) as end:
            main(["diff", one, *wrong])
        assert end.value.code == 2


def test_seeds_part_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START.replace("seed=0", "seed=1")) == 1
    assert "they diverge at once, at `load cnn seed=0 device=cpu`" in capsys.readouterr().out


def test_a_script_that_is_wrong_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert diff(tmp_path, START, START + "fxrward\n") == 2
    assert "unknown command `fxrward`" in capsys.readouterr().err
    assert diff(tmp_path, START + "backward\n", START + "backward\n") == 2
    assert "second time" in capsys.readouterr().err
