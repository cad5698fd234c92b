"""Healthy programs of many kinds, whose numbers look odd to a naive rule."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import healthy


@healthy
def a_variational_autoencoder() -> None:
    """Summed terms of different size, and a weight that is warmed up."""
    parts = nn.ModuleList([nn.Linear(20, 32), nn.Linear(32, 4), nn.Linear(32, 4), nn.Linear(4, 20)])
    encoder, mean, spread, decoder = parts
    opt, x = torch.optim.Adam(parts.parameters(), lr=1e-3), torch.rand(64, 20)
    for i in range(20):
        hidden = F.relu(encoder(x))
        m, s = mean(hidden), spread(hidden)
        out = decoder(m + torch.randn_like(m) * (s / 2).exp())
        rebuilt = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
        kl = -0.5 * (1 + s - m.pow(2) - s.exp()).sum()
        opt.zero_grad()
        (rebuilt + kl * min(1.0, i / 10)).backward()
        opt.step()


@healthy
def proximal_policy_optimisation() -> None:
    """Four epochs on each rollout, an entropy bonus, a value loss of large returns."""
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3))
    value = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam([*policy.parameters(), *value.parameters()], lr=3e-4)
    for _ in range(5):
        state, gain = torch.randn(64, 4), torch.randn(64) * 3
        with torch.no_grad():
            old = torch.distributions.Categorical(logits=policy(state))
            action = old.sample()
            before = old.log_prob(action)
        for _ in range(4):
            now = torch.distributions.Categorical(logits=policy(state))
            worth = value(state).squeeze(-1)
            advantage = F.layer_norm(gain - worth.detach(), (64,))
            ratio = (now.log_prob(action) - before).exp()
            surrogate = torch.min(ratio * advantage, ratio.clamp(0.8, 1.2) * advantage).mean()
            opt.zero_grad()
            (-surrogate + 0.5 * (worth - gain).pow(2).mean() - 0.01 * now.entropy().mean()).backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            opt.step()


@healthy
def contrastive_of_two_views() -> None:
    """SimCLR: the diagonal is masked with -1e9, and lr is large."""
    net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 16))
    opt = torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9)
    for _ in range(20):
        x = torch.randn(32, 20)
        views = [F.normalize(net(x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2)]
        scores = (torch.cat(views) @ torch.cat(views).T / 0.2).masked_fill(torch.eye(64, dtype=torch.bool), -1e9)
        opt.zero_grad()
        F.cross_entropy(scores, torch.arange(64).roll(32)).backward()
        opt.step()


@healthy
def a_teacher_that_follows() -> None:
    """BYOL: the target is an average of the network, and gets no gradient."""
    online = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
    target = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
    target.load_state_dict(online.state_dict())
    predictor = nn.Linear(8, 8)
    opt = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=1e-3)
    for _ in range(20):
        x = torch.randn(32, 20)
        with torch.no_grad():
            wanted = F.normalize(target(x), dim=1)
        out = F.normalize(predictor(online(x + 0.1 * torch.randn_like(x))), dim=1)
        opt.zero_grad()
        (2 - 2 * (out * wanted).sum(1)).mean().backward()
        opt.step()
        with torch.no_grad():
            for own, other in zip(online.parameters(), target.parameters(), strict=True):
                other.lerp_(own, 0.01)


@healthy
def a_recurrent_network_on_waves() -> None:
    """An LSTM with RMSprop and clipping."""
    net, head = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)
    opt = torch.optim.RMSprop([*net.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(12):
        wave = (torch.rand(16, 1) * 6 + torch.arange(21) * 0.3).sin()[..., None]
        opt.zero_grad()
        F.mse_loss(head(net(wave[:, :-1])[0]), wave[:, 1:]).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()


@healthy
def segmentation_with_dice() -> None:
    """A cross entropy for each pixel, and a dice loss of probabilities."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(12):
        x = torch.rand(4, 1, 12, 12)
        mask = (F.avg_pool2d(x, 3, 1, 1) > 0.5).float()
        out = net(x)
        p = out.sigmoid()
        dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
        opt.zero_grad()
        (F.binary_cross_entropy_with_logits(out, mask) + dice).backward()
        opt.step()


@healthy
def a_regression_far_from_zero() -> None:
    """Targets around 300: the loss begins at 90,000."""
    x = torch.randn(64, 10)
    net, y = nn.Linear(10, 1), x @ torch.randn(10, 1) * 50 + 300
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(20):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()


@healthy
def convolutions_with_augmentation() -> None:
    """SGD with lr 0.1 and momentum, batch norm, dropout, smoothed labels, shuffled epochs of noisy images."""
    x = torch.rand(96, 3, 10, 10)
    y = (x[:, 0].mean((1, 2)) > x[:, 1].mean((1, 2))).long() + (x[:, 2].mean((1, 2)) > 0.5).long()
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 3)),
    )
    opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    for _ in range(5):
        for i in torch.randperm(96).split(32):
            opt.zero_grad()
            images = x[i] + 0.05 * torch.randn(len(i), 3, 10, 10)
            F.cross_entropy(net(images), y[i], label_smoothing=0.1).backward()
            opt.step()
