"""Restoring a state whose graph was alive re-runs a forward, and is one command to undo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.close()


def do(session: Session, text: str) -> Outcome:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    return outcomes[-1]


def digest(session: Session) -> str:
    (view,) = session.look(LookDigest())
    assert isinstance(view, Digest)
    return view.digest


def test_one_undo_undoes_a_restore_and_the_forward_that_built_its_graph(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    assert do(session, f'load mlp seed=0 device=cpu; forward; checkpoint "{file}"; backward; step').ok
    before, number = digest(session), session.stop.number
    assert "re-ran forward" in do(session, f'restore "{file}"').text
    restored, last = digest(session), session.stop.number
    assert last == number + 2
    assert do(session, "undo").stop.number == number
    assert digest(session) == before
    assert do(session, "redo").stop.number == last
    assert digest(session) == restored
    assert do(session, "backward; undo").stop.number == last
    assert do(session, "undo 2").stop.number == number - 1
    assert do(session, "redo 3").ok
    assert session.stop.phase == "backward"
    assert do(session, "undo 2; undo 4").problem is not None
    assert digest(session) == before


def test_a_forward_of_ones_own_after_a_restore_is_undone_alone(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    assert do(session, f'load mlp seed=0 device=cpu; forward; checkpoint "{file}"; restore "{file}"').ok
    half = session.stop.number - 1
    assert do(session, f"goto {half}; forward; undo").stop.number == half
