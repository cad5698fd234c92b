"""Held out, broken: the order of the loop's calls."""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken
from checks.made import blobs, loader, pictures, plane, tokens, waves


class Digits(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.fc = nn.Linear(16 * 4, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc(x.flatten(1))


@broken("zero-grad-missing", source="stackoverflow 60335387")
def argparse_script_without_zero_grad():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=8)
    args = parser.parse_args([])
    model = Digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.5)
    for _epoch in range(args.epochs):
        for data, target in loader(*pictures()):
            output = F.log_softmax(model(data), dim=1)
            loss = F.nll_loss(output, target)
            loss.backward()
            optimizer.step()


@broken("zero-grad-missing")
def zero_grad_without_parentheses():
    class Forecaster(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(1, 16, batch_first=True)
            self.head = nn.Linear(16, 1)

        def forward(self, x):
            out, _ = self.lstm(x)
            return self.head(out)

    class Trainer:
        def __init__(self):
            self.model = Forecaster()
            self.opt = torch.optim.Adam(self.model.parameters(), lr=0.005)
            self.criterion = nn.MSELoss()

        def train_epoch(self, data):
            for batch in data.split(16):
                self.opt.zero_grad  # noqa: B018
                loss = self.criterion(self.model(batch[:, :-1]), batch[:, 1:])
                loss.backward()
                self.opt.step()

    trainer = Trainer()
    series = waves()
    for _ in range(8):
        trainer.train_epoch(series)


@broken("zero-grad-missing", source="opendp/smartnoise-sdk#280")
def gan_whose_discriminator_is_never_cleared():
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    real_data = torch.randn(512, 2) * 0.5 + 1
    for real in real_data.split(16):
        fake = generator(torch.randn(16, 4))
        d_loss = bce(critic(real), torch.ones(16, 1)) + bce(critic(fake.detach()), torch.zeros(16, 1))
        d_loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        g_loss = bce(critic(fake), torch.ones(16, 1))
        g_loss.backward()
        opt_g.step()


@broken("zero-grad-missing", source="greebear/pytorch-learning#1")
def manual_sgd_whose_gradients_pile_up():
    x, y = plane()
    w = torch.zeros(5, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(40):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        w.data -= 0.01 * w.grad.data
        b.data -= 0.01 * b.grad.data


@broken("zero-grad-before-step", also=("all-zero-gradient", "weights-unchanged", "loss-plateau"))
def transformer_cleared_between_backward_and_step():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(20, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.out = nn.Linear(32, 20)

        def forward(self, ids):
            return self.out(self.encoder(self.embed(ids)))

    model = Tagger()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    data = tokens()
    for _ in range(6):
        for ids in data.split(16):
            loss = F.cross_entropy(model(ids[:, :-1]).reshape(-1, 20), ids[:, 1:].reshape(-1))
            loss.backward()
            optimizer.zero_grad()
            optimizer.step()


@broken("zero-grad-before-step", source="bytetriper/RAE#67")
def accumulation_cleared_every_micro_batch():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    accumulation_steps = 4
    micro = 0
    for _epoch in range(10):
        for images, labels in loader(*pictures(), batch_size=4):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels) / accumulation_steps
            loss.backward()
            micro += 1
            if micro % accumulation_steps == 0:
                optimizer.step()


@broken("step-missing", also=("loss-plateau", "weights-unchanged"))
def vae_that_never_steps():
    encoder, decoder = nn.Linear(64, 8), nn.Linear(4, 64)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for _epoch in range(8):
        for images, _ in loader(*pictures()):
            x = images.flatten(1)
            optimizer.zero_grad()
            mu, logvar = encoder(x).chunk(2, dim=1)
            z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
            recon = torch.sigmoid(decoder(z))
            loss = F.binary_cross_entropy(recon, x, reduction="sum")
            loss = loss - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss.backward()


@broken("step-missing", also=("loss-plateau", "weights-unchanged"))
def step_behind_a_condition_that_is_never_true():
    x, y = blobs()
    net = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(10):
        for i, (xb, yb) in enumerate(loader(x, y)):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            if i % 16 == 9:
                opt.step()


@broken("stale-gradient-step")
def generator_stepped_when_only_the_critic_was_trained():
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    opt_g = torch.optim.RMSprop(generator.parameters(), lr=5e-4)
    opt_d = torch.optim.RMSprop(critic.parameters(), lr=5e-4)
    for i in range(40):
        real = torch.randn(16, 2) + 1
        opt_d.zero_grad()
        fake = generator(torch.randn(16, 4))
        (critic(fake.detach()).mean() - critic(real).mean()).backward()
        opt_d.step()
        if i % 5 == 0:
            opt_g.zero_grad()
            (-critic(generator(torch.randn(16, 4))).mean()).backward()
        opt_g.step()


@broken("stale-gradient-step")
def skipped_batches_still_step():
    x, y = blobs()
    net = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(8):
        for xb, yb in loader(x, y):
            loss = F.cross_entropy(net(xb), yb)
            if loss.item() > 1.0:
                opt.zero_grad()
                loss.backward()
            opt.step()


@broken("scheduler-before-optimizer")
def scheduler_stepped_at_the_start_of_the_epoch():
    model = Digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    for _epoch in range(8):
        scheduler.step()
        for images, labels in loader(*pictures()):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


@broken("scheduler-before-optimizer")
def warm_up_stepped_before_the_optimizer():
    x, y = plane()
    net = nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Linear(16, 1))
    opt = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.0)
    warm_up = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, (step + 1) / 10))
    for _ in range(40):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        warm_up.step()
        opt.step()


