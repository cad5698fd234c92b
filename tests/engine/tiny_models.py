"""Losses of small models: every example, and models of `transformers` with random weights."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.examples import EXAMPLES


def loss_of_example(name: str) -> Tensor:
    """Return the loss of one batch of an example."""
    seed_everything(0)
    workload = importlib.import_module(f"gradstep.examples.{name}").workload()
    batch: Any = workload.batches() if callable(workload.batches) else workload.batches[0]
    loss: Tensor = workload.loss(workload.model(batch[0]), batch[1])
    return loss


def gpt2() -> Tensor:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    return _said(GPT2LMHeadModel(GPT2Config(vocab_size=64, **sizes)))


def bert() -> Tensor:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    return _said(BertForMaskedLM(BertConfig(vocab_size=64, max_position_embeddings=32, **sizes)))


def t5() -> Tensor:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    return _said(T5ForConditionalGeneration(T5Config(vocab_size=64, decoder_start_token_id=0, **sizes)))


def llama() -> Tensor:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return _said(LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=2, **sizes)))


def resnet() -> Tensor:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1, 1, 1, 1], num_labels=5)
    loss: Tensor = ResNetForImageClassification(config)(
        pixel_values=torch.randn(2, 3, 32, 32), labels=torch.tensor([1, 2])
    ).loss
    return loss


class Dense(nn.Module):
    """Every layer reads the outputs of all layers before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(4)])

    def forward(self, x: Tensor) -> Tensor:
        said = [x]
        for layer in self.layers:
            said.append(layer(torch.cat(said, 1)).relu())
        return torch.cat(said, 1)


def dense() -> Tensor:
    return Dense()(torch.randn(2, 3, 6, 6)).pow(2).mean()


def recurrent() -> Tensor:
    return nn.LSTM(4, 8, 2, batch_first=True)(torch.randn(2, 5, 4))[0].sum()


def encoder() -> Tensor:
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)(torch.randn(2, 5, 16)).pow(2).sum()


def in_place() -> Tensor:
    x = torch.randn(4, 4, requires_grad=True)
    y = x * 2
    y[0] = y[1] * 3
    return (y.relu_() * y).sum()


def mixed() -> Tensor:
    """Unused outputs, half precision, a broadcast, complex numbers."""
    x = torch.randn(4, 4, requires_grad=True)
    first, _ = x.split(2)
    parts = first.sum() + x.unbind(1)[0].sum() + x.topk(2)[0].sum() + x.max(1)[0].sum() + x.half().sum().float()
    turned = torch.view_as_real(x.to(torch.complex64) * 1j).sum()
    return parts + turned + (x + x[0]).prod() + torch.linalg.svd(x)[1].sum() + x[[0, 1, 1]].sum()


MODELS: dict[str, Callable[[], Tensor]] = {
    **{name: (lambda name=name: loss_of_example(name)) for name in EXAMPLES},
    **{m.__name__: m for m in (gpt2, bert, t5, llama, resnet, dense, recurrent, encoder, in_place, mixed)},
}


def nodes_of(loss: Tensor) -> list[Any]:
    """Return every node of a loss's graph."""
    found: dict[Any, None] = {loss.grad_fn: None}
    todo: list[Any] = [loss.grad_fn]
    while todo:
        for following, _ in todo.pop().next_functions:
            if following is not None and following not in found:
                found[following] = None
                todo.append(following)
    return list(found)


def _said(model: Any) -> Tensor:
    words = torch.randint(0, 64, (2, 16))
    loss: Tensor = model(input_ids=words, labels=words).loss
    return loss
