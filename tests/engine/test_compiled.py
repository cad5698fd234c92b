"""`torch.compile`: a compiled region is one operation, and runs as it runs without gradstep."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from holding import B, F, S, Z, bits, hold, run
from running import runner_of
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch.nn import functional

from gradstep.engine.autograd.jacobian import Refusal, vjp
from gradstep.engine.diagnose.missing_grad import why_none
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.held import Held
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.rerun import backward_again
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Break
from gradstep.values.errors import GradstepError

COMPILED: Counter[str] = Counter()
"""How often Dynamo has handed a graph to the backend."""


def counting(graph: torch.fx.GraphModule, _: Any) -> Callable[..., Any]:
    COMPILED["graphs"] += 1
    forward: Callable[..., Any] = graph.forward
    return forward


@pytest.fixture(autouse=True)
def _dynamo() -> Iterator[None]:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    COMPILED.clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Using `torch.compile")
        yield
    torch._dynamo.reset()


class Net(nn.Module):
    def __init__(self, breaks: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.drop, self.breaks = nn.Linear(4, 8), nn.Linear(8, 2), nn.Dropout(0.1), breaks

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        h = torch.relu(self.a(x)) * scale
        if self.breaks:
            torch._dynamo.graph_break()
        out: Tensor = self.b(self.drop(h))
        return out


class Outer(nn.Module):
    """An eager model with a compiled child, and one that compiles a function in its forward."""

    def __init__(self, inner: nn.Module, late: bool = False) -> None:
        super().__init__()
        self.inner, self.last, self.late = inner, nn.Linear(2, 2), late

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x, scale=0.5)
        h = torch.compile(_doubled, backend=counting)(h) if self.late else h
        out: Tensor = self.last(h)
        return out


class Layer(nn.TransformerEncoderLayer):
    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        out: Tensor = torch.compile(_doubled, backend=counting)(super().forward(*args, **kwargs))
        return out


class Encoder(nn.Module):
    """One of torch's modules that take another way in eval where somebody looks, with a compiled part."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.last = nn.TransformerEncoder(Layer(4, 2, 8, batch_first=True), 2), nn.Linear(4, 2)
        self.encoder.eval()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.encoder(x[:, None])[:, 0])
        return out


def _doubled(x: Tensor) -> Tensor:
    return x.sin() * 2


def compiled(module: nn.Module, **options: Any) -> nn.Module:
    wrapped: nn.Module = torch.compile(module, backend=counting, **options)
    return wrapped


def in_place(module: nn.Module, **options: Any) -> nn.Module:
    module.compile(backend=counting, **options)
    return module


def of_method(module: nn.Module) -> nn.Module:
    module.forward = torch.compile(module.forward, backend=counting)  # type: ignore[method-assign]
    return module


Made = tuple[nn.Module, Any]
MODELS: dict[str, Callable[[], Made]] = {
    "torch.compile(model)": lambda: (compiled(Net()), functional.mse_loss),
    "fullgraph": lambda: (compiled(Net(), fullgraph=True), functional.mse_loss),
    "dynamic": lambda: (in_place(Net(), dynamic=True), functional.mse_loss),
    "model.compile()": lambda: (in_place(Net()), functional.mse_loss),
    "compiled forward": lambda: (of_method(Net()), functional.mse_loss),
    "graph breaks": lambda: (compiled(Net(breaks=True)), functional.mse_loss),
    "compiled child": lambda: (Outer(in_place(Net())), functional.mse_loss),
    "wrapped child": lambda: (Outer(compiled(Net(breaks=True))), functional.mse_loss),
    "compiled in a compiled one": lambda: (in_place(Outer(in_place(Net()))), functional.mse_loss),
    "compiled in the forward": lambda: (Outer(Net(), late=True), functional.mse_loss),
    "compiled loss": lambda: (Net(), torch.compile(functional.mse_loss, backend=counting)),
    "compiled part of an encoder in eval": lambda: (Encoder(), functional.mse_loss),
}

Trained = tuple[list[tuple[float, list[bytes | None]]], dict[str, Any]]


def counts() -> dict[str, Any]:
    return {**COMPILED, **{key: dict(found) for key, found in torch._dynamo.utils.counters.items()}}


def data() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, 4), torch.randn(3, 2)