@broken("clip-after-step", source="jongwook/onsets-and-frames#24")
def rnn_clipped_after_the_step():
    rnn, head = nn.GRU(1, 16, batch_first=True), nn.Linear(16, 1)
    params = [*rnn.parameters(), *head.parameters()]
    opt = torch.optim.Adam(params, lr=5e-3)
    series = waves()
    for _ in range(10):
        for batch in series.split(16):
            opt.zero_grad()
            out, _ = rnn(batch[:, :-1])
            F.mse_loss(head(out), batch[:, 1:]).backward()
            opt.step()
            nn.utils.clip_grad_norm_(params, 0.5)


@broken("clip-after-step", source="awslabs/graphstorm#1366")
def graph_net_clipped_by_value_after_the_step():
    nodes, y = blobs(60, 8, 3)
    adjacency = torch.eye(60) + (torch.rand(60, 60) < 0.05).float() + (y[:, None] == y[None]).float() * 0.2
    adjacency = adjacency / adjacency.sum(1, keepdim=True)
    w1, w2 = nn.Linear(8, 16), nn.Linear(16, 3)
    params = nn.ModuleList([w1, w2]).parameters
    opt = torch.optim.Adam(params(), lr=0.01, weight_decay=5e-4)
    for _ in range(40):
        opt.zero_grad(set_to_none=False)
        logits = adjacency @ w2(F.relu(adjacency @ w1(nodes)))
        F.cross_entropy(logits, y).backward()
        opt.step()
        torch.nn.utils.clip_grad_value_(params(), 0.1)


@broken("clip-scaled-gradients", source="Lightning-AI/pytorch-lightning#9330")
def amp_clipped_before_unscale():
    x, y = blobs()
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for _ in range(6):
        for xb, yb in loader(x, y):
            opt.zero_grad(set_to_none=True)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(xb), yb)
            scaler.scale(loss).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()


@broken("scaler-misuse", also=("update-ratio-high", "learning-rate-high", "loss-diverges", "exploding-gradient"))
def amp_stepping_the_optimizer_itself():
    model = Digits()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cpu")
    for _epoch in range(6):
        for images, labels in loader(*pictures()):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(images), labels)
            scaler.scale(loss).backward()
            optimizer.step()


@broken("scaler-misuse")
def amp_with_one_of_two_losses_scaled():
    x, y = plane()
    net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)
    for _ in range(30):
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            pred = net(x)
        scaler.scale(F.mse_loss(pred.float(), y)).backward(retain_graph=True)
        (0.1 * pred.float().abs().mean()).backward()
        scaler.step(opt)
        scaler.update()


@broken("accumulation-not-averaged", source="fastai/fastai#3023")
def accumulated_sums_of_eight():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    optimizer.zero_grad()
    for _epoch in range(12):
        for i, (images, labels) in enumerate(loader(*pictures(), batch_size=4), start=1):
            F.cross_entropy(model(images), labels).backward()
            if i % 8 == 0:
                optimizer.step()
                optimizer.zero_grad()


@broken("accumulation-not-averaged", source="huggingface/transformers#34191")
def language_model_accumulating_without_division():
    embed, rnn, out = nn.Embedding(20, 16), nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 20)
    params = nn.ModuleList([embed, rnn, out]).parameters()
    optimizer = torch.optim.AdamW(params, lr=2e-3)
    data = tokens()
    for _ in range(10):
        for macro in data.split(16):
            optimizer.zero_grad()
            for ids in macro.split(4):
                logits = out(rnn(embed(ids[:, :-1]))[0])
                loss = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:])
                loss.backward()
            optimizer.step()
