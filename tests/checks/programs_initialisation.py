"""Models that begin badly, and such that begin with zeros on purpose; numbers that float16 can't hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy

LATER = ("exploding-gradient", "vanishing-gradient", "loss-at-start", "update-ratio-high", "update-ratio-low")
"""What else a bad beginning may lead to."""


def _train(net: nn.Module, lr: float = 0.01, count: int = 6, dtype: torch.dtype = torch.float32) -> None:
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(count):
        x, y = torch.randn(32, 8, dtype=dtype), torch.randint(0, 3, (32,))
        opt.zero_grad()
        F.cross_entropy(net(x).float(), y).backward()
        opt.step()


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))


@broken("initialisation-symmetric", also=LATER)
def all_weights_are_equal() -> None:
    """A constant in every layer."""
    net = _mlp()
    for p in net.parameters():
        nn.init.constant_(p, 0.1)
    _train(net)


@broken("initialisation-symmetric", also=LATER)
def one_hidden_layer_of_ones() -> None:
    """Ones in the hidden layer, and a last layer of ones before it is trained."""
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    nn.init.ones_(net[0].weight)  # type: ignore[arg-type]
    nn.init.zeros_(net[0].bias)  # type: ignore[arg-type]
    nn.init.ones_(net[2].weight)  # type: ignore[arg-type]
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(5):
        x = torch.randn(32, 8)
        opt.zero_grad()
        F.mse_loss(net(x), x[:, :1]).backward()
        opt.step()


@healthy
def zero_initialised_last_layer() -> None:
    """Its rows get different gradients."""
    net = _mlp()
    nn.init.zeros_(net[4].weight)  # type: ignore[arg-type]
    _train(net, lr=0.1, count=12)


@healthy
def lora() -> None:
    """B begins as zero, A at random, and the base is frozen."""

    class Lora(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = nn.Linear(8, 3)
            self.base.requires_grad_(False)
            self.a, self.b = nn.Parameter(torch.randn(4, 8) * 0.3), nn.Parameter(torch.zeros(3, 4))

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.base(x) + x @ self.a.t() @ self.b.t()
            return out

    net = Lora()
    opt = torch.optim.Adam([net.a, net.b], lr=0.01)
    for _ in range(12):
        x, y = torch.randn(32, 8), torch.randint(0, 3, (32,))
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@healthy
def a_residual_gate_that_begins_as_zero() -> None:
    """x + g * f(x) with g = 0."""

    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.gate, self.out = nn.Linear(8, 8), nn.Parameter(torch.zeros(8)), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.out(x + self.gate * torch.tanh(self.inner(x)))
            return out

    _train(Gated(), lr=0.1, count=12)


@broken("initialisation-symmetric", also=LATER)
def constant_weights_whose_gradients_cancel() -> None:
    """The hidden gradient is zero, as errors sum to zero over the classes: the columns of the last layer tell."""
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    for p in net.parameters():
        nn.init.constant_(p, 0.01 if p.dim() > 1 else 0.0)
    _train(net)


@broken(
    "initialisation-scale", also=(*LATER, "loss-diverges", "dead-relu", "learning-rate-high", "saturated-activation")
)
def weights_of_standard_deviation_one() -> None:
    """Ten layers of 100 units, std 1: activations grow tenfold a layer."""
    layers = [each for _ in range(6) for each in (nn.Linear(100, 100), nn.ReLU())]
    net = nn.Sequential(nn.Linear(8, 100), *layers, nn.Linear(100, 3))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
    _train(net, lr=1e-12)


@broken("initialisation-scale", also=(*LATER, "all-zero-gradient", "weights-unchanged"))
def weights_far_too_small() -> None:
    """std 0.001 in six layers."""
    net = nn.Sequential(*[each for _ in range(6) for each in (nn.Linear(8, 8), nn.Tanh())], nn.Linear(8, 3))
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.001)
            nn.init.zeros_(module.bias)
    _train(net)


@healthy
def a_deep_model_as_torch_initialises_it() -> None:
    """Eight layers with layer normalisation."""
    layers = [each for _ in range(6) for each in (nn.Linear(32, 32), nn.LayerNorm(32), nn.ReLU())]
    _train(nn.Sequential(nn.Linear(8, 32), *layers, nn.Linear(32, 3)), lr=0.05, count=12)


@broken("half-precision-overflow", also=(*LATER, "nan-or-inf", "initialisation-scale", "loss-diverges"))
def float16_activations_over_65504() -> None:
    """A hidden layer whose outputs are too large for float16."""
    net = _mlp().half()
    with torch.no_grad():
        net[2].weight *= 6e4  # type: ignore[operator]
        net[2].bias += 6e4  # type: ignore[operator]
    opt = torch.optim.SGD(net.parameters(), lr=0.0)
    for _ in range(3):
        opt.zero_grad()
        net(torch.randn(32, 8, dtype=torch.float16)).float().abs().clamp(max=1.0).mean().backward()
        opt.step()


@broken("half-precision-underflow", also=(*LATER, "all-zero-gradient", "weights-unchanged"))
def float16_gradients_below_its_range() -> None:
    """A loss that is scaled down before backward."""
    net = _mlp().half()
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(6):
        x, y = torch.randn(32, 8, dtype=torch.float16), torch.randint(0, 3, (32,))
        opt.zero_grad()
        (F.cross_entropy(net(x).float(), y) * 1e-4).backward()
        opt.step()


@healthy
def bfloat16() -> None:
    """The same model in bfloat16."""
    _train(_mlp().to(torch.bfloat16), lr=0.1, count=12, dtype=torch.bfloat16)
