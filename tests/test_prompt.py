"""The session at a Python prompt: lines of the steps language, and the errors of invalid ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gradstep
from gradstep.values.errors import GradstepError
from gradstep.values.views import WhyView


def workload() -> gradstep.Workload:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    return gradstep.Workload(
        model,
        loss=nn.functional.mse_loss,
        optimizer=torch.optim.SGD(model.parameters(), 0.1),
        batches=[(torch.randn(5, 3), torch.randn(5, 1))],
        name="small",
    )


@pytest.fixture
def session() -> gradstep.Session:
    return gradstep.Session(workload())


def test_lines_of_the_language_are_carried_out_and_what_they_print_is_returned(session: gradstep.Session) -> None:
    outcome = session.run("forward; backward\nset lr = 0.5\nprint 1 + 1\nprint 2.bias.grad is none")
    assert outcome.ok
    assert outcome.text.splitlines()[-2:] == ["2", "false"]
    assert session.stop.lr == (0.5,)
    assert session.run("repeat 3 { step }").stop.iteration == 3
    assert "2.bias" in session.run("why 2.bias.grad").text


def test_the_first_line_that_fails_ends_the_run_and_is_reported(session: gradstep.Session) -> None:
    outcome = session.run("forward\nexpect loss < 0\nbackward")
    assert outcome.problem is not None
    assert outcome.problem.kind == "expectation"
    assert session.stop.phase == "forward"


def test_lines_that_can_not_be_read_carry_nothing_out(session: gradstep.Session) -> None:
    outcome = session.run("forward\nbackwrad")
    assert "backward" in repr(outcome)
    assert session.log == []


def test_an_expected_error_is_not_a_problem(session: gradstep.Session) -> None:
    assert session.run('expect error "no loss" { backward }').ok
    missing = session.run('expect error "no loss" { forward }')
    assert missing.problem is not None


def test_a_file_is_looked_for_where_python_runs(
    session: gradstep.Session, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    session.run("forward; backward; step; checkpoint here.safetensors")
    other = gradstep.Session(workload())
    assert other.run("restore here.safetensors").ok
    assert other.stop.iteration == 1


def test_a_session_says_where_it_stands(session: gradstep.Session) -> None:
    assert repr(session) == "<gradstep.Session small, iteration 0, stop 1>"
    session.run("forward; into backward")
    assert "backward" in repr(session)
    assert repr(gradstep.Session()) == "<gradstep.Session, nothing loaded>"


def test_an_element_can_be_named_and_one_that_is_not_there_is_refused(session: gradstep.Session) -> None:
    session.run("forward; backward")
    named = session.why("2.weight[0, 3]")
    assert isinstance(named, WhyView)
    assert named.element == "2.weight.grad[0, 3]"  # what the backward wrote
    assert "no element [0, 99]" in repr(session.why((0, 99)))
    assert "no element [7]" in repr(session.ledger((7,)))
    assert "nowhere" in repr(session.why("nowhere.weight"))


def test_an_example_is_opened_by_its_name_and_a_factory_is_to_be_called() -> None:
    session = gradstep.Session("linear", device="cpu")
    assert (session.stop.workload, session.stop.seed) == ("linear", 0)
    assert gradstep.Session("linear", seed=3).stop.seed == 3
    with pytest.raises(GradstepError, match="did you mean linear"):
        gradstep.Session("linaer")
    with pytest.raises(GradstepError, match=r"call it: workload\(\)"):
        gradstep.Session(workload)  # type: ignore[arg-type]
    with pytest.raises(GradstepError, match=r"give gradstep.Workload\(model="):
        gradstep.Session(workload().model)  # type: ignore[arg-type]


def test_the_outcome_lists_the_commands_and_the_loss(session: gradstep.Session) -> None:
    assert repr(session.run("forward; backward")).startswith("forward; backward   loss ")
    assert repr(session.run("repeat 2 { step }\nprint 1 + 1")).splitlines()[1:] == ["  2"]
    outcome = session.forward()
    assert outcome.loss == session.stop.loss is not None
    failed = session.run("forward; expect loss < 0; step")
    assert "ran before it: forward" in repr(failed)
    assert [type(command).__name__ for command in failed.carried_out] == ["Forward"]


def test_why_after_an_error_is_the_error(session: gradstep.Session) -> None:
    session.run("forward; backward; backward")
    assert "second time" in repr(session.why())
    assert "second time" not in repr(session.why("2.weight[0, 3]"))  # asked for an element
    session.run("fowrad")
    assert "Did you mean `forward`?" in repr(session.why())
    session.run('forward; expect error "there is no" { show nowhere }')
    assert isinstance(session.why(), WhyView)
    assert "nowhere" not in repr(session.why())
