"""The graph as walked equals torch's own: nodes, edges, the order in which they run, and the modules that made them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, Fuse, Pass, S, bits, failed, hold, run
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils.checkpoint import checkpoint

from gradstep.engine.autograd.buffers import is_freed, is_written
from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.debuggee.loading import build, find_factory
from gradstep.engine.held import Held
from gradstep.examples import EXAMPLES
from gradstep.values.commands import Backward

os.environ["HF_HUB_OFFLINE"] = "1"


def example(name: str) -> Held:
    seed_everything(0)
    return Held(build(find_factory(name, ""), name), torch.device("cpu"))


def language(config: Any) -> Callable[[], Held]:
    """Return a builder of a model with random weights, from a tiny configuration."""

    def build() -> Held:
        from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

        name, made = config()
        kind = {"bert": AutoModelForMaskedLM, "t5": AutoModelForSeq2SeqLM}.get(name, AutoModelForCausalLM)
        seed_everything(0)
        ids = torch.randint(2, 40, (2, 7))
        return hold(
            kind.from_config(made).train(),
            [ids],
            compute_loss=lambda model, batch: model(input_ids=batch, labels=batch).loss,
        )

    return build


def gpt2() -> tuple[str, Any]:
    from transformers import GPT2Config

    return "gpt2", GPT2Config(vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2)


def llama() -> tuple[str, Any]:
    from transformers import LlamaConfig

    return "llama", LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )


def bert() -> tuple[str, Any]:
    from transformers import BertConfig

    return "bert", BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )


def t5() -> tuple[str, Any]:
    from transformers import T5Config

    return "t5", T5Config(
        vocab_size=40, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, decoder_start_token_id=0
    )


MODELS: dict[str, Callable[[], Held]] = {
    **{name: (lambda name=name: example(name)) for name in EXAMPLES},
    "gpt2": language(gpt2),
    "llama": language(llama),
    "bert": language(bert),
    "t5": language(t5),
}


@pytest.mark.parametrize("name", MODELS)
def test_nodes_edges_and_order_are_torchs(name: str) -> None:
    held = run(MODELS[name](), F)
    graph = held.graph()
    assert graph is not None

    # an independent walk: breadth first, by the nodes themselves
    root = held.point.loss.grad_fn  # type: ignore[union-attr]
    nodes, edges = [root], {}
    for node in nodes:
        edges[node] = [n for n, _ in node.next_functions if n is not None]
        nodes += [n for n in dict.fromkeys(edges[node]) if n not in nodes]
    assert set(graph.nodes) == set(nodes)
    assert len(graph.nodes) == len(nodes)
    assert {n: [graph.nodes[i] for i in to] for n, to in zip(graph.nodes, graph.edges, strict=True)} == edges
    assert all(to > i for i, targets in enumerate(graph.edges) for to in targets)

    fired: list[Node] = []
    handles = [node.register_prehook(lambda _, node=node: fired.append(node)) for node in nodes]
    run(held, B)
    for handle in handles:
        handle.remove()
    assert fired == graph.nodes


@pytest.mark.parametrize("name", ["cnn", "rnn", "gpt", "gpt2", "bert"])
def test_each_node_belongs_to_the_innermost_module_that_made_it(name: str) -> None:
    held = MODELS[name]()
    # what a module returns was made inside it, and inside no module that it does not contain
    returned: list[tuple[str, Node]] = []

    def note(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.grad_fn is not None:
            returned.append((held.paths[module], output.grad_fn))

    handles = [module.register_forward_hook(note) for module in held.modules]
    run(held, F)
    for handle in handles:
        handle.remove()
    graph = held.graph()
    assert graph is not None
    owner = dict(zip(graph.nodes, graph.owners, strict=True))
    seen: set[Node] = set()
    checked = 0
    for path, node in returned:  # the innermost comes first: a node that passes through outer ones stays its own
        if node in owner and node not in seen:
            seen.add(node)
            assert owner[node] == path
            checked += 1
    assert checked > 3
    assert owner[held.point.loss.grad_fn] in ((None,) if name in EXAMPLES else ("",))  # type: ignore[index, union-attr]
    assert {owner[node] for node in graph.nodes if leaf_tensor(node) is not None} == {None}


def test_a_graph_of_ten_thousand_nodes_is_walked_without_recursion() -> None:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.5))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(5000):
                x = x * self.weight + 1
            return x

    held = run(hold(Long(), [(torch.ones(2), torch.ones(2))]), F)
    graph = held.graph()
    assert graph is not None
    assert len(graph.nodes) == 2 * 5000 + 2
    assert all(owner == "" for owner in graph.owners[1:3])


def test_freed_is_said_of_nodes_that_saved_something() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    run(held, F)
    graph = held.graph()
    assert graph is not None
    answers = {node.name(): is_freed(node) for node in graph.nodes}
    assert answers["ReluBackward0"] is False
    assert answers["AddmmBackward0"] is False
    assert answers["torch::autograd::AccumulateGrad"] is None
    run(held, Backward(retain_graph=True))
    assert {is_freed(node) for node in graph.nodes} == {None, False}
    run(held, B)
    assert {is_freed(node) for node in graph.nodes} == {None, True}


def test_written_is_not_freed() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    run(held, F, Backward(retain_graph=True), S)
    graph = held.graph()
    assert graph is not None
    assert any(map(is_written, graph.nodes))
    assert True not in {is_freed(node) for node in graph.nodes}


def test_a_custom_functions_node_can_be_asked() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Pass.apply(super().forward(x), Fuse())

    held = run(hold(Own(4, 2)), F)
    graph = held.graph()
    assert graph is not None
    node = next(n for n in graph.nodes if "Pass" in n.name())
    assert is_freed(node) is False
    run(held, B)
    assert is_freed(node) is True


@pytest.mark.parametrize("reentrant", [True, False])
def test_looking_at_a_checkpointed_graph_leaves_its_backward_alone(reentrant: bool) -> None:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
            self.block = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(0.5))
            self.runs = 0

        def forward(self, x: Tensor) -> Tensor:
            def inner(x: Tensor) -> Tensor:
                self.runs += 1
                return self.block(x) ** torch.tensor(2.0)

            return self.last(checkpoint(inner, self.first(x), use_reentrant=reentrant))

    def train(look: bool) -> list[bytes | None]:
        seed_everything(3)
        held = hold(Saving())
        for _ in range(3):
            run(held, F)
            graph = held.graph()
            if look and graph is not None:
                before = held.model.runs
                assert [is_freed(n) for n in graph.nodes]
                assert not any(map(is_written, graph.nodes))
                assert held.model.runs == before
            run(held, B, S)
        return [bits(p) for _, p in held.parameters] + [bits(p.grad) for _, p in held.parameters]

    assert train(look=True) == train(look=False)


def test_a_loss_without_a_graph_has_none() -> None:
    held = hold(nn.Linear(4, 2).requires_grad_(False))
    run(held, F)
    assert held.graph() is None
    assert "does not require grad" in failed(held, B).what