def alone(make: Callable[[], Made]) -> Trained:
    torch.manual_seed(0)
    (model, loss), (x, target) = make(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    for _ in range(3):
        made = loss(model(x), target)
        made.backward()
        seen.append((made.item(), [bits(p.grad) for p in model.parameters()]))
        optimizer.step()
        optimizer.zero_grad()
    return seen, counts()


def observed(make: Callable[[], Made], forward: Callable[[Held], None]) -> Trained:
    torch.manual_seed(0)
    model, loss = make()
    held = hold(model, [data()], loss=loss)
    seen = []
    for _ in range(3):
        forward(held)
        assert isinstance(held.point.watched.output, Tensor)
        run(held, B)
        assert held.point.value is not None
        seen.append((held.point.value, [bits(p.grad) for p in model.parameters()]))
        run(held, S, Z)
    return seen, counts()


def looked_at(held: Held) -> None:
    held.recording.lines = held.recording.zeros = True
    run(held, F)


def stepped(held: Held) -> None:
    phase = stepping(held)
    while phase.go("into"):
        pass


def looked_at_again(held: Held) -> None:
    looked_at(held)
    backward_again(held, lambda _: None)


def stepping(held: Held) -> Stepping:
    return Stepping(runner_of(held), F, Breakpoints(), lambda _: True, str, scope=HeldScope(held))


@pytest.mark.parametrize("forward", [looked_at, stepped, looked_at_again])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_is_compiled_trains_as_without_gradstep_and_compiles_as_often(
    make: Callable[[], Made], forward: Callable[[Held], None]
) -> None:
    wanted = alone(make)
    assert wanted[1]["graphs"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    COMPILED.clear()
    found = observed(make, forward)
    assert found[0] == wanted[0]
    assert found[1] == wanted[1]


def places(held: Held) -> list[tuple[str, str, str, bool]]:
    phase, seen = stepping(held), []
    while phase.go("into"):
        here = phase.stop_place
        assert here is not None
        seen.append((here.edge, here.path, here.name, here.compiled))
    return seen


def test_a_compiled_child_is_stepped_over_and_the_rest_into() -> None:
    assert places(hold(Outer(in_place(Net())), [data()])) == [
        ("enter", "", "Outer", False),
        ("enter", "inner", "Net", True),
        ("exit", "inner", "Net", True),
        ("enter", "last", "Linear", False),
        ("exit", "last", "F.linear", False),
        ("exit", "last", "Linear", False),
        ("exit", "", "Outer", False),
        ("exit", "", "F.mse_loss", False),
    ]


def test_a_compiled_function_is_one_operation_with_the_line_that_calls_it() -> None:
    held = hold(Outer(Net(), late=True), [data()])
    phase = stepping(held)
    while phase.go("into") and phase.stop_place is not None and not phase.stop_place.compiled:
        pass
    assert phase.position is not None
    assert (phase.position.name, phase.position.path) == ("compiled _doubled", "")
    assert "torch.compile(_doubled" in phase.position.source.text
    assert phase.stop_place is not None
    assert len(phase.stop_place.inputs) == 1
    assert isinstance(phase.stop_place.outputs, tuple)
    phase.abandon()


def test_what_the_compiler_computes_itself_is_no_backward_of_the_forward() -> None:
    inner = Net()
    inner.compile(backend="aot_eager")
    names = [name for _, _, name, _ in places(hold(Outer(inner), [data()]))]
    assert names == ["Outer", "Net", "Net", "Linear", "F.linear", "Linear", "Outer", "F.mse_loss"]


def test_keywords_of_a_compiled_module_are_seen() -> None:
    phase = stepping(hold(Outer(in_place(Net())), [data()]))
    while phase.go("into") and phase.stop_place is not None and not phase.stop_place.compiled:
        pass
    assert phase.stop_place is not None
    assert phase.stop_place.keywords == {"scale": 0.5}
    phase.abandon()


def test_a_forward_that_is_given_up_at_a_compiled_module_leaves_torch_as_it_was() -> None:
    held = hold(Outer(compiled(Net(), fullgraph=True)), [data()])
    run(held, F, B)
    for stops in range(1, 6):
        phase = stepping(held)
        for _ in range(stops):
            assert phase.go("into")
        phase.abandon()
        assert torch._C._dynamo.eval_frame.get_eval_frame_callback() is None
        assert not torch.overrides._is_torch_function_mode_enabled()
    run(held, F)
    assert COMPILED["graphs"] == 1


def test_torch_runs_it_uncompiled_where_it_is_told_to() -> None:
    held = hold(in_place(Net()), [data()])
    with torch.compiler.set_stance("force_eager"):
        seen = places(held)
    assert ("exit", "", "torch.relu", False) in seen
    assert not COMPILED


def test_a_region_that_raises_raises_its_own_error_and_leaves_nothing() -> None:
    class Bad(Net):
        def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
            raise ValueError(f"not with {scale}")

    held = hold(Outer(in_place(Bad())), [data()])
    held.recording.lines = True
    with pytest.raises(Exception, match="not with"):
        run(held, F)
    assert not torch.nn.modules.module._has_any_global_hook()
    assert not torch.overrides._is_torch_function_mode_enabled()


def test_a_breakpoint_inside_a_region_says_that_it_is_not_hit() -> None:
    held = hold(Outer(in_place(Net())), [data()])
    rows = Breakpoints()
    assert "`inner Net` is compiled" in rows.add(Break("module", "inner.a"), held)
    assert "not hit" in rows.add(Break("module", "Dropout"), held)
    for reachable in ("inner", "last", "Linear", "Net"):
        assert "not hit" not in rows.add(Break("module", reachable), held)
    whole = hold(compiled(Net()), [data()])
    assert "not hit" not in rows.add(Break("module", "_orig_mod"), whole)
    assert "`_orig_mod Net` is compiled" in rows.add(Break("module", "_orig_mod.a"), whole)


def counted_both_ways() -> Any:
    """Return a backend that counts the graphs of forward and backward that AOTAutograd makes."""

    def counted(way: str) -> Callable[..., Any]:
        def compile_(graph: torch.fx.GraphModule, _: Any) -> Any:
            COMPILED[way] += 1
            return make_boxed_func(graph.forward)

        return compile_

    return aot_autograd(fw_compiler=counted("graphs"), bw_compiler=counted("backward"))


def test_a_backward_that_is_looked_at_compiles_once_and_gives_the_same_bits() -> None:
    def make() -> Made:
        model = Outer(Net())
        model.inner.compile(backend=counted_both_ways())
        return model, functional.mse_loss

    wanted = alone(make)
    assert wanted[1]["backward"] == 1
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    COMPILED.clear()
    torch.manual_seed(0)
    model, loss = make()
    held = hold(model, [data()], loss=loss)
    seen = []
    for _ in range(3):
        run(held, F)
        for number in range(2):
            if number:
                run(held, B)
                seen.append((held.point.value, [bits(p.grad) for p in model.parameters()]))
            arrived: list[str] = []
            graph = backward_again(held, lambda here, seen=arrived: seen.append(here.name))
            assert arrived.count("CompiledFunctionBackward") == 2
            place = next(i for i, node in enumerate(graph.nodes) if node.name() == "CompiledFunctionBackward")
            refused = vjp(graph.nodes[place], torch.ones(3, 2), asked=True)
            assert isinstance(refused, Refusal)
            assert refused.kind == "compiled"
            assert isinstance(vjp(graph.nodes[0], torch.ones(())), tuple), "the graph that is given back is alive"
        run(held, S, Z)
    assert seen == wanted[0]
    assert counts() == wanted[1]


def test_a_compiled_graph_of_old_weights_is_refused_in_torchs_words() -> None:
    model = Outer(Net())
    model.inner.compile(backend=counted_both_ways())
    held = hold(model, [data()])
    run(held, F, B, F, B, S)
    with pytest.raises(GradstepError, match=r"second time|inplace"):
        run(held, B)


class Detaches(Net):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return self.b(self.a(x).detach()) * scale  # type: ignore[no-any-return]


def test_where_a_path_ends_inside_a_region_is_found_by_running_it_uncompiled() -> None:
    inner = Detaches()
    inner.compile(backend="aot_eager")
    held = run(hold(Outer(inner), [data()]), F, B)
    weight = held.tensor("inner.a.weight")
    assert weight is not None
    before = counts()
    place, cause = why_none(held, "inner.a.weight", weight)
    assert "ends at torch.Tensor.detach at test_compiled.py:" in place
    assert "detached from the graph" in cause
    assert counts() == before


def test_in_the_graph_a_region_is_one_node_with_the_line_that_calls_it() -> None:
    inner = Net()
    inner.compile(backend="aot_eager")
    held = hold(Outer(inner), [data()])
    held.recording.lines = True
    run(held, F)
    graph = held.graph()
    assert graph is not None
    place = next(i for i, node in enumerate(graph.nodes) if node.name() == "CompiledFunctionBackward")
    assert graph.owners[place] == "inner"
    line = held.line_of(place)
    assert line is not None
    assert line.file == __file__
    run(held, B)
