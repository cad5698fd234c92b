"""Back in time on two models of transformers, with random small configurations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from travelling import Traveller

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.held import Held
from gradstep.workload import Workload

transformers = pytest.importorskip("transformers")


def gpt2(heads: int, layers: int, dropout: float) -> Any:
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=19,
            n_positions=12,
            n_embd=4 * heads,
            n_head=heads,
            n_layer=layers,
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=dropout,
        )
    )


def bert(heads: int, layers: int, dropout: float) -> Any:
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=19,
            max_position_embeddings=12,
            hidden_size=4 * heads,
            num_attention_heads=heads,
            num_hidden_layers=layers,
            intermediate_size=8,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def traveller(make: Any, heads: int, layers: int, dropout: float, budget: int) -> Traveller:
    seed_everything(0)
    tokens = [{"input_ids": torch.randint(19, (2, 8))} for _ in range(3)]
    workload = Workload(
        make(heads, layers, dropout),
        compute_loss=lambda model, batch: model(**batch, labels=batch["input_ids"]).loss,
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.01),
        batches=tokens,
        schedulers=lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 50),
    )
    return Traveller.of(Held(workload, torch.device("cpu")), budget)


CONFIGURATIONS = {"heads": st.integers(1, 3), "layers": st.integers(1, 2), "dropout": st.sampled_from([0.0, 0.3])}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("loop"), st.integers(1, 2)),
        st.tuples(st.just("undo"), st.integers(1, 5)),
        st.tuples(st.just("goto"), st.integers(0, 50)),
        st.tuples(st.just("act"), st.sampled_from(["next_batch", "forward", "backward", "step", "clip grad norm=0.5"])),
    ),
    min_size=2,
    max_size=8,
)


@pytest.mark.parametrize("make", [gpt2, bert])
@settings(max_examples=6)
@given(steps=STEPS, **CONFIGURATIONS)
def test_undo_of_everything_and_a_tiny_budget(
    make: Any, heads: int, layers: int, dropout: float, steps: list[tuple[str, object]]
) -> None:
    rich, poor = (traveller(make, heads, layers, dropout, budget) for budget in (1 << 30, 1))
    for step in steps:
        for each in (rich, poor):
            each.alone(step)
        assert poor.digests == rich.digests
    end = rich.timeline.here().number
    for each in (rich, poor):
        each.go(1)
        assert each.digest() == each.digests[1]
        each.go(end)
        assert each.digest() == each.digests[end]
