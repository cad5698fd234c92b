"""The forward of models that nobody here wrote, walked again: it finds every path that the graph has, and no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from holding import B, F, run
from torch import Tensor, nn
from whole_models import MODELS

from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.diagnose.loss_dependencies import LossDependencies
from gradstep.engine.diagnose.missing_grad import why_none
from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest

LARGE = ("gpt", "gpt2", "bert", "resnet")


def in_the_graph(held: Held) -> list[tuple[str, Tensor]]:
    graph = held.graph()
    assert graph is not None
    leaves = {id(leaf_tensor(graph.nodes[place])) for place in graph.leaves}
    return [(name, parameter) for name, parameter in held.parameters if id(parameter) in leaves]


def some(named: list[tuple[str, Tensor]], count: int = 3) -> list[tuple[str, Tensor]]:
    return named[:: max(1, len(named) // count)]


@pytest.mark.parametrize("name", ["cnn", "rnn", *LARGE])
def test_every_parameter_that_the_graph_leads_to_has_a_path(name: str) -> None:
    torch.manual_seed(0)
    held = run(MODELS[name](), F)
    before = digest(held)
    for _, parameter in some(in_the_graph(held)):
        assert LossDependencies(held, [parameter]).leads
    assert digest(held) == before


def _detached(_: nn.Module, __: Any, output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.detach()
    return (output[0].detach(), *output[1:])


@pytest.mark.parametrize("name", LARGE)
def test_a_detach_in_the_middle_is_the_one_cause_for_what_lies_before_it(name: str) -> None:
    torch.manual_seed(0)
    held = MODELS[name]()
    layers = [module for module in held.modules if isinstance(module, (nn.Linear, nn.LayerNorm, nn.Conv2d))]
    layers[len(layers) // 2].register_forward_hook(_detached)
    run(held, F, B)
    there = {id(parameter) for _, parameter in in_the_graph(held)}
    missing = [(name, parameter) for name, parameter in held.parameters if id(parameter) not in there]
    assert missing
    for parameter_name, parameter in some(missing):
        place, cause = why_none(held, parameter_name, parameter)
        assert place.startswith(
            f"the path from {parameter_name} to the loss ends at torch.Tensor.detach at test_missing_grad_walk.py:"
        )
        assert "detached from the graph" in cause
