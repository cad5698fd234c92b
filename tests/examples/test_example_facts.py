"""Each example does what its docstring says."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from plain import build, to_bytes, train
from torch import nn

import gradstep.examples
from gradstep.examples import EXAMPLES

SEEDS = (0, 1, 2)
FOLDER = Path(gradstep.examples.__file__).parent


def test_the_registry_names_every_file_in_teaching_order() -> None:
    assert list(EXAMPLES) == ["mlp", "linear", "xor", "cnn", "rnn", "gpt", "deep", "hot"]
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(EXAMPLES)


def test_the_registry_imports_no_torch() -> None:
    code = "import sys, gradstep.examples; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_under_sixty_lines(name: str) -> None:
    assert len((FOLDER / f"{name}.py").read_text().splitlines()) < 60


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_factory_is_a_function_of_the_seed(name: str) -> None:
    first, again, other = (train(build(name, seed), 2) for seed in (0, 0, 1))
    assert first.losses == again.losses
    assert first.losses != other.losses


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_slice_shown_first_exists(name: str) -> None:
    workload = build(name, 0)
    path, _, index = workload.show.partition("[")
    parameter = workload.model.get_parameter(path)
    shown = eval(f"parameter[{index}" if index else "parameter", {"parameter": parameter})
    assert 0 < shown.numel() <= 64


def test_mlp_is_the_notebook_line_by_line() -> None:
    workload = build("mlp", 7)
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x = torch.randn(16, 784)
    ideal_output = torch.randn(16, 10)
    ((held_x, held_ideal),) = workload.batches
    for held, plain in zip(
        [*workload.model.parameters(), held_x, held_ideal], [*model.parameters(), x, ideal_output], strict=True
    ):
        assert to_bytes(held) == to_bytes(plain)


@pytest.mark.parametrize("seed", SEEDS)
def test_linear_finds_the_answer_in_its_weights(seed: int) -> None:
    model = train(build("linear", seed), 150).model
    assert model.weight.tolist()[0] == pytest.approx([2.0, -3.0, 0.5], abs=1e-3)
    assert model.bias.item() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_xor_is_solved_in_three_hundred_iterations(seed: int) -> None:
    workload = build("xor", seed)
    ((inputs, truth),) = workload.batches
    assert train(workload, 300).losses[-1] < 0.05
    assert torch.equal(workload.model(inputs) > 0, truth > 0.5)


@pytest.mark.parametrize("seed", SEEDS)
def test_cnn_learns_and_its_two_peculiar_layers_show(seed: int) -> None:
    workload = build("cnn", seed)
    images, kinds = workload.batches[0]
    before = to_bytes(workload.model.norm.running_mean)
    assert workload.model(images).tolist() != workload.model(images).tolist(), "dropout draws anew in every forward"
    assert to_bytes(workload.model.norm.running_mean) != before, "a forward alone moves batch norm's buffers"
    train(workload, 60)
    guesses = workload.model.eval()(images).argmax(1)
    assert (guesses == kinds).float().mean() > 0.9
    assert len(workload.batches) > 1


def test_rnn_adds_the_gradients_of_all_moments_in_one_weight() -> None:
    workload = build("rnn", 0)
    x, target = workload.batches[0]
    loss = workload.loss(workload.model(x), target)
    seen, queue, meeting = set(), [loss.grad_fn], 0
    while queue:
        node = queue.pop()
        for following, _ in node.next_functions:
            meeting += getattr(following, "variable", None) is workload.model.cell.bias_hh
            if following is not None and following not in seen:
                seen.add(following)
                queue.append(following)
    assert meeting == x.shape[1] == 16


@pytest.mark.parametrize("seed", SEEDS)
def test_rnn_follows_the_wave(seed: int) -> None:
    losses = train(build("rnn", seed), 200).losses
    assert losses[-1] < losses[0] / 10


@pytest.mark.parametrize("seed", SEEDS)
def test_gpt_learns_its_letters(seed: int) -> None:
    losses = train(build("gpt", seed), 200).losses
    assert losses[0] > 3 > 1 > losses[-1]


def test_gpt_warms_its_learning_rate_up_and_follows_a_cosine_down() -> None:
    lrs = train(build("gpt", 0), 302).lrs
    assert lrs[:10] == pytest.approx([0.001 * i for i in range(1, 11)])
    assert lrs[155] == pytest.approx(0.005)
    assert all(after < before for before, after in pairwise(lrs[10:301]))
    assert lrs[300] == lrs[301] == pytest.approx(0.0)


def test_gpt_never_sees_the_letters_to_come() -> None:
    workload = build("gpt", 0)
    letters, _ = workload.batches()
    changed = letters.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % 20
    logits, others = workload.model(letters), workload.model(changed)
    assert torch.equal(logits[:, :, :9], others[:, :, :9])
    assert not torch.equal(logits[:, :, 9:], others[:, :, 9:])


@pytest.mark.parametrize("seed", SEEDS)
def test_deep_loses_the_gradient_on_its_way_to_the_first_layer(seed: int) -> None:
    workload = build("deep", seed)
    assert sum(isinstance(module, nn.Sigmoid) for module in workload.model) == 20
    norms = train(workload, 1).first_norms
    assert 0 < norms["layer0.weight"] < 1e-10 * norms["layer19.weight"]


@pytest.mark.parametrize("seed", SEEDS)
def test_hot_goes_to_inf_and_then_to_nan_within_twenty_iterations(seed: int) -> None:
    run = train(build("hot", seed), 24)
    kinds = ["nan" if math.isnan(loss) else "inf" if math.isinf(loss) else "number" for loss in run.losses]
    assert kinds == sorted(kinds, key=["number", "inf", "nan"].index), "first numbers, then inf, then nothing but NaN"
    assert 4 < kinds.index("inf") < kinds.index("nan") <= 20
    assert all(after > before for before, after in pairwise(run.losses[:8]))
    assert all(bool(parameter.isnan().any()) for parameter in run.model.parameters())
