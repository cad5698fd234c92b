"""Activations that are dead or saturated, and those that are not."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken, healthy


def _train(net: nn.Module, lr: float = 0.01, count: int = 8, scale: float = 1.0, shape: tuple[int, ...] = (8,)) -> None:
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(count):
        x, y = torch.randn(32, *shape) * scale, torch.randint(0, 3, (32,))
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


def _mlp(activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), activation, nn.Linear(32, 3))


@broken("dead-relu", source="Lu et al. 2019")
def bias_far_below_zero() -> None:
    """All units are off."""
    net = _mlp(nn.ReLU())
    nn.init.constant_(net[0].bias, -20.0)  # type: ignore[arg-type]
    _train(net)


@broken("dead-relu")
def channels_of_a_convolution() -> None:
    """Channels, not elements."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16, 3))
    nn.init.constant_(net[0].bias, -20.0)  # type: ignore[arg-type]
    _train(net, shape=(1, 6, 6))


@broken("dead-relu", also=("exploding-gradient", "learning-rate-high", "loss-diverges", "update-ratio-high"))
def one_step_too_large() -> None:
    """A step that throws all units below zero."""
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    with torch.no_grad():
        net[2].bias -= 50.0  # type: ignore[operator]
    _train(net)


@healthy
def half_of_the_elements_are_zero() -> None:
    """What a ReLU does."""
    _train(_mlp(nn.ReLU()))


@healthy
def a_few_units_are_dead() -> None:
    """Less than half of them."""
    net = _mlp(nn.ReLU())
    with torch.no_grad():
        net[0].bias[:8] = -20.0  # type: ignore[index]
    _train(net)


@broken("saturated-activation", source="makemore part 3")
def weights_too_large_for_a_tanh() -> None:
    """Weights from a normal distribution of std 5."""
    net = _mlp(nn.Tanh())
    nn.init.normal_(net[0].weight, std=5.0)  # type: ignore[arg-type]
    _train(net)


@broken("saturated-activation", also=("input-not-normalised",))
def inputs_of_0_to_255_into_a_sigmoid() -> None:
    """Inputs that were not scaled."""
    net = _mlp(nn.Sigmoid())
    opt = torch.optim.SGD(net.parameters(), lr=0.001)
    for _ in range(8):
        x, y = torch.randint(0, 256, (32, 8)).float(), torch.randint(0, 3, (32,))
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@healthy
def a_tanh_at_its_middle() -> None:
    """As it is initialised."""
    _train(_mlp(nn.Tanh()))


@healthy
def a_sigmoid_at_the_end() -> None:
    """Probabilities near 0 and 1 are what is wanted."""
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Sigmoid())
    opt = torch.optim.Adam(net.parameters(), lr=0.05)
    x = torch.randn(32, 8)
    y = (x[:, :1] > 0).float()
    for _ in range(30):
        opt.zero_grad()
        F.binary_cross_entropy(net(x), y).backward()
        opt.step()
