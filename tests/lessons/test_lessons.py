"""Every statement of fact in a lesson is true, could be false, and is true with other seeds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import gradstep
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_script
from gradstep.steps.language.script import ExpectError, Repeat, Statement, StepsLine
from gradstep.values.commands import Expect, Print, Say, line_of
from gradstep.values.expressions import Unary

FOLDER = Path(gradstep.__file__).parent / "lessons"
LESSONS = sorted(FOLDER.glob("*.steps"))
BACKPROPAGATION = FOLDER / "backpropagation.steps"


def statements(path: Path, seed: int = 0) -> tuple[Statement, ...]:
    """Return the statements of a lesson, with another seed."""
    return parse_script(path.read_text(encoding="utf-8").replace("seed=0", f"seed={seed}"), str(path)).statements


def walk(session: Session, body: Sequence[Statement], visit: Callable[[StepsLine], None]) -> None:
    """Carry out statements; `visit` is called before each command."""
    for statement in body:
        match statement:
            case StepsLine(command):
                visit(statement)
                outcome = session.execute(command)
                assert outcome.problem is None, f"line {statement.number}: {statement.text}: {outcome.problem}"
            case Repeat(count, inner):
                for _ in range(count):
                    walk(session, inner, visit)
            case ExpectError(error, (StepsLine(command),)):
                problem = session.execute(command).problem
                assert problem is not None
                assert error in problem.what
            case _:
                pytest.fail(f"the lessons hold no such block: {statement.text}")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_lesson_holds_with_any_seed(path: Path, seed: int) -> None:
    session = Session()
    walk(session, statements(path, seed), lambda _: None)
    assert session.stop.seed == seed
    session.close()


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_expectation_of_a_lesson_could_be_false(path: Path) -> None:
    session, checked = Session(), []

    def contradict(line: StepsLine) -> None:
        if isinstance(line.command, Expect):
            problem = session.execute(Expect(Unary("not", line.command.condition))).problem
            assert problem is not None, f"line {line.number}: {line.text} holds, and so does its contrary"
            assert problem.kind == "expectation"
            checked.append(line.number)

    walk(session, statements(path), contradict)
    session.close()
    assert len(checked) > 20


def test_the_notebook_is_there_cell_by_cell() -> None:
    session = Session()
    acts: list[str] = []

    def note(line: StepsLine) -> None:
        if not isinstance(line.command, (Say, Expect, Print)):
            acts.append(line_of(line.command))

    body = statements(BACKPROPAGATION)
    walk(session, body, note)
    session.close()
    acts = [act for act in acts if not act.startswith("let")]
    assert acts[:2] == ["load mlp seed=0", "show 2.weight[0, 0:10]"]
    five_more = ["forward", "backward"] * 5
    assert acts[2:16] == ["forward", "backward", "step", *five_more, "zero_grad"]
    assert "zero_grad set_to_none=false" in acts
    refused = [s for s in body if isinstance(s, ExpectError)]
    assert [(s.error, [i.text for i in s.body if isinstance(i, StepsLine)]) for s in refused] == [
        ("second time", ["backward"])
    ]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_replays_from_the_command_line(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradstep", "replay", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_lesson_with_a_false_fact_fails_at_its_line(tmp_path: Path) -> None:
    text = BACKPROPAGATION.read_text(encoding="utf-8")
    true, false = "w0 - 0.001 * g, atol=1e-7", "w0 - 0.002 * g, atol=1e-7"
    number = next(n for n, line in enumerate(text.splitlines(), 1) if true in line)
    script = tmp_path / "false.steps"
    script.write_text(text.replace(true, false), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "gradstep", "replay", str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert f"false.steps:{number}" in done.stdout + done.stderr
