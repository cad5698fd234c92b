"""Every place where gradients meet in models of `transformers` with random weights: the addends are the engine's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from gradstep.session.local import Session
from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.workload import Workload

Make = Callable[[Any], tuple[torch.nn.Module, dict[str, torch.Tensor]]]


def _tokens() -> dict[str, torch.Tensor]:
    tokens = torch.randint(0, 50, (2, 12))
    return {"input_ids": tokens, "labels": tokens}


def gpt2(t: Any) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    config = t.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0)
    return t.GPT2LMHeadModel(config), _tokens()


def llama(t: Any) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=50, num_key_value_heads=2, **sizes)), _tokens()


def bert(t: Any) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return t.BertForMaskedLM(t.BertConfig(vocab_size=50, **sizes)), _tokens()


def resnet(t: Any) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [2, 2], "layer_type": "basic"}
    model = t.ResNetForImageClassification(t.ResNetConfig(num_labels=4, **sizes))
    return model, {"pixel_values": torch.randn(2, 3, 16, 16), "labels": torch.tensor([0, 3])}


@pytest.mark.parametrize("make", [gpt2, llama, bert, resnet])
def test_at_every_join_the_addends_are_what_the_engine_used(make: Make) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, batch = make(transformers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compute_loss = lambda model, batch: model(**batch).loss  # noqa: E731
    session = Session(Workload(model, optimizer=optimizer, batches=[batch], compute_loss=compute_loss))
    assert session.forward().ok
    assert session.backward().ok
    (graph,) = session.look(LookGraph(0, 10_000, level=64))
    assert isinstance(graph, GraphView)
    met = Counter(target for row in graph.rows for target in row.edges)
    joins = [number for number, edges in met.items() if edges > 1]
    assert len(joins) > 3, "residual connections, at least"
    for number in joins:
        (view,) = session.look(LookContributions(number, count=1000))
        assert isinstance(view, ContributionsView)
        assert (view.count, view.exact, view.note) == (met[number], True, "")
        for total in view.totals:
            shares = [row.share for row in view.rows if row.output == total.output]
            if None not in shares:
                assert sum(shares) == pytest.approx(1.0, abs=1e-6)  # type: ignore[arg-type]
    session.close()
