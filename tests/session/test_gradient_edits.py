"""Gradient edits at a stop inside a backward, as a command: undone, redone, replayed, and their output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.steps.record import script_text
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest, LookWhy, WhyView
from gradstep.values.views.inside import InsideView, LookInside
from gradstep.values.views.node import LookNode, NodeView
from gradstep.values.views.timeline import LookTimeline, TimelineView

TO_RELU = 'load mlp seed=0 device=cpu; forward; into backward; until node.name == "ReluBackward0"'


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.close()


def do(session: Session, text: str) -> Outcome:
    """Carry out lines that must go through; return the outcome of the last one."""
    outcome = None
    for statement in parse_line(text):
        assert isinstance(statement, StepsLine)
        outcome = session.execute(statement.command)
        assert outcome.ok, outcome.problem
    assert outcome is not None
    return outcome


def refused(session: Session, line: str) -> str:
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    before = session.stop
    problem = session.execute(statement.command).problem
    assert problem is not None
    assert session.stop == before
    return f"{problem.title}. {problem.what}. {problem.remedy}"


def digest(session: Session) -> str:
    view = session.look(LookDigest())[0]
    assert isinstance(view, Digest)
    return view.digest


def last_line(session: Session) -> str:
    view = session.look(LookTimeline(0, 100))[0]
    assert isinstance(view, TimelineView)
    return view.rows[-1].line


def test_it_is_a_stop_of_its_own_at_the_same_place(session: Session) -> None:
    before = do(session, TO_RELU).stop
    outcome = do(session, "let v = node.in; set node.in = 0.5 * node.in")
    assert outcome.text.startswith("node.in is norm")
    assert outcome.stop.number == before.number + 1
    assert outcome.stop.position == before.position
    assert outcome.stop.natural == ("over",)
    do(
        session,
        "expect node.in == 0.5 * v; into; expect node.edge == 'after' and norm(node.in) == norm(0.5 * v)".replace(
            "'", '"'
        ),
    )


def test_undo_goes_back_before_it_and_keeps_what_was_changed_earlier(session: Session) -> None:
    do(session, TO_RELU)
    do(
        session,
        "let v = node.in; set node.in = 2 * node.in; over; let w = node.in; set node.in = 0; set node.in[0] = 1",
    )
    do(session, "undo; expect node.in == 0; undo; expect node.in == w")
    assert do(session, "undo; expect node.in == 2 * v").stop.position is not None
    do(session, "undo; expect node.in == v; out phase")
    plain = Session()
    do(plain, "load mlp seed=0 device=cpu; forward; backward")
    assert digest(session) == digest(plain)
    assert last_line(session) == "backward"


def test_undo_of_several_stops_undoes_the_changes_among_them(session: Session) -> None:
    do(session, TO_RELU)
    do(session, "let v = node.in; over; set node.in = 0; set node.in = 1; over; undo 4; expect node.in == v; over")
    do(session, "expect norm(node.in) > 0; out phase")
    assert last_line(session) == "backward"


def test_the_phase_is_undone_and_done_again_to_the_same_bits(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = 0.5 * node.in; into; set node.out[0, 0] = 0; out phase")
    changed = digest(session)
    stop = session.stop.number
    assert do(session, "undo").stop.phase == "forward"
    do(session, "redo")
    assert digest(session) == changed
    do(session, "step; zero_grad; forward; backward; goto 1")
    do(session, f"goto {stop}")
    assert digest(session) == changed
    plain = Session()
    do(plain, "load mlp seed=0 device=cpu; forward; backward")
    assert digest(plain) != changed


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_with_the_least_history_it_is_run_again_to_the_same_bits(name: str) -> None:
    session = Session(history=1)
    do(session, f"load {name} seed=0 device=cpu; forward; into backward; over; over; set node.in = 0.25 * node.in")
    do(session, "over; set node.in = -2 * node.in; out phase")
    changed, stop = digest(session), session.stop.number
    do(session, "step; zero_grad; next_batch; forward; backward; step")
    outcome = do(session, f"goto {stop}")
    assert "re-run" in outcome.text
    assert digest(session) == changed


def test_the_log_replays_to_the_same_bits_and_so_does_the_line_of_the_timeline(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = 0.5 * node.in; into; set node.out = 2 * node.out; break node #9; continue")
    do(session, "set node.in = 0; set node.in[0] = 1; continue; delete")
    changed, line = digest(session), last_line(session)
    script = script_text(session.log)
    assert "\nset node.in = 0.5 * node.in\ninto\nset node.out = 2 * node.out\n" in script
    replayed = Session()
    for text in script.splitlines():
        if text and not text.startswith("#"):
            do(replayed, text)
    assert digest(replayed) == changed
    assert last_line(replayed) == line
    typed = Session()
    do(typed, f"load mlp seed=0 device=cpu; forward; {line}")
    assert digest(typed) == changed
    assert line.startswith("pause 15; backward; set node.in = 0.5 * node.in; pause 16; out phase; ")
    view = session.look(LookTimeline(0, 100))[0]
    assert isinstance(view, TimelineView)
    words = "set node.in = 0.5 * node.in, set node.out = 2 * node.out, set node.in = 0, set node.in[0] = 1"
    assert view.rows[-1].words == f"backward: {words}"


def test_a_graph_that_is_alive_is_written_to_a_file_with_what_was_changed(session: Session, tmp_path: Path) -> None:
    do(session, "load mlp seed=0 device=cpu; forward; break node Relu*; backward retain_graph=true")
    do(session, "set node.in = 0.5 * node.in; continue; delete")
    changed = digest(session)
    file = tmp_path / "here.safetensors"
    do(session, f'checkpoint "{file}"')
    other = Session()
    said = do(other, f'load mlp seed=0 device=cpu; restore "{file}"').text
    assert "the digest is the same" in said
    assert digest(other) == changed


# -- what is said ------------------------------------------------------------------------------------------------------
def test_the_panels_say_so_at_the_stop(session: Session) -> None:
    do(session, TO_RELU)
    first = session.look(LookNode())[0]
    do(session, "set node.in[0] = 0")
    do(session, "set node.in = 2 * node.in")
    node, inside, why = session.look(LookNode(), LookInside(), LookWhy())
    assert isinstance(first, NodeView)
    assert isinstance(node, NodeView)
    assert isinstance(inside, InsideView)
    assert isinstance(why, WhyView)
    assert first.edits == ()
    (said,) = node.edits
    assert said.startswith("node.in was edited: norm ")
    assert inside.edits == node.edits
    assert said in why.more
    assert first.arrives[0] is not None
    assert node.arrives[0] is not None
    assert first.arrives[0].norm != node.arrives[0].norm == inside.inputs[0].norm


def test_what_leaves_is_what_the_engine_makes_of_what_was_put_there(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = 2 * node.in")
    before = session.look(LookNode())[0]
    do(session, "into")
    after = session.look(LookNode())[0]
    assert isinstance(before, NodeView)
    assert isinstance(after, NodeView)
    assert not before.exact
    assert after.exact
    assert before.edges[0].leaves == after.edges[0].leaves
    assert after.edits == before.edits
    do(session, "set node.out = 0")
    changed = session.look(LookNode())[0]
    assert isinstance(changed, NodeView)
    assert [text.partition(" ")[0] for text in changed.edits] == ["node.in", "node.out"]
    assert changed.edges[0].leaves is not None
    assert changed.edges[0].leaves.norm == 0
    assert changed.matrix is not None
    assert "was modified since it ran" not in changed.matrix.note


def test_it_is_seen_after_the_phase_too(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = 2 * node.in; into; set node.out = 0")
    then = session.look(LookNode())[0]
    do(session, "out phase")
    number = 7
    node, further, why = session.look(LookNode(number), LookNode(number + 1), LookWhy())
    assert isinstance(then, NodeView)
    assert isinstance(node, NodeView)
    assert isinstance(further, NodeView)
    assert isinstance(why, WhyView)
    assert node.edits == then.edits
    assert node.arrives == then.arrives
    assert further.arrives[0] is not None
    assert further.arrives[0].norm == 0
    assert any("set node.in = 2 * node.in; set node.out = 0" in line for line in why.more)


def test_it_is_not_seen_afterwards_where_it_would_be_something_else(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = norm(2.bias.grad) * node.in; out phase")
    node = session.look(LookNode(8))[0]
    assert isinstance(node, NodeView)
    assert "edited with the value of 2.bias.grad" in node.note


def test_why_a_grad_is_none_names_a_gradient_edit(session: Session) -> None:
    do(session, TO_RELU + "; set node.in = none; out phase")
    assert "passed no gradient to it (a gradient was edited in flight)" in do(session, "why 0.weight.grad").text


# -- what is refused ---------------------------------------------------------------------------------------------------
def test_between_phases_nothing_flows(session: Session) -> None:
    do(session, "load mlp seed=0 device=cpu; forward")
    assert "no backward is in progress" in refused(session, "set node.in = 0")
    do(session, "backward")
    assert "no backward is in progress" in refused(session, "set node.out[1, 0] = 0")


def test_in_a_forward_nothing_flows(session: Session) -> None:
    do(session, "load mlp seed=0 device=cpu; into forward")
    assert "a stop in a forward" in refused(session, "set module.in = 0")
    assert "a stop in a forward" in refused(session, "set node.in = 0")


def test_at_the_stop_nothing_else_can_be_set(session: Session) -> None:
    do(session, TO_RELU)
    assert "is in progress" in refused(session, "set 2.weight = 0")
    assert "another shape" in refused(session, "set node.in = 2.weight")
