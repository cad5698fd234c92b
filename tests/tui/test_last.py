"""Which sessions are kept as the last one."""

from __future__ import annotations

import shlex

import pytest

from gradstep.steps.language.parse import parse_line, read_script
from gradstep.steps.record import last_path
from gradstep.tui.commands.last import keep
from gradstep.tui.controllers.training import parse_commands
from gradstep.values.commands import Run


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def session(*lines):
    return [command for line in lines for command in parse_commands(line)]


def test_a_quick_look_takes_no_place():
    keep(session("load mlp seed=0", "forward", "backward"))
    keep(session("load gpt seed=0", "show head.weight"))
    assert last_path().read_text().splitlines()[-3:] == ["load mlp seed=0", "forward", "backward"]


def test_a_quick_look_is_better_than_nothing():
    keep(session("load gpt seed=0"))
    assert parse_line(last_path().read_text().splitlines()[-1]) == parse_line("load gpt seed=0")


@pytest.mark.parametrize("restores", [False, True])
def test_reopening_a_session_overwrites_no_file_that_it_wrote(restores):
    lines = ["load mlp seed=0", "forward", "checkpoint a.safetensors", "export a.py"]
    keep(session(*lines, *["restore a.safetensors"] * restores))
    kept = last_path().read_text()
    assert "export" not in kept
    assert ("checkpoint" in kept) == restores, "restoring needs the file as it was then"


def test_what_no_line_can_load_is_not_kept():
    keep(session("forward", "backward"))
    assert not last_path().exists()


@pytest.mark.parametrize("name", ["project", "the project"])
def test_of_a_training_script_its_arguments_folder_and_breakpoints_are_kept(name, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "train.py").write_text("")
    monkeypatch.chdir(folder)
    lines = ("break nan", "run train.py --lr '1 2'", "forward", "break train.py:1", "continue", "watch loss", "over")
    keep(session(*lines), "/venv/bin/python")
    place = "" if " " in name else f"{folder}/"  # a line of a script takes no path with a space
    assert last_path().read_text().splitlines()[1:] == [
        "# python: /venv/bin/python",
        "break nan",
        f"break {place}train.py:1",
        f"run -C {shlex.quote(str(folder))} train.py --lr '1 2'",
        "watch loss",
    ]
    commands = [each.command for each in read_script(str(last_path())).statements]
    assert Run("train.py", ("--lr", "1 2"), folder=str(folder)) in commands
