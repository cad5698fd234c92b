"""Findings are listed once; rules can be switched off and their thresholds set; a check that fails is left out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from threading import Thread

import pytest
import torch
from scripting import phases, stepped
from torch import nn

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.checker import Checker, all_checks, rule_of
from gradstep.checks.settings import project_settings
from gradstep.engine import held
from gradstep.session.local import Session
from gradstep.session.phase_stepper import PhaseStepper
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values import commands as cmd
from gradstep.values.errors import GradstepError
from gradstep.values.findings import SEVERITIES, Rule
from gradstep.values.views.findings import FindingsView, LookFindings
from gradstep.workload import Workload


def parse(line: str) -> cmd.Command:
    """Return the command that a line says."""
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    return statement.command


def never_cleared() -> None:
    """Train without zero_grad."""
    net = nn.Linear(4, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(4):
        net(torch.ones(8, 4)).pow(2).mean().backward()
        opt.step()


def test_a_finding_is_listed_once_with_the_iterations_in_which_it_was_seen() -> None:
    with stepped(never_cleared) as session:
        phases(session)
        (view,) = session.look(LookFindings())
        assert isinstance(view, FindingsView)
        (found,) = [row for row in view.rows if row.rule == "zero-grad-missing"]
        assert (found.first, found.last, found.count) == (1, 3, 3)
        assert found.where.words.startswith("test_checker.py:")
        assert session.execute(parse("expect finding zero-grad-missing")).ok
        assert not session.execute(parse("expect no finding")).ok
        assert session.stop.findings == len(view.rows)


def test_a_breakpoint_on_a_finding_stops_where_it_is_made() -> None:
    with stepped(never_cleared) as session:
        session.execute(parse("break finding zero-grad-missing"))
        stop = session.execute(cmd.Continue()).stop
        assert (stop.hit, stop.phase, stop.iteration) == ("breakpoint 1", "step", 1)


def test_a_rule_that_is_off_finds_nothing_and_an_unknown_one_is_refused() -> None:
    with stepped(never_cleared) as session:
        assert session.execute(parse("check off zero-grad-missing")).ok
        problem = session.execute(parse("check off zero-grad-mising")).problem
        assert problem is not None
        assert "zero-grad-missing" in problem.remedy
        phases(session)
        assert all(row.rule != "zero-grad-missing" for row in session.findings)


def test_going_back_creates_no_checks_until_a_phase_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    created: list[Check] = []
    own = Check.__init__

    def counted(check: Check, threshold: float | None = None) -> None:
        created.append(check)
        own(check, threshold)

    session = Session("linear")
    session.forward()
    session.backward()
    session.step()
    monkeypatch.setattr(Check, "__init__", counted)
    session.undo(2)
    session.redo()
    assert created == []
    session.step()
    assert len(created) == len(all_checks())


def test_a_held_workload_is_checked_too_and_going_back_forgets_what_was_not() -> None:
    session = Session("mlp")
    for _ in range(2):
        session.forward()
        session.backward()
        session.step()
    assert [row.rule for row in session.findings] == ["zero-grad-missing"]
    session.undo()
    assert session.execute(parse("step")).ok
    assert session.findings[0].rule == "zero-grad-missing"


def test_a_check_that_raises_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises(Check):
        rule = Rule("raises", "hint", "", "", "", "", "")

        def ended(self, moment: Moment) -> Iterable[Seen]:
            raise ValueError("oh")

    checker = Checker()
    monkeypatch.setitem(checker._checks, "raises", Raises())
    session = Session("mlp")
    session._need().inspector.checker = checker
    session.forward()
    session.backward()
    assert checker.failed == {"raises": "ValueError: oh"}


def test_the_settings_of_a_project_are_read(tmp_path: Path) -> None:
    assert project_settings(str(tmp_path)).off == ()
    inner = tmp_path / "src"
    inner.mkdir()
    text = '[tool.gradstep.checks]\noff = ["a-rule"]\n[tool.gradstep.checks.thresholds]\nother = 0.5\n'
    (tmp_path / "pyproject.toml").write_text(text)
    found = project_settings(str(inner))
    assert (found.off, found.thresholds, found.fault) == (("a-rule",), {"other": 0.5}, "")
    (tmp_path / "pyproject.toml").write_text("[tool.gradstep")
    assert "can't be read" in project_settings(str(inner)).fault


def test_a_check_is_called_in_the_phases_that_it_names_and_in_all_where_it_names_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[str] = []

    class Counting(Check):
        rule = Rule(id="counting", severity="hint", title="", why="", detects="", remedy="", source="")

        @at("step", "zero_grad")
        def begins(self, moment: Moment) -> Iterable[Seen]:
            called.append(f"{moment.phase} begins")
            return ()

        def ended(self, moment: Moment) -> Iterable[Seen]:
            called.append(f"{moment.phase} ended")
            return ()

    class Seldom(Check):
        rule = Rule(id="seldom", severity="hint", title="", why="", detects="", remedy="", source="")

        @at("backward", first=7)
        def ended(self, moment: Moment) -> Iterable[Seen]:
            called.append(f"backward {moment.count}")
            return ()

    monkeypatch.setattr("gradstep.checks.checker.all_checks", lambda: {"counting": Counting, "seldom": Seldom})
    session = Session("mlp")
    for each in (cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.ZeroGrad()):
        assert session.execute(each).ok
    own = [each for each in called if each != "backward 0"]
    assert own == [
        "forward ended",
        "backward ended",
        "step begins",
        "step ended",
        "zero_grad begins",
        "zero_grad ended",
    ]
    called.clear()
    assert session.execute(parse("check off counting")).ok
    for _ in range(20):
        session.execute(cmd.Forward())
        session.execute(cmd.Backward())
    assert called == [f"backward {number}" for number in (1, 2, 3, 4, 5, 6, 20)]
    session.close()


@pytest.mark.parametrize("name", list(all_checks()))
def test_every_rule_says_what_it_is_for(name: str) -> None:
    rule = rule_of(name)
    assert rule.severity in SEVERITIES
    for text in (rule.title, rule.why, rule.detects, rule.remedy, rule.source):
        assert text == text.strip() != ""
    assert (rule.threshold is None) or rule.unit
    assert Checker().switch(name, on=False) == f"{name} is off"
    with pytest.raises(GradstepError):
        rule_of(name + "x")


class Powers(nn.Module):
    """Uses its weight more often in each forward."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.times = nn.Parameter(torch.ones(2)), 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(self.times):
            x = x * self.weight
        self.times += 1
        return x.sum()


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01)


