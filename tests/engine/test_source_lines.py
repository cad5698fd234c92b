"""Source lines: where each node was made, and that noting them changes no result."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from holding import B, F, Fuse, Pass, S, Z, bits, hold, run
from test_graph import MODELS
from torch import Tensor, nn

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.held import Held
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import Lines
from gradstep.examples import EXAMPLES


class Marked(nn.Module):
    """Each line that makes a node ends in its name."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 2)))
        self.fuse = Fuse()

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)  # Addmm Tanh T
        y = (  # a statement of several lines
            y * 2  # Mul
        )
        z = y.relu()  # Relu
        z = Pass.apply(z, self.fuse)  # Pass
        return z - next(part.exp() for part in (z,))  # Exp Sub


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Tensor:
        return v * 2


def text_at(held: Held, name: str) -> str:
    graph = held.graph()
    assert graph is not None
    assert graph.lines is not None
    places = [graph.lines.at(node._sequence_nr()) for node in graph.nodes if node.name().startswith(name)]
    assert len(set(places)) == 1
    assert places[0] is not None
    assert places[0].file == __file__
    return Path(__file__).read_text().split("\n")[places[0].line - 1]


def noted(held: Held) -> Held:
    held.recording.lines = True
    return run(held, F)


@pytest.mark.parametrize("name", ["Addmm", "Tanh", "T", "Mul", "Relu", "Pass", "Exp", "Sub"])
def test_a_node_was_made_where_the_users_innermost_line_is(name: str) -> None:
    assert name in text_at(noted(hold(Marked())), f"{name}Backward").split("#")[1].split()


def test_a_node_that_no_operation_was_seen_to_make_is_where_its_module_was_called() -> None:
    class Unseen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():
                return x.sinh()

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.unseen = nn.Linear(4, 2), Unseen()

        def forward(self, x: Tensor) -> Tensor:
            return self.unseen(self.layer(x))  # here

    assert text_at(noted(hold(Outer())), "Sinh").endswith("# here")


def test_an_apply_that_was_bound_before_and_what_its_function_calls_have_the_line_of_the_call() -> None:
    bound = Twice.apply

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x).tanh()
            return bound(y) + 1  # here

    before = torch._functorch.utils.unwrap_dead_wrappers
    held = noted(hold(Root()))
    assert text_at(held, "Twice").endswith("# here")
    assert text_at(held, "Tanh").endswith("tanh()")
    assert torch._functorch.utils.unwrap_dead_wrappers is before


def test_gradsteps_own_call_and_what_is_behind_it_are_no_lines_of_the_users() -> None:
    held = noted(hold(nn.Sequential(nn.Linear(4, 2))))  # this line is on the stack
    graph = held.graph()
    assert graph is not None
    assert graph.lines is not None
    assert {graph.lines.at(node._sequence_nr()) for node in graph.nodes} == {None}


def test_a_line_of_another_packages_model_is_given() -> None:
    held = noted(MODELS["gpt2"]())
    graph = held.graph()
    assert graph is not None
    assert graph.lines is not None
    leaves = set(graph.leaves)
    places = [graph.lines.at(n._sequence_nr()) for i, n in enumerate(graph.nodes) if i not in leaves]
    files = {Path(place.file).name for place in places if place is not None}
    assert None not in places
    assert "modeling_gpt2.py" in files
    assert not any("torch" in Path(place.file).parts for place in places if place is not None)
    assert len(set(places)) > 20


def test_each_call_has_its_line() -> None:
    held = noted(hold(Marked()))
    graph = held.graph()
    assert graph is not None
    assert graph.lines is not None
    start = inspect.getsourcelines(Marked.forward)[1]
    calls = dict(zip((call.path for call in graph.made.calls), graph.lines.calls, strict=True))
    assert calls[""] is None
    assert {path: place.line - start for path, place in calls.items() if place is not None} == dict.fromkeys(
        ("inner", "inner.0", "inner.1", "inner.1.0", "inner.1.1"), 1
    )


