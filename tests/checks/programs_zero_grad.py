"""Gradients that are not cleared, and programs that accumulate them on purpose."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken, healthy


def _parts(lr: float = 0.05) -> tuple[nn.Module, torch.optim.Optimizer, torch.Tensor, torch.Tensor]:
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    return net, torch.optim.SGD(net.parameters(), lr=lr), torch.randn(32, 8), torch.randint(0, 3, (32,))


@broken("zero-grad-missing", source="stackoverflow.com/q/60335387")
def never_cleared() -> None:
    """No zero_grad at all."""
    net, opt, x, y = _parts()
    for _ in range(6):
        F.cross_entropy(net(x), y).backward()
        opt.step()


@broken("zero-grad-missing", source="wenet-e2e/wekws#73")
def one_optimizer_of_two_is_never_cleared() -> None:
    """Two models, two optimizers, one zero_grad."""
    net, opt, x, y = _parts()
    other, other_opt, _, _ = _parts()
    for _ in range(6):
        opt.zero_grad()
        (F.cross_entropy(net(x), y) + F.cross_entropy(other(x), y)).backward()
        opt.step()
        other_opt.step()


@healthy
def accumulation() -> None:
    """Four micro-batches a step."""
    net, opt, x, y = _parts()
    for _ in range(4):
        opt.zero_grad()
        for i in range(4):
            (F.cross_entropy(net(x[i::4]), y[i::4]) / 4).backward()
        opt.step()


@healthy
def cleared_at_the_end() -> None:
    """zero_grad after the step."""
    net, opt, x, y = _parts()
    for _ in range(6):
        F.cross_entropy(net(x), y).backward()
        opt.step()
        opt.zero_grad()


@healthy
def a_gan() -> None:
    """The generator's backward fills the discriminator's .grad, which is cleared before its own."""
    g, d = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    g_opt, d_opt = torch.optim.Adam(g.parameters(), lr=0.01), torch.optim.Adam(d.parameters(), lr=0.01)
    real, ones, zeros = torch.randn(16, 2) + 2, torch.ones(16, 1), torch.zeros(16, 1)
    for _ in range(6):
        d_opt.zero_grad()
        fake = g(torch.randn(16, 4))
        (
            F.binary_cross_entropy_with_logits(d(real), ones)
            + F.binary_cross_entropy_with_logits(d(fake.detach()), zeros)
        ).backward()
        d_opt.step()
        g_opt.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), ones).backward()
        g_opt.step()


@healthy
def lbfgs() -> None:
    """A closure that clears and runs backward several times inside one step."""
    net, _, x, y = _parts()
    opt = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)

    def closure() -> torch.Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    for _ in range(3):
        opt.step(closure)


@broken("zero-grad-missing")
def updated_through_data_and_never_cleared() -> None:
    """No optimizer: the script subtracts the gradient itself."""
    net = torch.nn.Linear(8, 1)
    x = torch.randn(16, 8)
    for _ in range(6):
        (net(x) ** 2).mean().backward()
        for p in net.parameters():
            assert p.grad is not None
            p.data -= 0.01 * p.grad


@healthy
def updated_through_data_after_two_micro_batches() -> None:
    """The same, with accumulation, and cleared after each update."""
    net = torch.nn.Linear(8, 1)
    x = torch.randn(16, 8)
    for i in range(8):
        (net(x[i::2]) ** 2).mean().div(2).backward()
        if i % 2:
            for p in net.parameters():
                assert p.grad is not None
                p.data -= 0.01 * p.grad
                p.grad = None
