"""A command that writes a file refuses an existing one, without `!` or an earlier run of the same script line."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradstep.engine.export.trial import TrialResult
from gradstep.session.local import Session
from gradstep.steps.headless import Headless
from gradstep.steps.language.parse import parse_line, read_script
from gradstep.values.commands import Checkpoint, Export, Forward, Screenshot, for_replay
from gradstep.values.outcomes import Outcome


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.engine.export.program.run", lambda _: TrialResult(1.0, True, ""))


def typed(session: Session, text: str) -> Outcome:
    return [session.execute(statement.command) for statement in parse_line(text)][-1]  # type: ignore[union-attr]


@pytest.mark.parametrize(("word", "name"), [("checkpoint", "a b.safetensors"), ("export", "a b.py")])
def test_a_file_that_is_there_stays_unless_told(word: str, name: str, tmp_path: Path) -> None:
    file, session = tmp_path / name, Session()
    file.write_text("precious")
    typed(session, "load xor seed=0 device=cpu; forward")
    problem = typed(session, f'{word} "{file}"').problem
    assert problem is not None
    assert (problem.title, problem.what) == ("the file already exists", str(file))
    assert problem.remedy == f'`{word}! "{file}"` overwrites it'
    assert file.read_text() == "precious"
    assert typed(session, f'{word}! "{file}"').problem is None
    assert b"precious" not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_script_overwrites_what_it_wrote_when_it_ran_before(tmp_path: Path) -> None:
    script = tmp_path / "a.steps"
    script.write_text("load xor seed=0 device=cpu\nforward\ncheckpoint a.safetensors\nexport a.py\n")
    for _ in range(2):
        assert Headless(read_script(str(script)), Session()).run(lambda *_: None) is None


def test_a_replay_may_overwrite_and_its_line_is_the_same() -> None:
    assert for_replay(Checkpoint("a.safetensors", "/x")) == Checkpoint("a.safetensors", "/x", over=True)
    assert for_replay(Export("a.py")) == Export("a.py", over=True)
    assert for_replay(Screenshot("a.svg", "80x24")) == Screenshot("a.svg", "80x24", over=True)
    assert for_replay(Forward()) == Forward()