@pytest.mark.parametrize("name", [*EXAMPLES, "gpt2", "t5"])
def test_training_is_the_same_to_the_bit(name: str) -> None:
    def train(lines: bool) -> list[Any]:
        held = MODELS[name]()
        held.recording.lines = lines
        for _ in range(3):
            run(held, F, B, S, Z, F, B)
        kept = [bits(p) for _, p in held.parameters] + [bits(p.grad) for _, p in held.parameters]
        return [*kept, [bits(buffer) for _, buffer in held.buffers()], held.losses]

    assert train(True) == train(False)


class Frozen(nn.Module):
    """A frozen encoder in eval, which takes its fast path, before a head that learns."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval().requires_grad_(False)
        self.head = nn.Linear(4, 2)
        self.seen: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.tensor([[False, False, True]])
        with torch.no_grad():
            hidden = self.encoder(x.unsqueeze(0), src_key_padding_mask=padded)
        self.seen.append(torch.overrides._is_torch_function_mode_enabled())
        return self.head(hidden[0])


def test_a_fast_path_in_eval_is_taken_all_the_same() -> None:
    def loss(lines: bool) -> tuple[Any, list[bool]]:
        seed_everything(0)
        held = hold(Frozen(), [(torch.randn(3, 4), torch.randn(3, 2))])
        held.recording.lines = lines
        run(held, F, B)
        return (held.losses, [bits(p.grad) for _, p in held.parameters]), held.model.seen

    (plain, off), (watched, on) = loss(False), loss(True)
    assert plain == watched
    assert (off, on) == ([False], [True])  # the mode is back after the encoder


def test_nothing_of_it_is_left_when_a_forward_raises_inside_a_hidden_module() -> None:
    encoder = nn.TransformerEncoderLayer(4, 2, 8).eval()
    before = torch.nn.modules.module._global_forward_pre_hooks.copy()
    with pytest.raises(AssertionError), observe(Lines().consumer([encoder])):
        encoder(torch.randn(3, 5))
    assert torch.nn.modules.module._global_forward_pre_hooks == before
    assert not torch.overrides._is_torch_function_mode_enabled()
    assert torch._C._is_torch_function_enabled()


COMPILED = """
import torch
from torch import nn
from holding import F, B, hold, run, bits

inner = torch.compile(lambda x: x.sin() * 2, backend="eager")

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
    def forward(self, x):
        return self.last(inner(self.first(x)))  # the call

def grads(lines):
    torch.manual_seed(0)
    held = hold(Own())
    held.recording.lines = lines
    run(held, F, B)
    return held, [bits(p.grad) for _, p in held.parameters]

with_lines, without = grads(True), grads(False)
assert with_lines[1] == without[1]
graph = with_lines[0].graph()
lines = {graph.nodes[i].name(): graph.lines.at(graph.nodes[i]._sequence_nr()) for i in range(len(graph.nodes))}
assert lines["SinBackward0"] == lines["AddmmBackward0"] is not None, lines
print("the same")
"""


def test_what_a_compiled_region_makes_was_made_where_it_is_called(tmp_path: Path) -> None:
    script = tmp_path / "compiled.py"
    script.write_text(COMPILED)
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, str(script)], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "the same", done.stderr
    assert "__torch_function__" not in done.stderr


LONG: dict[str, str] = {
    "the loss outlives the record": "record(loss.grad_fn, Owners()); del loss",
    "the record outlives the loss": "kept = record(loss.grad_fn, Owners()); del loss; del kept",
    "a tensor in the middle outlives both": "kept = record(loss.grad_fn, Owners()); del loss, kept; del middle",
}


@pytest.mark.parametrize("order", LONG.values(), ids=LONG)
def test_a_long_graph_that_was_walked_is_freed_without_overflowing_the_stack(order: str) -> None:
    code = f"""
import torch
from gradstep.engine.autograd.graph import Owners, record
weight = torch.ones(1, requires_grad=True)
x = weight
for i in range(60_000):
    x = x * 1.0 + 0.5
    if i == 50_000:
        middle = x
loss = x.sum()
del x
if "middle" not in {order!r}:
    del middle
{order}
print("freed")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "freed"), done.stderr
