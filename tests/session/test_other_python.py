"""A script on another interpreter, which has torch and nothing of gradstep's."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from running_scripts import Watched

from gradstep.cli.interpreter import check_python, own_python
from gradstep.session.transport.process import WHEELS
from gradstep.values.commands import Continue
from gradstep.values.errors import GradstepError

LEFT_OUT = ("gradstep", "__editable__", *WHEELS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder with a virtual environment that has torch, and none of gradstep's own packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    packages = next((tmp_path / ".venv" / "lib").iterdir()) / "site-packages"
    for each in Path(torch.__file__).parents[1].iterdir():
        if not each.name.startswith(LEFT_OUT):
            (packages / each.name).symlink_to(each)
    return tmp_path


SCRIPT = """
import sys, torch
net = torch.nn.Linear(2, 1)
net(torch.ones(1, 2)).sum().backward()
print([p for p in sys.path if not p.startswith((sys.prefix, sys.base_prefix))], sys.prefix, sys.executable)
"""


def test_a_script_runs_on_the_interpreter_of_its_project(project: Path) -> None:
    path = project / "train.py"
    path.write_text(SCRIPT)
    python, untested = check_python(str(project / ".venv" / "bin" / "python"))
    assert untested == ""

    async def test() -> None:
        run = Watched(python)
        outcome = await run.run(path)
        assert outcome is not None
        assert outcome.ok
        assert outcome.stop.torch == "net(torch.ones(1, 2)).sum().backward()"
        ended = await run.do(Continue())
        assert ended is not None
        assert ended.ok
        alone = subprocess.run([python, "train.py"], cwd=project, capture_output=True, text=True, check=True)
        assert run.printed.replace("\r\n", "\n") == alone.stdout
        assert str(project / ".venv") in alone.stdout
        await run.session.close()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_interpreter_of_a_project_is_found_and_its_own_is_not_offered(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = project / "src" / "train.py"
    script.parent.mkdir()
    script.write_text("")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.chdir(project)
    assert own_python("src/train.py") == ".venv/bin/python"
    monkeypatch.setattr(sys, "prefix", str(project / ".venv"))
    assert own_python("src/train.py") == ""


def test_an_activated_environment_is_offered(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("VIRTUAL_ENV", str(project / ".venv"))
    assert own_python("train.py") == str(project / ".venv" / "bin" / "python")


def test_a_headless_run_offers_the_interpreter_of_the_project_and_runs_on_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (project / "train.py").write_text(SCRIPT)
    own = ".venv/bin/python"
    alone = subprocess.run([own, "train.py"], cwd=project, capture_output=True, text=True, check=True)
    gradstep = [sys.executable, "-m", "gradstep", "run"]
    watched = subprocess.run([*gradstep, "--python", own, "train.py"], cwd=project, capture_output=True, text=True)
    assert (watched.stdout, watched.returncode) == (alone.stdout, 0)
    assert watched.stderr.startswith("gradstep: ran to its end")
    offered = subprocess.run([*gradstep, "train.py"], cwd=project, capture_output=True, text=True)
    assert offered.stderr.startswith(
        "gradstep: train.py is in a project with its own Python: gradstep run --python .venv/bin/python runs it there\n"
    )


def fake(folder: Path, output: str) -> str:
    """Return a program that prints what the probe of an interpreter would."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("probed", "title", "words"),
    [
        ('[[3, 10], "2.13.0", [], "x"]', "is Python 3.10", "3.11 or later"),
        ('[[3, 11], "", [], "x"]', "has no torch", "pip install torch"),
        ('[[3, 12], "2.13.0", ["lark"], "x"]', "cannot load", "-m pip install msgspec xxhash safetensors"),
        ("hello", "is not a Python", "status 0"),
    ],
)
def test_an_interpreter_that_will_not_do_is_refused(probed: str, title: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(GradstepError) as refused:
        check_python(fake(tmp_path, probed))
    problem = refused.value.problem
    assert title in problem.title
    assert words in f"{problem.what} {problem.remedy}"


def test_a_missing_interpreter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GradstepError, match="is not a program"):
        check_python(str(tmp_path / "python"))


def test_untested_versions_are_said(tmp_path: Path) -> None:
    wheels = str(list(WHEELS)).replace("'", '"')
    _, untested = check_python(fake(tmp_path, f'[[3, 99], "2.4.1+cu121", {wheels}, "x"]'))
    python, torch_version = untested.split("; ")
    assert python == "gradstep is not tested on Python 3.99"
    assert torch_version == "torch 2.4.1+cu121 is outside of what gradstep is tested with, 2.6 to 2.13"
