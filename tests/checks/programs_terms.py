"""Losses that are sums, of which one term spoils or outweighs the others."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from gradstep.workload import Workload


def _parts() -> tuple[nn.Sequential, Tensor, Tensor, torch.optim.Optimizer]:
    net, x = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2)), torch.randn(32, 8)
    return net, x, (x[:, 0] > 0).long(), torch.optim.Adam(net.parameters(), lr=0.01)


@broken("loss-term-nan", "nan-or-inf")
def an_entropy_of_zeros() -> None:
    """p log p with p = 0, added to a cross entropy."""
    net, x, y, opt = _parts()
    for _ in range(2):
        opt.zero_grad()
        out = net(x)
        task = F.cross_entropy(out, y)
        p = F.relu(out)
        entropy = -(p * p.log()).sum(1).mean()
        loss = task + 0.1 * entropy
        loss.backward()
        opt.step()


@broken("loss-term-nan", "nan-or-inf")
def a_penalty_with_a_nan() -> Workload:
    """One of three terms, without variables: a mean over an empty slice."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 1e-3 * out.pow(2).mean() + out[y > 5].pow(2).mean()

    net, x, y, opt = _parts()
    for _ in range(2):
        opt.zero_grad()
        loss(net(x), y).backward()
        opt.step()
    return Workload(_parts()[0], loss, lambda p: torch.optim.Adam(p, lr=0.01), [(x, y)])


@broken("loss-term-nan", "nan-or-inf")
def a_regression_beside_a_classification() -> None:
    """The target of the regression has a missing value."""
    net, x, y, opt = _parts()
    wanted = torch.randn(32, 2)
    wanted[4, 1] = math.nan
    for _ in range(2):
        opt.zero_grad()
        out = net(x)
        (F.cross_entropy(out, y) + 0.5 * F.mse_loss(out, wanted)).backward()
        opt.step()


@broken("loss-term-dominates")
def a_sum_beside_a_mean() -> None:
    """One term is summed over large targets, the other averaged."""
    net, x, y, opt = _parts()
    for _ in range(6):
        opt.zero_grad()
        out = net(x)
        task = F.cross_entropy(out, y)
        rebuilt = (out - 100 * torch.randn(32, 2)).pow(2).sum()
        (task + rebuilt).backward()
        opt.step()


@broken("loss-term-dominates")
def a_weight_that_is_too_large() -> Workload:
    """An L2 penalty weighted by 1e5."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y) + 1e5 * out.pow(2).mean()

    net, x, y, opt = _parts()
    for _ in range(6):
        opt.zero_grad()
        loss(net(x), y).backward()
        opt.step()
    return Workload(_parts()[0], loss, lambda p: torch.optim.Adam(p, lr=0.001), [(x, y)])


@broken("loss-term-dominates")
def a_term_scaled_to_nothing() -> None:
    """An auxiliary loss multiplied by 1e-6."""
    net, x, y, opt = _parts()
    for _ in range(6):
        opt.zero_grad()
        out = net(x)
        (F.cross_entropy(out, y) + 1e-6 * F.mse_loss(out, torch.randn(32, 2))).backward()
        opt.step()


@healthy
def terms_of_one_size() -> None:
    """Two tasks and a penalty."""
    net, x, y, opt = _parts()
    for _ in range(6):
        opt.zero_grad()
        out = net(x)
        task, other = F.cross_entropy(out, y), F.mse_loss(out, torch.randn(32, 2))
        (task + 0.5 * other + 1e-3 * sum(p.pow(2).sum() for p in net.parameters())).backward()
        opt.step()


@healthy
def a_nan_term_that_is_skipped() -> None:
    """A loop that leaves out a batch whose loss is not finite after its backward."""
    net, x, y, opt = _parts()
    for i in range(4):
        opt.zero_grad()
        out = net(x)
        loss = F.cross_entropy(out, y) + out.mean() * (math.nan if i == 1 else 0.1)
        loss.backward()
        if loss.isfinite():
            opt.step()
