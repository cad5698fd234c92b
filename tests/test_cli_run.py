"""`gradstep run`: a script's own output and exit code pass through, and a report says what it did."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradstep.cli.arguments import breakpoint_of
from gradstep.values.commands import line_of
from gradstep.values.errors import GradstepError

SCRIPT = """\
import sys, torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01)
x = torch.randn(16, 4)
for step in range(int(sys.argv[1])):
    opt.zero_grad()
    loss = (net(x) - 1).pow(2).mean()
    loss.backward()
    opt.step()
    print(step, loss.item())
with torch.no_grad():
    print("evaluation", net(x).sum().item(), file=sys.stderr)
sys.exit(int(sys.argv[2]))
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments in a folder."""
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def report_of(folder: Path) -> dict[str, Any]:
    """Return the report that a run wrote there."""
    found: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the script in it."""
    (tmp_path / "train.py").write_text(SCRIPT)
    return tmp_path


def test_output_and_exit_code_are_those_of_a_run_alone_and_the_report_tells_the_loop(folder: Path) -> None:
    alone = run(folder, "train.py", "5", "3")
    watched = run(folder, "-m", "gradstep", "run", "--report", "out.json", "train.py", "5", "3")
    assert (watched.stdout, watched.returncode) == (alone.stdout, 3)
    assert watched.stderr.startswith(alone.stderr)
    report = report_of(folder)
    assert report["iterations"] == 5
    assert report["phases"][0]["order"] == ["zero_grad", "forward", "backward", "step"]
    assert [f"{i} {loss}" for i, loss in report["losses"]] == alone.stdout.splitlines()
    assert [layer["name"] for layer in report["layers"]] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(len(layer["grad_norm"]) == len(report["sampled"]) > 0 for layer in report["layers"])
    assert report["verdict"] == "ran to its end with exit code 3"


def test_a_breakpoint_ends_it_and_says_where(folder: Path) -> None:
    ended = run(folder, "-m", "gradstep", "run", "--break", "step == 3", "--report", "out.json", "train.py", "9", "0")
    assert ended.returncode == 1
    assert len(ended.stdout.splitlines()) == 3
    assert re.fullmatch(r"stopped at breakpoint 1, train.py:\d+, iteration 3", report_of(folder)["verdict"])
    assert "never hit" not in ended.stderr
    missed = run(folder, "-m", "gradstep", "run", "--break", "bogus > 3", "train.py", "1", "0")
    assert "never hit: break when bogus > 3" in missed.stderr


def test_it_ends_after_the_iterations_asked_for(folder: Path) -> None:
    ended = run(folder, "-m", "gradstep", "run", "--iterations", "2", "--report", "out.html", "train.py", "9", "0")
    assert ended.returncode == 0
    assert len(ended.stdout.splitlines()) == 2
    page = (folder / "out.html").read_text()
    assert "ended after 2 iterations, as asked" in page
    assert "<svg" in page


def test_findings_are_in_the_report_and_fail_it_where_asked(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace("    opt.zero_grad()\n", ""))
    words = ("-m", "gradstep", "run", "--fail-on", "error", "--report")
    assert run(folder, *words, "out.html", "train.py", "4", "0").returncode == 1
    assert re.search(r"error zero-grad-missing, train.py:\d+, iterations? \d", (folder / "out.html").read_text())
    quiet = run(folder, *words, "out.json", "--check", "zero-grad-missing=off", "train.py", "4", "0")
    assert quiet.returncode == 0
    assert all(each["severity"] != "error" for each in report_of(folder)["findings"])


def test_what_it_raises_is_its_verdict(folder: Path) -> None:
    (folder / "train.py").write_text(SCRIPT.replace("opt.step()", "raise RuntimeError('no more data')"))
    alone = run(folder, "train.py", "5", "3")
    ended = run(folder, "-m", "gradstep", "run", "--report", "out.json", "train.py", "5", "0")
    assert ended.returncode == alone.returncode == 1
    assert ended.stderr.startswith(alone.stderr)
    report = report_of(folder)
    assert report["verdict"].startswith("raised RuntimeError: no more data at ")
    assert report["verdict"].endswith("train.py:11")
    assert report["problem"]["frames"][-1]["line"] == 11


