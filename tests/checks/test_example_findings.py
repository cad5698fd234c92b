"""The examples and the lessons: `deep` and `hot` name their fault, and nothing is found in the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import gradstep
from gradstep.examples import EXAMPLES
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_script
from gradstep.steps.language.script import ExpectError, Repeat, Statement, StepsLine
from gradstep.values import commands as cmd

FAULTS = {
    "deep": {"vanishing-gradient", "weights-unchanged", "initialisation-scale"},
    "hot": {
        *("nan-or-inf", "exploding-gradient", "learning-rate-high", "loss-diverges", "update-ratio-high"),
    },
}
"""What is found in an example; of the others nothing."""
LESSONS = sorted((Path(gradstep.__file__).parent / "lessons").glob("*.steps"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_name_their_fault(name: str) -> None:
    session = Session(name)
    for _ in range(30):
        for act in (cmd.ZeroGrad(), cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.NextBatch()):
            session.execute(act)
    assert session._inspector is not None
    assert session._inspector.checker.failed == {}
    assert {each.rule for each in session.findings} == FAULTS.get(name, set())
    session.close()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lessons_raise_nothing(path: Path) -> None:
    session = Session()
    _walk(session, parse_script(path.read_text(encoding="utf-8"), str(path)).statements)
    assert [f"{each.rule}: {each.what}" for each in session.findings] == []
    session.close()


def _walk(session: Session, body: Sequence[Statement]) -> None:
    for statement in body:
        match statement:
            case StepsLine(command):
                session.execute(command)
            case Repeat(count, inner):
                for _ in range(count):
                    _walk(session, inner)
            case ExpectError(_, (StepsLine(command),)):
                session.execute(command)
