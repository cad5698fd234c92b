from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.session.local import Session
from gradstep.steps.headless import Headless
from gradstep.steps.language.parse import parse_script, read_script
from gradstep.steps.record import HEADER, Recorder, last_path, save, script_text
from gradstep.steps.runner import StepsRunner
from gradstep.values import commands as c
from gradstep.values.expressions import Name
from gradstep.values.views import Digest, LookDigest

F, B, S, Z, N = c.Forward(), c.Backward(), c.Step(), c.ZeroGrad(), c.NextBatch()
SHOW = [c.Show(Name(f"{i}.weight")) for i in range(3)]


def lines(commands: list[c.Command]) -> list[str]:
    return script_text(commands).removeprefix(HEADER).splitlines()


def walked(text: str) -> list[c.Command]:
    runner = StepsRunner(parse_script(text, "/a.steps"))
    ran: list[c.Command] = []
    while runner.line is not None:
        ran.append(runner.line.command)
        runner.feed(None)
    return ran


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ([], []),
        ([F, B, S, Z], ["forward", "backward", "step", "zero_grad"]),
        ([F, B, S, Z] * 20, ["repeat 20 { forward; backward; step; zero_grad }"]),
        ([F] * 3, ["forward"] * 3),
        ([F, *[F, B] * 5, S], ["forward", "repeat 5 { forward; backward }", "step"]),
        (
            [N, F, B, S, Z] * 3 + [N, F],
            ["repeat 3 { next_batch; forward; backward; step; zero_grad }", "next_batch", "forward"],
        ),
        ([F, c.Backward(True)] * 2, ["repeat 2 { forward; backward retain_graph=true }"]),
        ([F, SHOW[0]] * 4, ["forward", "show 0.weight"] * 4),
        ([*SHOW, F, SHOW[0]], ["show 2.weight", "forward", "show 0.weight"]),
    ],
)
def test_a_log_becomes_lines(commands: list[c.Command], expected: list[str]) -> None:
    assert lines(commands) == expected


@given(st.lists(st.sampled_from([F, B, S, Z, N, c.ZeroGrad(False), c.Print(Name("loss"))]), max_size=60))
def test_folding_changes_nothing(commands: list[c.Command]) -> None:
    assert walked(script_text(commands)) == commands


def test_a_loaded_file_is_found_from_where_the_script_lies(tmp_path: Path) -> None:
    load = c.Load("own/model.py:make", 1, folder=str(tmp_path))
    assert script_text([load], str(tmp_path)).endswith("load own/model.py:make seed=1\n")
    assert script_text([load], str(tmp_path / "other")).endswith(f"load {tmp_path}/own/model.py:make seed=1\n")
    assert script_text([c.Load("mlp", 0)], "/other").endswith("load mlp seed=0\n")


def test_save_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.steps"
    save(path, [F])
    save(path, [F, B])
    assert path.read_text() == f"{HEADER}forward\nbackward\n"
    assert os.listdir(path.parent) == ["a.steps"]


def test_the_recorder_has_written_each_line_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.steps"
    path.write_text("step\n" * 100)
    recorder = Recorder(path)
    assert path.read_text() == HEADER
    recorder.add(c.Load("mlp", 0))
    recorder.add(F)
    assert path.read_text() == f"{HEADER}load mlp seed=0\nforward\n"
    recorder.close()


def test_the_last_session_lies_in_the_state_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert last_path() == tmp_path / "gradstep" / "last.steps"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert last_path() == tmp_path / ".local" / "state" / "gradstep" / "last.steps"


def test_a_recorded_session_replays_to_the_same_digest(tmp_path: Path) -> None:
    session = Session()
    for command in [c.Load("xor", 3), SHOW[0], *[F, B, S, c.ZeroGrad(False)] * 5, F, B, B, c.Say("end"), F]:
        session.execute(command)
    save(tmp_path / "a.steps", session.log)
    script = read_script(str(tmp_path / "a.steps"))
    again = Session()
    assert Headless(script, again).run(lambda *_: None) is None
    views = session.look(LookDigest()) + again.look(LookDigest())
    digests = [view.digest for view in views if isinstance(view, Digest)]
    assert len(digests) == 2
    assert digests[0] == digests[1] != ""
    assert again.log[1:] == session.log[1:]


def test_files_are_named_from_where_the_script_lies(tmp_path: Path) -> None:
    commands = [c.Checkpoint("a.safetensors", str(tmp_path)), c.Restore("a.safetensors", str(tmp_path / "sub"))]
    text = script_text(commands, str(tmp_path))
    assert text.splitlines()[1:] == ["checkpoint a.safetensors", "restore sub/a.safetensors"]
    away = script_text([c.Export("a.py", str(tmp_path))], str(tmp_path / "sub"))
    assert away.splitlines()[1] == f"export {tmp_path / 'a.py'}"
