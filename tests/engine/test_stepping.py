"""A phase that is stepped: it stops where torch is, changes nothing, and can be left at any place."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, N, S, Z, hold, run
from running import runner_of
from torch import Tensor, nn
from whole_models import MODELS

from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.phase_thread import AbandonedError, PhaseThread
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.commands import Backward, Break, Forward
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression


def stepping(held: Held, act: Forward | Backward, breakpoints: Breakpoints | None = None) -> Stepping:
    """Return a phase to be stepped; it has not begun."""
    return Stepping(runner_of(held), act, breakpoints or Breakpoints(), _never, str)


def _never(_: Expression) -> bool:
    return False


def walked(held: Held, act: Forward | Backward, see: Callable[[StopPlace], Any] = lambda e: None) -> list[Any]:
    """Step through a whole phase, place by place; return what was seen at each."""
    phase, seen = stepping(held, act), []
    while phase.go("into"):
        assert phase.stop_place is not None
        seen.append(phase.ask(lambda: see(phase.stop_place)))  # type: ignore[arg-type]
    return seen


def iteration(held: Held) -> None:
    for act in (*([] if held.batches.single else [N]), F, B, S):
        run(held, act)


@pytest.mark.parametrize("name", MODELS)
def test_a_stepped_iteration_gives_the_same_bits(name: str) -> None:
    plain, stepped = MODELS[name](), MODELS[name]()
    # both draw from the same generators, so one after the other from its own start
    start = plain.keeper.capture()
    digests = []
    for _ in range(2):
        iteration(plain)
        digests.append(digest(plain))
    stepped.keeper.restore(start)
    for expected in digests:
        if not stepped.batches.single:
            run(stepped, N)
        walked(stepped, F)
        walked(stepped, B)
        run(stepped, S)
        assert digest(stepped) == expected


@pytest.mark.parametrize("name", MODELS)
def test_nodes_come_in_the_order_of_the_engine_each_before_and_after(name: str) -> None:
    held = run(MODELS[name](), F)
    graph = held.graph()
    assert graph is not None
    fired: list[int] = []
    handles = [
        node.register_prehook(lambda _, number=number: fired.append(number)) for number, node in enumerate(graph.nodes)
    ]
    seen = walked(held, B, lambda here: (here.number, here.edge, here.name))
    for handle in handles:
        handle.remove()
    names = [node.name() for node in graph.nodes]
    assert seen == [(i, edge, names[i]) for i in fired for edge in ("before", "after")]
    assert fired == list(range(len(names)))


@pytest.mark.parametrize("name", MODELS)
def test_what_meets_adds_up_to_what_arrives_and_what_leaves_is_what_the_next_receives(name: str) -> None:
    held = run(MODELS[name](), F)
    graph = held.graph()
    assert graph is not None
    joins = 0

    def see(here: StopPlace) -> None:
        nonlocal joins
        if here.edge == "before" and here.addends:
            joins += 1
            ports: dict[int, Tensor] = {}
            for number, edge, value in here.addends:
                assert number < here.number
                following, port = graph.nodes[number].next_functions[edge]
                assert following is here.node
                ports[port] = ports[port] + value if port in ports else value
            for port, total in ports.items():
                assert torch.equal(total, here.inputs[port])

    walked(held, B, see)
    incoming = [i for edges in graph.edges for i in edges]
    assert joins == len({i for i in incoming if incoming.count(i) > 1})


def test_what_gradstep_counts_is_not_a_place_of_the_forward() -> None:
    plain, counted = MODELS["mlp"](), MODELS["mlp"]()
    counted.recording.zeros = True
    names = [walked(held, F, lambda here: here.name) for held in (plain, counted)]
    assert names[0] == names[1]
    assert counted.point.watched.zeros


@pytest.mark.parametrize("name", ["mlp", "cnn", "rnn", "gpt", "bert"])
def test_a_backward_left_at_any_place_is_undone(name: str) -> None:
    held = MODELS[name]()
    if not held.batches.single:
        run(held, N)
    run(held, F)
    run(held, B)
    run(held, F)
    before = digest(held)
    total = 2 * len(held.graph().nodes)  # type: ignore[union-attr]
    for place in {1, 2, total // 3, total // 2, total - 1, total}:
        phase = stepping(held, B)
        for _ in range(place):
            assert phase.go("into")
        phase.abandon()
        assert digest(held) == before
        assert held.point.phase == "forward"
    run(held, B)
    assert digest(held) != before


def test_a_forward_left_half_way_is_undone() -> None:
    held = MODELS["cnn"]()
    run(held, N)
    before = digest(held)
    phase = stepping(held, F)
    for _ in range(9):
        assert phase.go("into")
    phase.abandon()
    assert digest(held) == before
    assert held.point.loss is None


def test_gradients_are_half_added_in_the_middle_and_all_there_at_the_end() -> None:
    held = run(MODELS["mlp"](), F)
    last, first = held.tensor("2.weight"), held.tensor("0.weight")
    assert last is not None
    assert first is not None
    phase = stepping(held, B)
    while phase.go("into"):
        assert phase.stop_place is not None
        if phase.stop_place.name == "ReluBackward0":
            break
    assert last.grad is not None
    assert first.grad is None
    assert not phase.go("end")
    assert first.grad is not None


def places(held: Held, act: Forward | Backward, *kinds: Any) -> list[str]:
    """Return where a phase stops when it is told so, one after the other; the last wish again until the end."""
    phase, seen, i = stepping(held, act), [], 0
    while phase.go(kinds[min(i, len(kinds) - 1)]):
        here, i = phase.stop_place, i + 1
        assert here is not None
        seen.append(f"{here.edge} {here.path} {here.name}".replace("  ", " "))
    return seen


def nested() -> Held:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
    model = nn.Sequential(inner, nn.Linear(3, 2))
    return hold(model, [(torch.randn(4, 3), torch.randn(4, 2))], loss=nn.functional.mse_loss)


def test_into_over_and_out_of_modules() -> None:
    assert places(nested(), F, "into", "over") == ["enter Sequential", "exit Sequential"]
    assert places(nested(), F, "into", "into", "over") == [
        "enter Sequential",
        "enter 0 Sequential",
        "exit 0 Sequential",
        "enter 1 Linear",
        "exit 1 Linear",
        "exit Sequential",
    ]
    assert places(nested(), F, "into", "into", "into", "out") == [
        "enter Sequential",
        "enter 0 Sequential",
        "enter 0.0 Linear",
        "exit 0.0 Linear",
        "exit 0 Sequential",
        "exit Sequential",
    ]


def test_into_goes_down_to_ops_and_over_stays_among_them() -> None:
    seen = places(nested(), F, "into", "into", "into", "into", "over")
    assert seen[3:6] == ["exit 0.0 F.linear", "exit 0.0 Linear", "enter 0.1 Tanh"]
    assert "exit F.mse_loss" in places(nested(), F, "into")
    assert "exit F.mse_loss" not in places(nested(), F, "into", "into", "over")


def test_over_and_out_of_nodes() -> None:
    held = run(nested(), F)
    graph = held.graph()
    assert graph is not None
    names = [node.name() for node in graph.nodes]
    assert [p.split()[-1] for p in places(held, B, "over")] == names
    held = run(nested(), F)
    seen = places(held, B, "into", "over", "out")
    assert seen[1].startswith("before 1 AddmmBackward0")
    assert seen[2].startswith("before 0.1 TanhBackward0")


def test_no_hook_is_left_behind() -> None:
    held = run(MODELS["mlp"](), F)
    come = stepping(held, B)
    while come.go("over"):
        pass
    passed = come.place
    run(held, Z)
    iteration(held)
    assert come.place == passed
    phase = stepping(held, F)
    phase.go("into")
    phase.abandon()
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_a_stop_sees_the_state_of_the_thread_that_began_it() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        held = nested()
        phase = stepping(held, F)
        seen = set()
        while phase.go("into"):
            assert phase.stop_place is not None
            seen.add(phase.stop_place.autocast)
    assert seen == {"bfloat16"}
    assert held.point.value is not None


def test_what_the_debuggee_raises_inside_is_rolled_back() -> None:
    held = nested()

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("odd")

    held.model[1] = Odd()
    held.paths[held.model[1]] = "1"
    before = digest(held)
    phase = stepping(held, F)
    assert phase.go("into")
    with pytest.raises(GradstepError, match="odd"):
        phase.go("end")
    assert digest(held) == before


def test_breakpoints_stop_where_they_match() -> None:
    held = run(MODELS["mlp"](), F)
    points = Breakpoints()
    points.add(Break("node", "Relu*"), held)
    points.add(Break("grad", "0.*"), held)
    points.add(Break("node", "#1", "after"), held)
    phase, seen = stepping(held, B, points), []
    while phase.go("continue"):
        assert phase.stop_place is not None
        seen.append((phase.stop_place.number, phase.stop_place.edge, phase.reason, phase.stop_place.parameter))
    assert seen == [
        (1, "after", "breakpoint 3", ""),
        (7, "before", "breakpoint 1", ""),
        (9, "before", "breakpoint 2", "0.bias"),
        (11, "before", "breakpoint 2", "0.weight"),
    ]
    assert [row.hits for row in points] == [1, 2, 1]


def test_ignored_and_disabled_breakpoints_do_not_stop() -> None:
    held = run(MODELS["mlp"](), F)
    points = Breakpoints()
    points.add(Break("node", "Addmm*", ignore=1), held)
    points.add(Break("node", "Pow*"), held)
    points.enable(2, on=False)
    phase = stepping(held, B, points)
    assert phase.go("continue")
    assert phase.stop_place is not None
    assert phase.stop_place.number == 8
    assert not phase.go("continue")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (Break("node", "Rellu*"), "Did you mean `Relu`?"),
        (Break("node", "Rellu_Backward0"), "Did you mean `ReluBackward0`?"),
        (Break("node", "#12"), "The last one is #11"),
        (Break("module", "3"), "no module is called `3`"),
        (Break("module", "Linaer"), "Did you mean `Linear`?"),
        (Break("grad", "2.weigth"), "2.weight"),
        (Break("phase", "foward"), "forward"),
        (Break("iteration", "0"), "can't be reached"),
    ],
)
def test_a_breakpoint_that_can_never_be_hit_is_refused(command: Break, says: str) -> None:
    held = run(MODELS["mlp"](), F)
    with pytest.raises(GradstepError) as caught:
        Breakpoints().add(command, held)
    assert says in f"{caught.value.problem.title} {caught.value.problem.what} {caught.value.problem.remedy}"


def test_a_node_is_named_by_its_operation_or_its_module_too() -> None:
    for what, numbers in (("relu", [7]), ("Addmm", [3, 8]), ("2", [3, 4, 5, 6]), ("#3", [3])):
        held = run(MODELS["mlp"](), F)
        points = Breakpoints()
        points.add(Break("node", what), held)
        phase, seen = stepping(held, B, points), []
        while phase.go("continue"):
            assert phase.stop_place is not None
            seen.append(phase.stop_place.number)
        assert seen == numbers


def test_a_module_is_named_by_its_class_too() -> None:
    for what, paths in (("Linear", ["0", "2"]), ("Re*", ["1"]), ("Sequential", [""]), ("2", ["2"])):
        held = MODELS["mlp"]()
        points = Breakpoints()
        points.add(Break("module", what), held)
        phase, seen = stepping(held, F, points), []
        while phase.go("continue"):
            assert phase.stop_place is not None
            seen.append(phase.stop_place.path)
        assert seen == paths


def test_one_that_was_set_before_the_graph_and_matches_nothing_of_it_says_so_once() -> None:
    held = MODELS["mlp"]()
    points = Breakpoints()
    for what in ("Rellu*", "#12", "Relu*"):
        points.add(Break("node", what), held)
    run(held, F)
    phase = stepping(held, B, points)
    assert phase.go("continue")
    assert phase.notes == [
        "breakpoint 1 is not met: no node is called `Rellu*`. Did you mean `Relu`?",
        "breakpoint 2 is not met: there is no node #12. The last one is #11.",
    ]
    assert not phase.go("end")
    run(held, F)
    phase = stepping(held, B, points)
    assert phase.go("continue")
    assert phase.notes == []
    phase.abandon()


def interrupted(times: int, walker: list[PhaseThread]) -> None:
    """Interrupt the first thread as ctrl+c does, until it has taken note of it."""
    for _ in range(times):
        before = (walker[0].pausing, walker[0]._abandoned)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        while (walker[0].pausing, walker[0]._abandoned) == before:
            pass


def test_ctrl_c_pauses_at_the_next_place() -> None:
    walker: list[PhaseThread] = []

    def work() -> None:
        interrupted(1, walker)
        assert walker[0].pausing
        walker[0].halt()

    walker.append(PhaseThread(work))
    assert walker[0].go()
    assert not walker[0].go()


def test_ctrl_c_twice_gives_up() -> None:
    walker: list[PhaseThread] = []

    def work() -> None:
        interrupted(2, walker)
        walker[0].check()

    walker.append(PhaseThread(work))
    with pytest.raises(AbandonedError):
        walker[0].go()


def test_a_tap_that_outlives_its_phase_stops_nowhere() -> None:
    phase = stepping(hold(nn.Linear(4, 2)), F)
    kept: list[StopPlace] = []
    while phase.go("into"):
        assert phase.stop_place is not None
        kept.append(phase.stop_place)
    place = phase.place
    for here in kept:
        phase.reach(here)  # it would wait here for ever
        assert phase.passes(here.number, False, "", ())
    assert kept
    assert phase.place == place
    assert phase.stop_place is None