@pytest.mark.parametrize("program", [["-m", "gradstep"], [str(Path(sys.executable).with_name("gradstep"))]])
def test_the_path_of_the_script_is_that_of_a_run_alone(program: list[str], folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "path.py").write_text("import sys; print(sys.path, sys.argv)\n")
    watched = run(folder, *program, "run", "src/path.py", "a")
    assert watched.stdout == run(folder, "src/path.py", "a").stdout


def test_a_script_that_trains_nothing_says_so(folder: Path) -> None:
    (folder / "hello.py").write_text("print('hello')\n")
    ended = run(folder, "-m", "gradstep", "run", "hello.py")
    assert (ended.stdout, ended.returncode) == ("hello\n", 0)
    assert "no backward was seen" in ended.stderr


TRAINS = """
import os, sys, threading, torch
def train(count):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for i in range(count):
        opt.zero_grad()
        loss = net(torch.ones(2, 4)).pow(2).mean()
        loss.backward()
        opt.step()
        print(i, loss.item(), flush=True)
"""

UNRULY = {
    "on another thread": (
        "t = threading.Thread(target=train, args=(2,), name='trainer')\nt.start()\nt.join()",
        "it trains on the thread trainer, and gradstep steps the main thread only",
    ),
    "in a child": (
        "if not os.fork():\n    train(2)\n    os._exit(0)\nos.wait()",
        "no backward was seen: it ran as `python` runs it. Its child processes are not stepped",
    ),
    "replaced": (
        "train(2)\nif not sys.argv[1:]:\n    os.execv(sys.executable, [sys.executable, __file__, '2'])\nsys.exit(4)",
        "replaced its process (os.exec): what runs from there on is not watched, 2 iterations",
    ),
    "patches torch": (
        """
calls = []
def counted(owner, name):
    own = getattr(owner, name)
    def call(*args, **kwargs):
        calls.append(name)
        return own(*args, **kwargs)
    setattr(owner, name, call)
    return lambda: setattr(owner, name, own)
undo = [
    counted(torch.nn.Module, "__call__"), counted(torch.optim.SGD, "step"),
    counted(torch.optim.Optimizer, "zero_grad"), counted(torch.Tensor, "backward"),
]
train(3)
for each in undo: each()
print(calls)
""",
        "ran to its end, 3 iterations",
    ),
    "closes its outputs": ("train(2)\nos.closerange(0, 3)\ntorch.ones(1)\nos._exit(7)", ""),
    "closes its errors": ("train(2)\nos.close(2)\nsys.exit(7)", ""),
}


@pytest.mark.parametrize("name", UNRULY)
def test_a_script_that_does_as_it_likes_does_so_and_that_is_said(name: str, tmp_path: Path) -> None:
    body, said = UNRULY[name]
    (tmp_path / "train.py").write_text(TRAINS + body + "\n")
    alone = run(tmp_path, "train.py")
    watched = run(tmp_path, "-m", "gradstep", "run", "train.py")
    assert (watched.stdout, watched.returncode) == (alone.stdout, alone.returncode)
    assert said in watched.stderr
    assert "Traceback" not in watched.stderr


def test_a_breakpoint_is_a_condition_or_what_break_takes() -> None:
    assert line_of(breakpoint_of("loss > 3")) == "break when loss > 3"
    assert line_of(breakpoint_of("nan")) == "break nan"
    assert line_of(breakpoint_of("train.py:41")) == "break train.py:41"
    with pytest.raises(GradstepError, match="--break can't be read"):
        breakpoint_of("loss >")


def test_what_is_wrong_is_said_before_anything_runs(folder: Path) -> None:
    for words, said in (
        (("run",), "takes a training script"),
        (("run", "missing.py"), "no such file"),
        (("run", "--report", "a.txt", "train.py"), ".json or .html"),
    ):
        ended = run(folder, "-m", "gradstep", *words)
        assert ended.returncode == 2
        assert said in ended.stderr
