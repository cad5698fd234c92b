"""Gradient edits in a backward: the same bits as torch with the same hook, whichever way it is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from holding import B, F, N, S, Z, hold, run
from running import runner_of
from test_hard_graphs import HARD
from test_stepping import stepping
from torch import Tensor, nn
from travelling import EXAMPLES, Traveller
from whole_models import MODELS

from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.stepper import Stepping
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Assign, Backward, Flow
from gradstep.values.errors import GradstepError

Change = tuple[int, str]
"""A place, and the line that is typed there."""


def assign(line: str) -> Assign:
    (statement,) = parse_line(line)
    assert isinstance(statement, StepsLine)
    assert isinstance(statement.command, Assign)
    return statement.command


def stepped(held: Held, *changes: Change, scope: HeldScope | None = None) -> Backward:
    """Step a backward to each place, edit a gradient there, and continue to its end; return the act with its edits."""
    phase = Stepping(runner_of(held), B, stepping(held, B)._breakpoints, lambda _: False, str, scope=scope)
    for place, line in changes:
        if place != phase.place:
            assert phase.go("place", place=place)
        phase.ask(lambda line=line: phase.change(assign(line)))  # type: ignore[misc]
    assert not phase.go("end")
    assert isinstance(phase.act, Backward)
    return phase.act


def refused(held: Held, place: int, line: str) -> str:
    """Type a line at a place where it must be refused; nothing is changed by it."""
    phase = stepping(held, B)
    assert phase.go("place", place=place)
    here = phase.stop_place
    assert here is not None
    before = (here.inputs, here.outputs)
    with pytest.raises(GradstepError) as raised:
        phase.ask(lambda: phase.change(assign(line)))
    assert (here.inputs, here.outputs) == before
    assert phase.act == B
    phase.abandon()
    problem = raised.value.problem
    return f"{problem.title}. {problem.what}. {problem.remedy}"


def place_of(held: Held, name: str, edge: str = "before", which: int = 0) -> int:
    """Return the place before or after the node of a name."""
    graph = held.graph()
    assert graph is not None
    number = [i for i, node in enumerate(graph.nodes) if name in node.name()][which]
    return 2 * number + (1 if edge == "before" else 2)


def leaf_of(held: Held, name: str) -> int:
    """Return the place before the leaf of a parameter."""
    graph, parameter = held.graph(), held.parameter(name)
    assert graph is not None
    return 2 * next(i for i in graph.leaves if leaf_tensor(graph.nodes[i]) is parameter) + 1


def grads(held: Held) -> dict[str, Tensor | None]:
    return {name: None if p.grad is None else p.grad.clone() for name, p in held.parameters}


def same(one: dict[str, Tensor | None], other: dict[str, Tensor | None]) -> bool:
    pairs = [(one[name], other[name]) for name in one]
    return all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


# -- against torch -----------------------------------------------------------------------------------------------------
def _element(g: Tensor) -> Tensor:
    g = g.clone()
    g[0, 3] = 7
    return g


HOOKS: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("set node.in = 0.5 * node.in", lambda g: 0.5 * g),
    ("set node.in = 0", torch.zeros_like),
    ("set node.in = 1e-3", lambda g: torch.full_like(g, 1e-3)),
    ("set node.in[0, 3] = 7", _element),
    ("set node.in = node.in / norm(node.in)", lambda g: g / torch.linalg.vector_norm(g)),
    ("set node.in = node.in", lambda g: g),
]


@pytest.mark.parametrize(("line", "hook"), HOOKS)
def test_it_is_what_a_hook_of_the_tensor_does(line: str, hook: Callable[[Tensor], Tensor]) -> None:
    def workload(hooked: bool) -> Held:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

        def loss(model: nn.Module, batch: Tensor) -> Tensor:
            h = model[0](batch)  # type: ignore[index]
            if hooked:
                h.register_hook(hook)
            return model[2](model[1](h)).square().mean()  # type: ignore[index,no-any-return]

        return hold(model, [torch.randn(5, 4)], compute_loss=loss)

    plain, changed = run(workload(True), F, B, Z, F, B), run(workload(False), F)
    other = run(workload(False), F, B)
    last = place_of(changed, "Addmm", which=1)
    stepped(changed, (last, line))
    assert same(grads(changed), grads(plain))
    assert same(grads(changed), grads(other)) is (line == "set node.in = node.in")


def _hooked(held: Held, hooks: Sequence[tuple[int, str, Callable[[Tensor], Tensor]]]) -> None:
    """Run the backward of plain torch with hooks of its nodes on every tensor that arrives, or leaves."""
    graph = held.graph()
    assert graph is not None
    for number, edge, hook in hooks:

        def change(values: tuple[Tensor | None, ...], _: Any = None, hook: Any = hook) -> tuple[Any, ...]:
            return tuple(None if value is None else hook(value) for value in values)

        node = graph.nodes[number]
        node.register_prehook(change) if edge == "before" else node.register_hook(change)
    run(held, B)


BUILD = {**MODELS, **{name: build for name, build in HARD.items() if name != "reentrant checkpoint"}}
"""In a reentrant checkpoint a leaf runs twice: a hook of its node changes both of what arrives, a place is one."""


@pytest.mark.parametrize("name", BUILD)
def test_on_whole_models_it_is_what_the_hooks_of_the_nodes_do(name: str) -> None:
    plain, changed, again = (BUILD[name]() for _ in range(3))
    start = plain.keeper.capture()
    acts = [*([] if plain.batches.single else [N]), F]
    hooks: list[tuple[int, str, Callable[[Tensor], Tensor]]] = []
    changes: list[Change] = []
    run(plain, *acts)
    graph = plain.graph()
    assert graph is not None
    see = stepping(run(BUILD[name](), *acts), B)
    while see.go("into"):
        here = see.stop_place
        assert here is not None
        side = "in" if here.edge == "before" else "out"
        values = here.inputs if side == "in" else here.outputs or ()
        if see.place % (7 if name in MODELS else 3) or any(
            isinstance(value, Tensor) and value.is_sparse for value in values
        ):
            continue
        hooks.append((here.number, here.edge, lambda g: -0.5 * g))
        for i, value in enumerate(values):
            if value is not None:
                part = f"node.{side}" + (f"[{i}]" if len(values) > 1 else "")
                changes.append((see.place, f"set {part} = -0.5 * {part}"))
    assert changes
    plain.keeper.restore(start)
    plain = BUILD[name]()
    plain.keeper.restore(start)
    run(plain, *acts)
    _hooked(plain, hooks)
    changed.keeper.restore(start)
    act = stepped(run(changed, *acts), *changes)
    assert [flow.place for flow in act.flows] == [place for place, _ in changes]
    assert digest(changed) == digest(plain)
    again.keeper.restore(start)
    run(again, *acts)
    runner_of(again).carry_out(act, HeldScope(again))
    assert digest(again) == digest(plain)
    for held in (plain, changed, again):
        run(held, S)


# -- the kinds of nodes ------------------------------------------------------------------------------------------------
def small() -> Held:
    torch.manual_seed(0)
    return hold(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))


def test_what_arrives_at_a_parameter_is_what_is_added() -> None:
    held = run(small(), F, B, F)
    (before,) = (p.grad.clone() for name, p in held.parameters if name == "2.bias" and p.grad is not None)
    place = leaf_of(held, "2.bias")
    phase = stepping(held, B)
    assert phase.go("place", place=place)
    said = phase.ask(lambda: phase.change(assign("set node.in = [1, -1]")))
    assert said.startswith("node.in is [ 1.0000, -1.0000], it was [")
    phase.go("end")
    assert torch.equal(held.parameter("2.bias").grad, before + torch.tensor([1.0, -1.0]))  # type: ignore[arg-type]


def test_the_ledger_has_what_was_added_not_what_would_have_been() -> None:
    from gradstep.engine.observe.addends import AddendsRequest

    held = run(small(), F)
    held.addends.request = AddendsRequest("2.bias", (0,))
    place = leaf_of(held, "2.bias")
    stepped(held, (place, "set node.in = [1, -1]"))
    line = held.ledger.lines("2.bias")[-1]
    assert line.parts[0].whole is not None
    assert line.parts[0].whole.tolist() == [1.0, -1.0]


def test_none_cuts_the_gradient_as_torch_does() -> None:
    held = run(small(), F)
    stepped(held, (place_of(held, "Relu"), "set node.in = none"))
    assert {name: p.grad is None for name, p in held.parameters} == {
        "0.weight": True,
        "0.bias": True,
        "2.weight": False,
        "2.bias": False,
    }


def test_a_leaf_that_nothing_arrives_at_keeps_its_grad_none() -> None:
    held = run(small(), F)
    place = leaf_of(held, "2.bias")
    stepped(held, (place, "set node.in = none"))
    assert [name for name, p in held.parameters if p.grad is None] == ["2.bias"]


class Twice(torch.autograd.Function):
    """Two outputs and two inputs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, y * 3

    @staticmethod
    def backward(ctx: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a * 2, b * 3


def test_each_gradient_of_a_function_of_yours_is_changed_by_itself() -> None:
    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        a, b = Twice.apply(model(batch), model(-batch))  # type: ignore[no-untyped-call]
        return (a + b * b).sum()  # type: ignore[no-any-return]

    def workload() -> Held:
        torch.manual_seed(0)
        return hold(nn.Linear(3, 2), [torch.randn(4, 3)], compute_loss=loss)

    held = run(workload(), F)
    place = place_of(held, "Twice")
    assert "node.in is 2 gradients" in refused(held, place, "set node.in = 0")
    stepped(held, (place, "set node.in[1] = 0"), (place + 1, "set node.out[0][0, 1] = 0"))
    plain = run(workload(), F)
    graph = plain.graph()
    assert graph is not None
    node = graph.nodes[(place - 1) // 2]
    node.register_prehook(lambda g: (g[0], torch.zeros_like(g[1])))

    def zero(left: tuple[Tensor, ...], _: Any) -> tuple[Tensor, ...]:
        first = left[0].clone()
        first[0, 1] = 0
        return (first, left[1])

    node.register_hook(zero)
    run(plain, B)
    assert same(grads(held), grads(plain))


def test_where_several_meet_the_sum_is_changed_and_an_addend_by_what_leaves_its_node() -> None:
    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        h = model(batch)
        return (h.sin() + h.cos() * h).sum()  # type: ignore[no-any-return]

    torch.manual_seed(0)
    batch = torch.randn(4, 3)
    model = nn.Linear(3, 2)
    held = run(hold(model, [batch], compute_loss=loss), F)
    place = place_of(held, "Sin", "after")
    stepped(held, (place, "set node.out = 0"))
    h = torch.nn.functional.linear(batch, model.weight, model.bias)
    expected = torch.autograd.grad((h.cos() * h).sum(), [model.weight])[0]
    torch.testing.assert_close(model.weight.grad, expected)
    run(held, Z, F)
    join = place_of(held, "Addmm")
    phase = stepping(held, B)
    assert phase.go("place", place=join)
    assert phase.stop_place is not None
    assert len(phase.stop_place.addends) == 3
    phase.ask(lambda: phase.change(assign("set node.in = 0 * node.addends[0] + node.addends[1]")))
    addend = phase.stop_place.addends[1][2].clone()
    phase.go("end")
    torch.testing.assert_close(model.bias.grad, addend.sum(0))


def test_a_sparse_gradient_is_scaled_whole() -> None:
    def workload() -> Held:
        torch.manual_seed(0)
        model = nn.Embedding(6, 3, sparse=True)
        return hold(model, [torch.tensor([1, 4, 1])], compute_loss=lambda m, b: m(b).square().sum())

    held = run(workload(), F)
    leaf = place_of(held, "AccumulateGrad")
    assert "is sparse" in refused(held, leaf, "set node.in = 0")
    stepped(held, (leaf, "set node.in = 3 * node.in"))
    plain = run(workload(), F, B)
    ours, theirs = held.parameter("weight").grad, plain.parameter("weight").grad
    assert ours is not None
    assert theirs is not None
    assert ours.is_sparse
    torch.testing.assert_close(ours.to_dense(), 3 * theirs.to_dense())


def test_a_weight_that_is_put_there_is_copied() -> None:
    held = run(small(), F)
    place = leaf_of(held, "2.weight")
    stepped(held, (place, "set node.in = 2.weight"))
    weight, grad = held.parameter("2.weight"), held.parameter("2.weight").grad
    assert grad is not None
    assert torch.equal(weight, grad)
    assert weight.data_ptr() != grad.data_ptr()


# -- what is refused ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("node", "edge", "line", "why"),
    [
        ("Relu", "before", "set node.in = node.in[0]", "another shape can't flow there"),
        ("Relu", "before", "set node.in = node.in > 0", "another kind of tensor can't flow there"),
        ("Relu", "before", "set node.in = true", "this can't be assigned"),
        ("Relu", "before", 'set node.in = "x"', "this can't be assigned"),
        ("Relu", "before", "set node.in[0, 0] = none", "this can't be assigned"),
        ("Relu", "before", "set node.in[0, 99] = 1", "index 99 is out of range"),
        ("Relu", "before", "set node.in = nothing", "there is no `nothing`"),
        ("Relu", "before", "set node.out = 0", "has not run"),
        ("Relu", "before", "set node.name = 0", "can be edited"),
        ("Relu", "before", "set node.addends[0] = 0", "can be edited"),
        ("Relu", "after", "set node.in = 0", "has run, and has used what arrived"),
        ("Addmm", "after", "set node.out = 0", "node.out is 3 gradients"),
        ("Addmm", "after", "set node.out[7] = 0", "out"),
        ("Accumulate", "after", "set node.out = 0", "nothing leaves it"),
        ("Mse", "after", "set node.out[1] = 0", "torch does not accept a gradient where there was none"),
    ],
)
def test_what_torch_would_not_take_is_refused(node: str, edge: str, line: str, why: str) -> None:
    held = run(small(), F)
    assert why in refused(held, place_of(held, node, edge), line)
    run(held, B)
    assert same(grads(held), grads(run(small(), F, B)))


def test_at_a_module_there_is_no_gradient_to_change() -> None:
    held = small()
    phase = stepping(held, F)
    assert phase.go("into")
    with pytest.raises(GradstepError) as raised:
        phase.ask(lambda: phase.change(assign("set module.in = 0")))
    assert "a stop in a forward" in raised.value.problem.what
    phase.abandon()


def test_a_backward_that_does_not_come_to_the_place_is_undone() -> None:
    held = run(small(), F)
    before = digest(held)
    with pytest.raises(GradstepError) as raised:
        runner_of(held).carry_out(Backward(flows=(Flow(999, assign("set node.in = 0")),)), HeldScope(held))
    assert "differs from the one" in raised.value.problem.title
    assert digest(held) == before
    run(held, B)


# -- running it again --------------------------------------------------------------------------------------------------
def test_going_back_to_a_place_makes_the_changes_before_it_again() -> None:
    held = run(small(), F)
    relu, last = place_of(held, "Relu"), place_of(held, "Addmm", which=1)
    act = Backward(flows=(Flow(relu, assign("set node.in = 3 * node.in")), Flow(last, assign("set node.in[0] = 0"))))
    phase = stepping(held, act)
    assert phase.go("place", place=last)
    assert phase.stop_place is not None
    assert float(phase.stop_place.inputs[0][0].abs().sum()) == 0
    assert phase.stop_place.edited
    phase.go("end")
    other = run(small(), F)
    runner_of(other).carry_out(act, HeldScope(other))
    assert digest(other) == digest(held)


def test_a_let_that_was_used_is_used_again() -> None:
    held = run(small(), F)
    scope = HeldScope(held)
    scope.lets["v"] = torch.ones(3, 8)
    act = stepped(held, (place_of(held, "Relu"), "set node.in = 2 * v"), scope=scope)
    again = run(small(), F)
    other = HeldScope(again)
    other.lets["v"] = torch.ones(3, 8)
    runner_of(again).carry_out(act, other)
    assert digest(again) == digest(held)


@pytest.mark.parametrize("budget", [1 << 30, 1])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stop_is_come_back_to_with_and_without_a_budget(name: str, budget: int) -> None:
    traveller = Traveller(name, budget)
    for scale in (0.5, -1.5, 2):
        for line in ("forward", f"at 3 set node.in = {scale} * node.in", "step", "zero_grad"):
            assert traveller.take("act", line), traveller.refused
            traveller.check()
    numbers = sorted(traveller.digests, key=lambda number: (number * 7) % 5)
    again = sum(traveller.go(number).again for number in numbers)
    assert again > 0
    for number in numbers:
        traveller.go(number)
        assert traveller.digest() == traveller.digests[number]


def test_in_a_reentrant_checkpoint_a_place_is_the_same_place_again() -> None:
    build = HARD["reentrant checkpoint"]
    held, again = run(build(), F), run(build(), F)
    plain = run(build(), F, B)
    steps = stepping(run(build(), F), B)
    places: list[int] = []
    while steps.go("into"):
        assert steps.stop_place is not None
        if steps.stop_place.edge == "before":
            places.append(steps.place)
    act = stepped(held, *[(place, "set node.in = 2 * node.in") for place in places[1:]])
    runner_of(again).carry_out(act, HeldScope(again))
    assert digest(again) == digest(held) != digest(plain)
