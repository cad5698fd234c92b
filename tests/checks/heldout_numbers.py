"""Held out, broken: the numbers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken
from checks.made import blobs, loader, pictures, plane, waves


def train(model, opt, loss_fn, batches, epochs=6):
    for _ in range(epochs):
        for x, y in batches:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            opt.step()


@broken("nan-or-inf", also=("weights-unchanged", "loss-term-nan"), source="pytorch/pytorch#2421")
def distance_of_a_sample_to_itself():
    x, _ = blobs(32)
    net = nn.Linear(10, 4)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(10):
        z = net(x)
        distances = ((z[:, None] - z[None]) ** 2).sum(-1).sqrt()
        opt.zero_grad()
        (distances.mean() - 1).abs().backward()
        opt.step()


@broken("nan-or-inf", also=("weights-unchanged", "loss-term-nan"), source="pytorch/pytorch#187297")
def where_does_not_hide_the_nan():
    x, y = plane()
    net = nn.Linear(5, 1)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(10):
        out = net(x)
        safe = torch.where(out > 0, out.sqrt(), torch.zeros_like(out))
        opt.zero_grad()
        ((safe - y.clamp(min=0)) ** 2).mean().backward()
        opt.step()


@broken("nan-or-inf", also=("loss-term-nan", "labels-out-of-range", "weights-unchanged"))
def mean_over_an_empty_mask():
    x, y = blobs()
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for step in range(30):
        keep = torch.rand(128) < (0.5 if step != 20 else 0.0)
        per_sample = F.cross_entropy(net(x), y, reduction="none")
        loss = (per_sample * keep).sum() / keep.sum()
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("loss-term-nan", also=("nan-or-inf", "weights-unchanged"), source="emited/VariationalRecurrentNeuralNetwork#2")
def kl_of_a_zero_standard_deviation():
    enc, dec = nn.Linear(10, 8), nn.Linear(4, 10)
    opt = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=1e-3)
    x, _ = blobs()
    for _ in range(10):
        mu, raw = enc(x).chunk(2, dim=1)
        std = F.relu(raw)
        recon = F.mse_loss(dec(mu + std * torch.randn_like(std)), x)
        kl = (0.5 * (mu**2 + std**2 - 1) - torch.log(std)).mean()
        loss = recon + kl
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken(
    "vanishing-gradient",
    also=("loss-plateau", "update-ratio-low", "saturated-activation", "weights-unchanged"),
    source="datafield.dev/aibook, chapter 12, case study 1",
)
def twelve_sigmoid_layers():
    layers = [nn.Linear(10, 32), nn.Sigmoid()]
    for _ in range(10):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(32, 4))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), F.cross_entropy, loader(*blobs()))


@broken("vanishing-gradient", also=("loss-plateau", "update-ratio-low", "initialisation-scale"))
def deep_tanh_from_tiny_weights():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(24, 24) for _ in range(9))
            self.first, self.last = nn.Linear(5, 24), nn.Linear(24, 1)
            for layer in self.layers:
                nn.init.normal_(layer.weight, std=0.02)

        def forward(self, x):
            x = torch.tanh(self.first(x))
            for layer in self.layers:
                x = torch.tanh(layer(x))
            return self.last(x)

    model = Deep()
    train(model, torch.optim.SGD(model.parameters(), lr=0.05), F.mse_loss, loader(*plane()))


@broken(
    "exploding-gradient",
    also=(
        "loss-diverges",
        "update-ratio-high",
        "learning-rate-high",
        "nan-or-inf",
        "initialisation-scale",
        "loss-at-start",
        "saturated-activation",
    ),
)
def recurrence_that_grows():
    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(16, 16), nn.Linear(1, 16), nn.Linear(16, 1)
            nn.init.orthogonal_(self.a.weight, gain=1.5)

        def forward(self, x):
            h = torch.zeros(len(x), 16)
            for t in range(x.shape[1]):
                h = F.relu(self.a(h)) + self.b(x[:, t])
            return self.c(h)

    series = waves(32, 40)
    model = Linear()
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    for _ in range(12):
        opt.zero_grad()
        F.mse_loss(model(series[:, :-1]), series[:, -1]).backward()
        opt.step()


@broken(
    "dead-relu",
    also=("all-zero-gradient", "loss-plateau", "learning-rate-high", "update-ratio-high", "loss-diverges"),
    source="discuss.pytorch.org 43814",
)
def relus_killed_by_their_bias():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    with torch.no_grad():
        model[2].bias.fill_(-8.0)
    train(model, torch.optim.Adam(model.parameters(), lr=1e-3), F.cross_entropy, loader(*blobs()))


@broken(
    "saturated-activation",
    also=("vanishing-gradient", "initialisation-scale", "update-ratio-low", "input-not-normalised", "loss-at-start"),
)
def tanh_of_large_sums():
    model = nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 4))
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=3.0)
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), F.cross_entropy, loader(*blobs()))


@broken("all-zero-gradient", also=("weights-unchanged", "loss-plateau"))
def predictions_rounded():
    x, y = plane()
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(20):
        opt.zero_grad()
        F.mse_loss(model(x).round(), y.round()).backward()
        opt.step()


@broken(
    "all-zero-gradient",
    also=("weights-unchanged", "initialisation-symmetric", "parameter-without-gradient", "loss-plateau", "dead-relu"),
    source="yz93/LAVT-RIS#25",
)
def two_stacked_layers_zeroed():
    class Fusion(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = nn.Linear(10, 16), nn.Linear(16, 4)
            self.gate = nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU(), nn.Linear(16, 16, bias=False))
            nn.init.zeros_(self.gate[0].weight)
            nn.init.zeros_(self.gate[2].weight)

        def forward(self, x):
            h = F.relu(self.body(x))
            return self.head(h + self.gate(h))

    model = Fusion()
    train(model, torch.optim.Adam(model.parameters(), lr=1e-3), F.cross_entropy, loader(*blobs()))


@broken(
    "weights-unchanged",
    also=("loss-plateau", "learning-rate-low", "update-ratio-low"),
    source="LINCellularNeuroscience/VAME#26",
)
def scheduler_with_gamma_zero():
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0)
    for _ in range(6):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
        scheduler.step()


@broken("weights-unchanged", also=("loss-plateau", "learning-rate-low", "update-ratio-low", "half-precision-underflow"))
def bfloat16_weights_and_a_small_rate():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4)).to(torch.bfloat16)
    opt = torch.optim.SGD(model.parameters(), lr=1e-6)
    for _ in range(20):
        opt.zero_grad()
        F.cross_entropy(model(x.bfloat16()).float(), y).backward()
        opt.step()


@broken(
    "learning-rate-high",
    also=(
        "update-ratio-high",
        "loss-diverges",
        "dead-relu",
        "exploding-gradient",
        "saturated-activation",
        "loss-plateau",
        "all-zero-gradient",
    ),
)
def adam_with_the_rate_of_sgd():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))
    train(model, torch.optim.Adam(model.parameters(), lr=0.5), F.cross_entropy, loader(*blobs()))


@broken("learning-rate-low", also=("update-ratio-low", "loss-plateau", "weights-unchanged"))
def sgd_with_the_rate_of_fine_tuning():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    train(model, torch.optim.SGD(model.parameters(), lr=1e-6), F.cross_entropy, loader(*pictures()), epochs=20)


@broken("loss-diverges", also=("learning-rate-high", "update-ratio-high", "exploding-gradient", "nan-or-inf"))
def linear_regression_beyond_the_curvature():
    x, y = plane()
    model = nn.Linear(5, 1)
    opt = torch.optim.SGD(model.parameters(), lr=1.2)
    for _ in range(30):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()


@broken("loss-diverges", also=("update-ratio-high", "exploding-gradient", "learning-rate-high"))
def ascent_by_a_sign():
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)
    train(model, opt, F.cross_entropy, loader(*blobs()))


@broken("initialisation-symmetric", also=("loss-plateau",))
def every_weight_the_same():
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 4))
    for p in model.parameters():
        nn.init.constant_(p, 0.05)
    train(model, torch.optim.SGD(model.parameters(), lr=0.05), F.cross_entropy, loader(*blobs()))


@broken("initialisation-symmetric", also=("loss-plateau", "all-zero-gradient"))
def ones_in_the_hidden_layers_by_apply():
    def init_weights(m):
        if isinstance(m, nn.Linear):
            m.weight.data.fill_(0.01)
            m.bias.data.zero_()

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4)).apply(init_weights)
    train(model, torch.optim.Adam(model.parameters(), lr=1e-3), F.cross_entropy, loader(*pictures()))


@broken(
    "initialisation-scale",
    also=(
        "loss-at-start",
        "saturated-activation",
        "learning-rate-high",
        "loss-diverges",
        "update-ratio-low",
        "exploding-gradient",
    ),
)
def unit_normal_in_wide_layers():
    model = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4))
    for m in model.modules():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight)
    train(model, torch.optim.SGD(model.parameters(), lr=1e-4), F.cross_entropy, loader(*blobs()))


@broken(
    "half-precision-overflow",
    also=(
        "nan-or-inf",
        "loss-diverges",
        "input-not-normalised",
        "weights-unchanged",
        "loss-term-nan",
        "exploding-gradient",
        "update-ratio-high",
    ),
)
def squares_in_float16():
    x, y = plane()
    model = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.SGD(model.parameters(), lr=1e-5)
    for _ in range(10):
        with torch.autocast("cpu", dtype=torch.float16):
            out = model(100 * x) * 100
        loss = ((out.half() - (500 * y).half()) ** 2).mean().float()
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken(
    "half-precision-underflow",
    also=(
        "all-zero-gradient",
        "weights-unchanged",
        "update-ratio-low",
        "loss-plateau",
        "vanishing-gradient",
        "learning-rate-low",
    ),
)
def tiny_loss_in_float16():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4)).half()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(20):
        opt.zero_grad()
        out = model(x.half())
        loss = (out - F.one_hot(y, 4).half()).pow(2).mean() * 1e-5
        loss.backward()
        opt.step()


@broken("amp-step-skipped", also=("weights-unchanged", "nan-or-inf", "half-precision-overflow", "loss-plateau"))
def scaler_that_begins_far_too_high():
    x, y = blobs()
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e38, backoff_factor=0.9)
    for _ in range(40):
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y) * 100
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()


@broken("loss-term-dominates", also=("loss-at-start", "learning-rate-high", "update-ratio-high"))
def penalty_that_drowns_the_error():
    x, y = plane()
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(30):
        error = F.mse_loss(model(x), y)
        penalty = sum(p.abs().sum() for p in model.parameters())
        loss = error + 100 * penalty
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("update-ratio-high", also=("learning-rate-high", "loss-diverges", "loss-plateau", "exploding-gradient"))
def embedding_trained_in_leaps():
    ids = torch.randint(0, 30, (256,))
    y = (ids % 3).long()
    model = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 3))
    train(model, torch.optim.AdamW(model.parameters(), lr=0.9, weight_decay=0.0), F.cross_entropy, loader(ids, y))


@broken("loss-plateau", also=("update-ratio-low", "learning-rate-low", "labels-shuffled-or-constant"))
def noise_for_targets():
    x = torch.randn(128, 5)
    model = nn.Linear(5, 1)
    train(model, torch.optim.SGD(model.parameters(), lr=1e-3), F.mse_loss, loader(x, torch.randn(128, 1)), epochs=15)
