"""GPT-2 with 124 million parameters and random weights, on tokens drawn at random: `gpt2_workload.py:workload`.

Needs transformers: `pip install transformers`. Nothing is downloaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gradstep

ROWS, TOKENS = 2, 16
RATE = 0.001


def build() -> tuple[nn.Module, Tensor]:
    """Return the model, and a batch of tokens."""
    try:
        from transformers import GPT2Config, GPT2LMHeadModel
    except ImportError as error:
        raise SystemExit("this benchmark needs transformers: pip install transformers") from error
    config = GPT2Config(use_cache=False)
    model = GPT2LMHeadModel(config)
    return model, torch.randint(config.vocab_size, (ROWS, TOKENS))


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the mean cross-entropy of each next token."""
    loss: Tensor = model(input_ids=tokens, labels=tokens).loss
    return loss


def workload() -> gradstep.Workload:
    """Return it for gradstep, opened on the first weights of the first token."""
    model, tokens = build()
    return gradstep.Workload(
        model,
        compute_loss=loss_of,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=RATE),
        batches=[tokens],
        show="transformer.wte.weight",
        name="gpt2",
    )
