"""Held workloads of whole models: every example, and models of `transformers` with random weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from holding import hold
from torch import Tensor, nn

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.debuggee.loading import build, find_factory
from gradstep.engine.held import Held
from gradstep.examples import EXAMPLES

os.environ["HF_HUB_OFFLINE"] = "1"


def example(name: str) -> Held:
    seed_everything(0)
    return Held(build(find_factory(name, ""), name), torch.device("cpu"))


def _language(kind: str, made: str, **sizes: Any) -> Callable[[], Held]:
    def build() -> Held:
        import transformers

        seed_everything(0)
        config = getattr(transformers, f"{made}Config")(vocab_size=40, **sizes)
        model = getattr(transformers, f"AutoModelFor{kind}").from_config(config).train()
        return hold(model, [torch.randint(2, 40, (2, 7))], compute_loss=_loss)

    return build


def _loss(model: nn.Module, batch: Tensor) -> Tensor:
    loss: Tensor = model(input_ids=batch, labels=batch).loss
    return loss


def resnet() -> Held:
    from transformers import ResNetConfig, ResNetForImageClassification

    seed_everything(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_labels=5)
    batch = (torch.randn(2, 3, 32, 32), torch.tensor([1, 2]))
    return hold(
        ResNetForImageClassification(config).train(),
        [batch],
        compute_loss=lambda model, b: model(pixel_values=b[0], labels=b[1]).loss,
    )


_SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

MODELS: dict[str, Callable[[], Held]] = {
    **{name: (lambda name=name: example(name)) for name in EXAMPLES},
    "gpt2": _language("CausalLM", "GPT2", n_positions=16, n_embd=16, n_layer=2, n_head=2),
    "llama": _language("CausalLM", "Llama", num_key_value_heads=1, **_SMALL),
    "bert": _language("MaskedLM", "Bert", **_SMALL),
    "resnet": resnet,
}
