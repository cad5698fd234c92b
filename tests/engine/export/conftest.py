"""Runs exported programs where gradstep can't be imported: each in a fork of one process that has imported torch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gradstep.engine.export import program, trial

FORKS = """
import os, sys, traceback
class Hidden:
    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] == "gradstep":
            raise ModuleNotFoundError("No module named 'gradstep'", name="gradstep")
sys.meta_path.insert(0, Hidden)
import numpy, torch
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
for line in sys.stdin:
    path = line.rstrip("\\n")
    child = os.fork()
    if not child:
        for number, name in ((1, ".out"), (2, ".err")):
            os.dup2(os.open(path + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv[:], __file__, sys.path[0] = [path], path, os.path.dirname(path)
        status = 0
        try:
            exec(compile(open(path, encoding="utf-8").read(), path, "exec"))
        except SystemExit as end:
            status = int(end.code is not None)
            print(end.code or "", file=sys.stderr)
        except BaseException:
            status = 1
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def forks() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    with process:
        yield process


@pytest.fixture
def run(forks: subprocess.Popen[str]) -> Callable[[Path], tuple[int, str, str]]:
    """Run a program; return its status, and what it wrote to standard output and error."""

    def running(path: Path) -> tuple[int, str, str]:
        assert forks.stdin is not None
        assert forks.stdout is not None
        forks.stdin.write(f"{path}\n")
        forks.stdin.flush()
        status = int(forks.stdout.readline())
        outs = [path.with_name(path.name + ending) for ending in (".out", ".err")]
        said = [out.read_text("utf-8") for out in outs]
        for out in outs:
            out.unlink()
        return status, said[0], said[1]

    return running


@pytest.fixture(autouse=True)
def runs(
    run: Callable[[Path], tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> dict[str, tuple[int, str, str]]:
    """Have an export run its program in such a fork; return what came of each, by the program's text."""
    came: dict[str, tuple[int, str, str]] = {}

    def quick(path: Path) -> trial.TrialResult:
        began = time.monotonic()
        came[path.read_text("utf-8")] = status, _, said = run(path)
        return trial.TrialResult(time.monotonic() - began, True, trial.fault_of(path, status, said))

    monkeypatch.setattr(program, "run", quick)
    return came
