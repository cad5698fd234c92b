"""Time travel in a session: what each command prints, and where it leads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import nn

from gradstep.engine.history import thinning
from gradstep.engine.history.points import TimelinePoint
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Backward, Forward, Step, UseOptimizer
from gradstep.values.expressions import Name
from gradstep.values.outcomes import Outcome
from gradstep.values.views import (
    Changes,
    Digest,
    GraphView,
    LookChanges,
    LookDigest,
    LookGraph,
    LookLoss,
    LookModel,
    LookTensor,
    LookWhy,
    LossView,
    ModelView,
    NoView,
    TensorView,
    WhyView,
)
from gradstep.values.views.timeline import CompareView, LookCompare, LookTimeline, TimelineView
from gradstep.values.views.training import LayersView, LookLayers
from gradstep.workload import Workload


class Typed:
    """A session that takes lines as they are typed."""

    def __init__(self, text: str = "load cnn seed=0 device=cpu", history: int = 1 << 30) -> None:
        self.session = Session(history=history)
        self.type(text)

    def type(self, text: str) -> Outcome:
        outcome = None
        for statement in parse_line(text):
            assert isinstance(statement, StepsLine)
            outcome = self.session.execute(statement.command)
            assert outcome.problem is None, outcome.problem
        assert outcome is not None
        return outcome

    def refused(self, line: str) -> str:
        (statement,) = parse_line(line)
        assert isinstance(statement, StepsLine)
        problem = self.session.execute(statement.command).problem
        assert problem is not None
        return f"{problem.title}. {problem.what}. {problem.remedy}"

    def digest(self, at: int = 0) -> str:
        (view,) = self.session.look(LookDigest(), at=at)
        assert isinstance(view, Digest)
        return view.digest

    def timeline(self, look: LookTimeline | None = None) -> TimelineView:
        (view,) = self.session.look(look or LookTimeline())
        assert isinstance(view, TimelineView)
        return view


LOOP = "forward; backward; step; zero_grad; next_batch"


def test_undo_and_redo_say_where_they_lead() -> None:
    typed = Typed()
    typed.type(LOOP)
    outcome = typed.type("undo 2")
    assert (outcome.text, outcome.stop.number, outcome.stop.phase, outcome.stop.ahead) == ("at stop 4", 4, "step", 2)
    outcome = typed.type("undo 2")
    assert outcome.text == "at stop 2, 1 command re-run"  # the graph is there again
    assert outcome.stop.natural == ("backward",)
    assert typed.type("redo 4").stop.number == 6
    assert "nothing to redo" in typed.refused("redo")
    assert "9 commands can't be undone. 5 commands between here and the first stop" in typed.refused("undo 9")


def test_a_stop_keeps_its_number_and_a_new_one_gets_a_new() -> None:
    typed = Typed()
    typed.type(LOOP)
    typed.type("goto 3")
    outcome = typed.type("step")
    assert (outcome.stop.number, outcome.stop.branch) == (7, "b2")
    assert typed.type("goto 4").stop.branch == "main"
    assert typed.type("switch b2").text == "on branch b2, at stop 7"
    assert "there is no branch b3" in typed.refused("switch b3")
    assert "there is no stop 8 to go to" in typed.refused("goto 8")
    assert "there is no such branch" in typed.refused("switch 4")


def test_branches_are_named_and_compared() -> None:
    typed = Typed()
    typed.type(f"{LOOP}; goto 1; branch fast; set lr = 0.5; {LOOP}")
    view = typed.timeline()
    assert [(b.name, b.stop, b.present) for b in view.branches] == [("main", 6, False), ("fast", 12, True)]
    (compared,) = typed.session.look(LookCompare("main", "fast"))
    assert isinstance(compared, CompareView)
    assert (compared.first, compared.second, compared.fork) == (6, 12, 1)
    assert compared.others == ("lr: 0.05 and 0.5",)
    rows = {row.name: row for row in compared.rows}
    assert "head.weight" in rows
    assert rows["head.weight"].norm == pytest.approx(9 * 0.05 * _grad_norm(), rel=1e-3)
    assert [loss.loss for loss in compared.losses_first] == [loss.loss for loss in compared.losses_second]
    assert "lr: 0.05 and 0.5" in typed.type("compare main fast").text
    assert typed.type("compare 12").text == "stop 12 and stop 12 are identical, bit for bit"
    assert "there is a branch with that name" in typed.refused("branch main")


def test_where_two_branches_part_first_is_named() -> None:
    typed = Typed()
    typed.type(f"{LOOP}; goto 1; branch fast; set lr = 0.5; {LOOP}")
    before = typed.digest()
    lines = typed.type("diff main fast").text.splitlines()
    assert (
        lines[0]
        == "the same for 2 commands from stop 1 on, then they diverge at `step` (stop 4 of main, stop 10 of fast)"
    )
    assert lines[1] == "only one has `set lr = 0.5` (stop 7 of fast)"
    assert lines[2].startswith("  iteration 1: ")
    assert typed.digest() == before
    assert typed.type("diff 12").text == "this is the same stop"
    assert typed.type("diff 1 3").text == "the same up to stop 1; then stop 2 of main continues with `forward`"
    assert "there is no branch slow" in typed.refused("diff slow")


def test_the_node_at_which_two_branches_part_is_named() -> None:
    typed = Typed("load cnn seed=0 device=cpu")
    typed.type("forward; undo; branch other; seed 5; forward; backward")
    before = typed.digest()
    lines = typed.type("diff main other").text.splitlines()
    assert "they diverge at once from stop 1 on, at `forward`" in lines[0]
    assert lines[1] == "only one has `seed 5` (stop 3 of other)"
    assert lines[-1].startswith("  first inside it: module dropout Dropout differs by up to")
    assert typed.digest() == before
    typed.type("undo; backward")  # the graph that was alive is still there
    assert typed.digest() == before


def _grad_norm() -> float:
    typed = Typed("load cnn seed=0 device=cpu; forward; backward")
    outcome = typed.type("print norm(head.weight.grad)")
    return float(outcome.text)


def test_back_until_finds_the_last_stop_at_which_it_held() -> None:
    typed = Typed("load mlp seed=0 device=cpu")
    typed.type("; ".join(["forward; backward; step; zero_grad"] * 6))
    alive = typed.digest()
    assert "it held at no stop before this one" in typed.refused("back until iteration > 9")
    assert typed.digest() == alive
    assert typed.type("back until norm(2.weight.grad) > 80").stop.phase in ("backward", "step")
    typed.type("switch main; back until iteration == 3")
    assert typed.session.stop.number == 15  # the stop before the fourth step
    assert "there is no `nothing`" in typed.refused("back until nothing > 3")


def test_who_wrote_names_the_command() -> None:
    typed = Typed("load mlp seed=0 device=cpu; forward; backward; step; zero_grad; forward; backward")
    assert "at stop 4, by `step` (iteration 1" in typed.type("who wrote 2.weight").text
    assert "at stop 7, by `backward`" in typed.type("who wrote 2.weight.grad").text
    typed.type("set 2.weight[0, 0] = 1")
    assert "at stop 8, by `set 2.weight[0, 0] = 1`" in typed.type("who wrote 2.weight").text
    assert "at stop 4, by `step`" in typed.type("who wrote 2.weight[3]").text
    typed.type("goto 1")
    assert typed.type("who wrote 2.weight").text == "2.weight has not been written since the first stop"


def test_the_past_is_looked_at_without_going_there() -> None:
    typed = Typed()
    typed.type(f"{LOOP}; forward; backward; step")
    here, digest = typed.session.stop, typed.digest()
    looks = (
        LookModel(),
        LookWhy(),
        LookTensor(opening=Name("head.weight")),
        LookGraph(),
        LookLoss(),
        LookChanges(),
        LookLayers(),
    )
    model, why, tensor, graph, loss, changes, layers = typed.session.look(*looks, at=3)
    assert isinstance(model, ModelView)
    assert {row.grad for row in model.rows if row.kind == "parameter"} == {"fresh"}
    assert isinstance(why, WhyView)
    assert why.sentence.startswith("backward() wrote .grad and nothing else")
    assert isinstance(tensor, TensorView)
    assert tensor.stop == 3
    assert isinstance(graph, GraphView)
    assert graph.total > 10
    assert isinstance(loss, LossView)
    assert loss.forwards == 1
    assert isinstance(changes, Changes)
    assert {row.before for row in changes.rows} == {"none"}
    assert isinstance(layers, LayersView)
    assert (typed.session.stop, typed.digest()) == (here, digest)
    (alive,) = typed.session.look(LookGraph(), at=2)
    assert isinstance(alive, GraphView)
    assert alive.total == graph.total
    (nothing,) = typed.session.look(LookModel(), at=99)
    assert isinstance(nothing, NoView)
    assert "there is no stop 99" in nothing.why


def test_every_view_after_an_undo_is_what_it_was_then() -> None:
    typed = Typed()
    looks = (LookModel(), LookWhy(), LookTensor(opening=Name("head.weight")), LookLoss(), LookChanges())
    seen = {}
    for line in (*LOOP.split("; "), "forward", "backward"):
        typed.type(line)
        seen[typed.session.stop.number] = typed.session.look(*looks)
    for number in (4, 3, 7, 5):
        typed.type(f"goto {number}")
        assert typed.session.look(*looks) == seen[number]


def test_where_what_was_before_was_not_kept_the_views_say_so_and_how_to_have_it() -> None:
    typed = Typed(history=1)
    seen = {}
    for line in LOOP.split("; ") * 3 + LOOP.split("; ")[:4]:
        typed.type(line)
        seen[typed.session.stop.number] = typed.session.look(LookWhy(), LookChanges())
    steps = [number for number, (why, _) in seen.items() if isinstance(why, WhyView) and why.about == "step"]
    early, last = steps[1], steps[-1]
    assert typed.session.stop.number == last + 1
    typed.type("undo")  # this stop was kept, and the one before it was not
    (why,) = typed.session.look(LookWhy())
    assert isinstance(why, WhyView)
    assert why.sentence == "step() ran. What it changed is unknown here: the stop before it was not kept."
    assert why.more[-1].startswith(f"`goto {last}`, `undo`, `redo` runs it again and keeps it")
    typed.type(f"goto {last}; undo; redo")
    assert typed.session.look(LookWhy(), LookChanges()) == seen[last]
    typed.type(f"goto {early}")  # run again: what was before it is at hand
    assert typed.session.look(LookWhy(), LookChanges()) == seen[early]


def test_the_losses_of_a_closure_go_back_and_forth_in_time() -> None:
    torch.manual_seed(0)
    workload = Workload(
        model=nn.Linear(4, 1),
        loss=nn.functional.mse_loss,
        optimizer=lambda p: torch.optim.LBFGS(p, lr=0.1, max_iter=3),
        batches=[(torch.randn(6, 4), torch.randn(6, 1))],
    )
    session = Session(workload)

    def losses() -> list[tuple[int, float]]:
        view = session.look(LookLoss())[0]
        assert isinstance(view, LossView)
        return [(point.iteration, point.loss) for point in view.points]

    assert session.step().ok
    first = losses()
    assert session.forward().ok
    assert session.step().ok
    all_of_them = losses()
    assert len(all_of_them) > len(first) + 2
    session.undo()
    assert losses() == all_of_them[: len(first) + 1]
    session.undo()
    assert losses() == first
    session.redo(2)
    assert losses() == all_of_them
    session.time_travel.timeline.drop(session.time_travel.timeline.points[2])  # its stop has to be run again
    session.goto(2)
    assert losses() == first


def test_the_timeline_says_what_each_command_did() -> None:
    typed = Typed()
    typed.type(f"{LOOP}; set lr = 0.1; undo")
    view = typed.timeline()
    assert [row.line for row in view.rows] == [
        *("", "forward", "backward", "step", "zero_grad set_to_none=true", "next_batch", "set lr = 0.1"),
    ]
    assert [row.changed for row in view.rows[1:4]] == ["3 buffers", "6 .grad", "5 weights, 6 of the state"]
    assert view.rows[-1].changed == "lr 0.05 → 0.1"
    assert [row.here for row in view.rows].index(True) == 5
    assert [row.undone for row in view.rows] == [False] * 6 + [True]
    assert view.rows[-1].ends == ("main",)
    assert (view.total, view.first) == (7, 0)
    assert 0 < view.memory < view.budget
    window = typed.timeline(LookTimeline(last=2, count=3))
    assert ([row.stop for row in window.rows], window.first) == ([3, 4, 5], 2)


def test_a_thinned_stop_is_reached_all_the_same() -> None:
    typed = Typed(history=1)
    digests = {}
    for line in ("; ".join([LOOP] * 3)).split("; "):
        number = typed.type(line).stop.number
        digests[number] = typed.digest()
    assert [row.kept for row in typed.timeline().rows].count(True) == 3
    for number in (7, 2, 12, 4):
        assert "re-run" in typed.type(f"goto {number}").text
        assert typed.digest() == digests[number]
        assert typed.digest(at=9) == digests[9]


def test_what_was_kept_by_let_and_what_is_shown_outlive_an_undo() -> None:
    typed = Typed("load mlp seed=0 device=cpu; forward; backward; let w = 2.weight; show 2.weight[0]; step")
    assert typed.type("undo; expect 2.weight == w").ok
    assert "the name is taken" in typed.refused("let w = 3")


def test_a_let_that_was_undone_can_be_made_anew() -> None:
    typed = Typed("load mlp seed=0 device=cpu; forward; let l = loss; backward; step; zero_grad")
    assert typed.type("undo 4; forward; let l = loss").ok
    assert typed.type("backward; into forward").problem is None
    assert typed.type("over; let name = 3").ok
    assert "the name is taken" in typed.refused("let name = 3")
    assert typed.type("undo; let name = 4; expect name == 4").ok
    assert typed.type("undo phase; let name = 5; expect name == 5").ok
    assert "the name is taken" in typed.refused("let l = loss")


def test_watchpoints_see_a_value_go_back() -> None:
    typed = Typed("load mlp seed=0 device=cpu; watch iteration; forward; backward; step")
    (hit,) = typed.type("undo").watches
    assert (hit.before, hit.after) == ("1", "0")


def test_the_history_can_be_off() -> None:
    typed = Typed(history=0)
    typed.type(LOOP)
    assert typed.session.stop.branch == ""
    assert "the history is off" in typed.refused("undo")
    assert typed.timeline().note.startswith("no history is kept")
    assert typed.type("set lr = 3").stop.number == 7


def test_inside_a_phase_only_the_phase_can_be_undone() -> None:
    typed = Typed("load mlp seed=0 device=cpu; forward")
    assert "there is no phase to undo" in typed.refused("undo phase")
    before = typed.digest()
    typed.type("into backward; over")
    assert "is in progress" in typed.refused("redo")
    assert "is in progress" in typed.refused("set lr = 3")
    outcome = typed.type("undo phase")
    assert outcome.stop.position is None
    assert (outcome.stop.number, typed.digest()) == (2, before)
    assert typed.type("backward").stop.phase == "backward"


def test_replays_json_lines_carry_the_stop_reached_and_its_digest(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    from gradstep.cli import main

    script = tmp_path / "a.steps"
    script.write_text(f"load mlp seed=0 device=cpu\n{LOOP}\nundo 3\nredo 3\nbranch b\n")
    assert main(["replay", "--json", str(script)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    by_stop = {}
    for line in lines:
        assert by_stop.setdefault(line["stop"], line["digest"]) == line["digest"]
    assert [line["stop"] for line in lines] == [1, 2, 3, 4, 5, 6, 3, 6, 6]
    assert lines[-1]["branch"] == "b"


def test_a_long_rerun_to_thin_the_history_is_announced_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thinning, "SLICE", -1)
    said: list[str] = []
    model = nn.Linear(4, 2)
    workload = Workload(model, nn.functional.mse_loss, torch.optim.SGD, [(torch.ones(3, 4), torch.ones(3, 2))])
    session = Session(workload, history=1, on_progress=said.append)
    session.time_travel.timeline.trusting = False  # a rerun gave other bits
    before = len(said)
    for _ in range(3):
        session.forward()
        session.backward()
        session.step()
    told = said[before:]
    assert told
    assert all(text.startswith("the history is over its budget: checking once whether") for text in told)
    assert len(told) == len(set(told)), "what is known is not found out again"


def test_undo_walks_no_further_than_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[int] = []
    path = TimelinePoint.path

    def counted(point: TimelinePoint) -> Iterator[TimelinePoint]:
        for each in path(point):
            walked.append(each.number)
            yield each

    typed = Typed("load xor seed=0 device=cpu")
    for _ in range(10):
        for phase in ("forward", "backward", "step", "zero_grad"):
            typed.type(phase)
    monkeypatch.setattr(TimelinePoint, "path", counted)
    typed.type("undo")
    assert len(walked) < 10


def test_what_a_command_removes_is_among_what_it_changed() -> None:
    batch = (torch.ones(4, 3), torch.zeros(4, 2))
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    session = Session(Workload(nn.Linear(3, 2), loss=nn.functional.mse_loss, optimizer=momentum, batches=[batch]))
    for command in (Forward(), Backward(), Step(), UseOptimizer("sgd", ())):
        assert session.execute(command).ok
    wrote = session.time_travel.timeline.here().wrote
    assert wrote == (("state", "weight", "momentum_buffer"), ("state", "bias", "momentum_buffer"))
