from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from gradstep.steps.language.parse import parse_script
from gradstep.steps.language.script import Repeat, Script, Statement, StepsLine
from gradstep.steps.runner import Failure, StepsRunner
from gradstep.values.commands import Forward, line_of
from gradstep.values.outcomes import Problem

RAISED = Problem(kind="raised", title="backward raised", what="RuntimeError: a second time")
NOT_HELD = Problem(kind="expectation", title="does not hold", what="a second time")


def walk(text: str, problems: dict[int, Problem] | None = None) -> tuple[list[str], list[Failure]]:
    """Return the commands in the order they ran, the n-th (from 1) meeting its problem, and the failures."""
    runner = StepsRunner(parse_script(text, "a.steps"))
    ran: list[str] = []
    failures: list[Failure] = []
    while runner.line is not None:
        ran.append(line_of(runner.line.command))
        failure = runner.feed((problems or {}).get(len(ran)))
        failures += [failure] if failure else []
    return ran, failures


def test_repeats_unroll_in_order() -> None:
    ran, failures = walk("load mlp\nrepeat 2 { forward; repeat 2 { backward }; step }\nzero_grad")
    turn = ["forward", "backward", "backward", "step"]
    assert ran == ["load mlp", *turn, *turn, "zero_grad"]
    assert failures == []


def test_a_repeat_ends_where_the_script_does() -> None:
    assert walk("repeat 2 { repeat 2 { step } }")[0] == ["step"] * 4


def test_a_huge_repeat_takes_no_room_and_knows_its_turn() -> None:
    runner = StepsRunner(parse_script("repeat 1000000000 { forward\n step }", "a.steps"))
    for _ in range(2_001):
        runner.feed(None)
    assert runner.line is not None
    assert (runner.line.number, runner.turns) == (2, ((1001, 1_000_000_000),))


def test_a_failure_names_its_line_and_the_walk_can_go_on() -> None:
    ran, failures = walk("forward\nrepeat 2 {\n  backward; step\n}", {3: RAISED})
    assert ran == ["forward", "backward", "step", "backward", "step"]
    assert failures == [Failure(RAISED, 3, 13, "step")]


def test_the_expected_error_is_no_failure_and_ends_its_block() -> None:
    ran, failures = walk('expect error "SECOND time" { backward; step }\nforward', {1: RAISED})
    assert (ran, failures) == (["backward", "forward"], [])


def test_the_expected_error_leaves_the_repeats_within_its_block() -> None:
    ran, failures = walk('expect error "second" { repeat 9 { forward; backward } }\nstep', {4: RAISED})
    assert (ran, failures) == (["forward", "backward", "forward", "backward", "step"], [])


def test_an_expected_error_that_does_not_come_is_a_failure_of_its_line() -> None:
    ran, failures = walk('forward\nexpect error "second" {\n  backward\n}\nstep')
    assert ran == ["forward", "backward", "step"]
    assert [(f.number, f.problem.kind, f.problem.expected) for f in failures] == [
        (2, "expectation", 'an error that contains "second"')
    ]


def test_another_error_is_a_failure_that_says_both() -> None:
    ran, failures = walk('expect error "shape" { backward; step }\nforward', {1: RAISED})
    assert ran == ["backward", "forward"]
    assert [(f.problem.kind, f.problem.expected, f.problem.actual) for f in failures] == [
        ("raised", 'an error that contains "shape"', "RuntimeError: a second time")
    ]


def test_a_failed_expectation_is_never_the_expected_error() -> None:
    _, failures = walk('expect error "second" { expect 1 == 2; backward }', {1: NOT_HELD, 2: RAISED})
    assert [f.problem.kind for f in failures] == ["expectation"]


def test_an_outer_block_takes_what_the_inner_does_not() -> None:
    text = 'expect error "second" { expect error "shape" { backward; step }; step }\nforward'
    assert walk(text, {1: RAISED}) == (["backward", "forward"], [])


def flat(statements: tuple[Statement, ...]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, StepsLine):
            yield statement.text
        elif isinstance(statement, Repeat):
            for _ in range(statement.count):
                yield from flat(statement.body)


LEAF = st.integers(0, 99).map(lambda n: StepsLine(Forward(), 1, str(n)))
TREES = st.recursive(
    LEAF,
    lambda inner: st.builds(
        lambda count, body: Repeat(count, tuple(body), 1, ""),
        st.integers(1, 3),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


@given(st.lists(TREES, max_size=4).map(tuple))
def test_the_walk_is_the_script_written_out(statements: tuple[Statement, ...]) -> None:
    runner = StepsRunner(Script("a.steps", (), statements))
    ran: list[str] = []
    while runner.line is not None:
        ran.append(runner.line.text)
        assert runner.feed(None) is None
    assert ran == list(flat(statements))


@given(st.lists(TREES, min_size=1, max_size=4).map(tuple), st.data())
def test_it_goes_back_to_any_place_it_was_at(statements: tuple[Statement, ...], data: st.DataObject) -> None:
    runner = StepsRunner(Script("a.steps", (), statements))
    places = [runner.place]
    while runner.line is not None:
        runner.feed(None)
        places.append(runner.place)
    back = data.draw(st.integers(0, len(places) - 1))
    runner.go(places[back])
    ran: list[str] = []
    while runner.line is not None:
        assert runner.place == places[back + len(ran)]
        ran.append(runner.line.text)
        runner.feed(None)
    assert ran == list(flat(statements))[back:]


def test_it_goes_back_into_a_block_that_awaits_an_error() -> None:
    runner = StepsRunner(parse_script('expect error "second" { forward; repeat 2 { backward } }\nstep', "a.steps"))
    for _ in range(2):
        runner.feed(None)
    place = runner.place
    assert runner.feed(RAISED) is None
    assert runner.line is not None
    assert line_of(runner.line.command) == "step"
    runner.go(place)
    assert runner.turns == ((2, 2),)
    assert runner.feed(RAISED) is None
    assert line_of(runner.line.command) == "step"