def powers() -> Session:
    model, batches = Powers(), [torch.ones(2)]
    return Session(Workload(model, compute_loss=nn.Module.__call__, optimizer=sgd, batches=batches))


def test_a_long_graph_is_walked_after_the_first_forward_only(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []
    record = held.record
    monkeypatch.setattr(held, "LONG", 1)
    monkeypatch.setattr(held, "record", lambda *given: walked.append(1) or record(*given))
    session, counts = powers(), []
    for _ in range(3):
        session.execute(cmd.Forward())
        session.execute(cmd.Backward())
        counts.append(len(walked))
    assert counts == [1, 1, 1]


def test_a_forward_on_a_thread_of_its_own_is_not_of_an_earlier_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    def loop() -> None:
        session = powers()
        session.can_pause(lambda _: None)
        for iteration in range(8):
            if iteration == 2:  # as where it took long; torch numbers the nodes of each thread from 0
                monkeypatch.setattr(PhaseStepper, "pausable", ("forward",))
            for phase in (cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.ZeroGrad()):
                assert session.execute(phase).ok
        found.extend(["ended", *[each.rule for each in session.findings]])

    thread = Thread(target=loop)  # on which torch has not numbered any
    thread.start()
    thread.join()
    assert "ended" in found
    assert "graph-kept-across-iterations" not in found
