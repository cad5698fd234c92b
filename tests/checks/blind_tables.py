"""Scripts over tables, series, fields and words as d2l, karpathy's lectures and others have them, and mistakes."""

from __future__ import annotations

import math

import torch
from torch import nn, optim
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import loader, tokens, waves


def houses(count=160):
    """Return raw columns (year, area, rooms, distance, lot, tax) and prices (count, 1)."""
    rooms = torch.randint(1, 9, (count, 1)).float()
    year, area = 1900 + 120 * torch.rand(count, 1), 25 * rooms + 30 * torch.rand(count, 1)
    distance, lot, tax = 20 * torch.rand(count, 1), 2000 * torch.rand(count, 1), 9000 * torch.rand(count, 1)
    price = 60000 + 1500 * area + 400 * (year - 1900) - 2500 * distance + 10000 * torch.randn(count, 1)
    return torch.cat([year, area, rooms, distance, lot, tax], 1), price.clamp(min=20000)


def standardised(features):
    return (features - features.mean(0)) / features.std(0)


def log_rmse(net, features, labels):
    clipped_preds = torch.clamp(net(features), 1, float("inf"))
    return torch.sqrt(F.mse_loss(torch.log(clipped_preds), torch.log(labels))).item()


@healthy
def house_prices():
    """d2l.ai Kaggle house prices: k folds, standardised features, prices in units of 100000, Adam at a high rate."""
    features, prices = houses()
    features, labels = standardised(features), prices / 1e5
    k, num_epochs, rmse = 3, 8, []
    for i in range(k):
        fold = torch.arange(len(features)) % k == i
        net = nn.Sequential(nn.Linear(6, 1))
        loss, optimizer = nn.MSELoss(), optim.Adam(net.parameters(), lr=0.1, weight_decay=0)
        for _ in range(num_epochs):
            net.train()
            for X, y in loader(features[~fold], labels[~fold], 32):
                optimizer.zero_grad()
                ls = loss(net(X), y)
                ls.backward()
                optimizer.step()
        net.eval()
        with torch.no_grad():
            rmse.append(log_rmse(net, features[fold], labels[fold]))
        print(f"fold {i + 1}, valid log rmse {rmse[-1]:f}")


def mlp():
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1))


def fit(net, features, labels, lr=1e-3, epochs=10):
    optimizer = optim.Adam(net.parameters(), lr=lr)
    for epoch in range(epochs):
        net.train()
        total = 0.0
        for X, y in loader(features, labels, 32):
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total:.4f}")


@broken(
    "input-not-normalised",
    also=("loss-at-start",),
    source="openillumi.com/en/en-pytorch-performance-fix-standardization",
)
def house_prices_of_raw_columns():
    features, prices = houses()
    fit(mlp(), features, (prices - prices.mean()) / prices.std())


@broken(
    "labels-shuffled-or-constant",
    also=("loss-plateau",),
    source="github.com/DrexelChatbotGroup/DrexelChatbot/issues/15",
)
def house_prices_shuffled_apart():
    features, prices = houses()
    features, labels = standardised(features), (prices - prices.mean()) / prices.std()
    net = mlp()
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(15):
        features = features[torch.randperm(len(features))]
        for X, y in zip(features.split(32), labels.split(32), strict=True):
            optimizer.zero_grad()
            loss = F.mse_loss(net(X), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")


@broken("initialisation-symmetric", source="blog.youkuaiyun.com/language_zcx/article/details/107282409")
def house_prices_constant_weights():
    features, prices = houses()
    net = mlp()
    for m in net.modules():
        if isinstance(m, nn.Linear):
            nn.init.constant_(m.weight, 0.05)
            nn.init.constant_(m.bias, 0.0)
    fit(net, standardised(features), (prices - prices.mean()) / prices.std())


@broken(
    "loss-diverges",
    also=("learning-rate-high", "nan-or-inf", "loss-term-nan", "exploding-gradient", "update-ratio-high", "dead-relu"),
    source="www.codegenes.net/blog/loss-explodes-pytorch",
)
def linear_regression_at_lr_10():
    features, prices = houses()
    features, labels = standardised(features), (prices - prices.mean()) / prices.std()
    model = nn.Linear(6, 1)
    criterion, optimizer = nn.MSELoss(), optim.SGD(model.parameters(), lr=10)
    for epoch in range(20):
        optimizer.zero_grad()
        loss = criterion(model(features), labels)
        loss.backward()
        optimizer.step()
        print(f"Epoch {epoch}, Loss: {loss.item()}")


class Sequence(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.hidden = hidden
        self.lstm1, self.lstm2 = nn.LSTMCell(1, hidden), nn.LSTMCell(hidden, hidden)
        self.linear = nn.Linear(hidden, 1)

    def forward(self, input, future=0):
        outputs = []
        h_t, c_t, h_t2, c_t2 = (torch.zeros(input.size(0), self.hidden, dtype=torch.double) for _ in range(4))
        output = None
        for input_t in [*input.split(1, dim=1), *([None] * future)]:
            h_t, c_t = self.lstm1(output if input_t is None else input_t, (h_t, c_t))
            h_t2, c_t2 = self.lstm2(h_t, (h_t2, c_t2))
            output = self.linear(h_t2)
            outputs += [output]
        return torch.cat(outputs, dim=1)


@healthy
def time_sequence_prediction():
    """pytorch/examples time_sequence_prediction/train.py: LSTM cells in float64, LBFGS at 0.8 with a closure."""
    data = waves(20, 16).squeeze(-1).double()
    input, target, test_input, test_target = data[3:, :-1], data[3:, 1:], data[:3, :-1], data[:3, 1:]
    seq = Sequence()
    seq.double()
    criterion = nn.MSELoss()
    optimizer = optim.LBFGS(seq.parameters(), lr=0.8, max_iter=4)
    for i in range(8):

        def closure():
            optimizer.zero_grad()
            loss = criterion(seq(input), target)
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            pred = seq(test_input, future=10)
            print(f"STEP {i} test loss: {criterion(pred[:, :-10], test_target).item()}")


class EarlyStopping:
    def __init__(self, patience=3, delta=0.0):
        self.patience, self.delta, self.counter, self.best, self.early_stop = patience, delta, 0, None, False

    def __call__(self, val_loss):
        if self.best is None or val_loss < self.best - self.delta:
            self.best, self.counter = val_loss, 0
        else:
            self.counter += 1
            self.early_stop = self.counter >= self.patience


@healthy
def forecasting_with_early_stopping():
    """thuml/Time-Series-Library exp_long_term_forecasting.py: Adam 1e-4 halved every epoch, early stopping."""
    series = waves(96, 20).squeeze(-1)
    train, val = loader(series[:80, :16], series[:80, 16:], 16), loader(series[80:, :16], series[80:, 16:], 16)
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 5))
    model_optim, criterion, early_stopping = optim.Adam(model.parameters(), lr=1e-4), nn.MSELoss(), EarlyStopping()
    for epoch in range(10):
        train_loss = []
        model.train()
        for batch_x, batch_y in train:
            model_optim.zero_grad()
            loss = criterion(model(batch_x), batch_y)
            train_loss.append(loss.item())
            loss.backward()
            model_optim.step()
        model.eval()
        with torch.no_grad():
            vali_loss = sum(criterion(model(x), y).item() for x, y in val)
        early_stopping(vali_loss)
        if early_stopping.early_stop:
            break
        for param_group in model_optim.param_groups:
            param_group["lr"] = 1e-4 * 0.5**epoch


@healthy
def hand_written_bigram_mlp():
    """karpathy/nn-zero-to-hero makemore part 3: tensors for layers, gain 5/3, batch norm, p.data += -lr * p.grad."""
    g = torch.Generator().manual_seed(2147483647)
    text = tokens(256, 5)
    Xtr, Ytr = text[:, :3], text[:, 3]
    C = torch.randn((20, 6), generator=g)
    W1 = torch.randn((18, 40), generator=g) * (5 / 3) / (18**0.5)
    W2, b2 = torch.randn((40, 20), generator=g) * 0.01, torch.randn(20, generator=g) * 0
    bngain, bnbias = torch.ones((1, 40)), torch.zeros((1, 40))
    parameters = [C, W1, W2, b2, bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    for i in range(60):
        ix = torch.randint(0, Xtr.shape[0], (32,), generator=g)
        emb = C[Xtr[ix]]
        hpreact = emb.view(emb.shape[0], -1) @ W1
        hpreact = bngain * (hpreact - hpreact.mean(0, keepdim=True)) / hpreact.std(0, keepdim=True) + bnbias
        logits = torch.tanh(hpreact) @ W2 + b2
        loss = F.cross_entropy(logits, Ytr[ix])
        for p in parameters:
            p.grad = None
        loss.backward()
        lr = 0.1 if i < 40 else 0.01
        for p in parameters:
            p.data += -lr * p.grad
        if i % 10 == 0:
            print(f"{i:7d}: {loss.item():.4f} {math.log10(loss.item()):.3f}")


@healthy
def siren():
    """lucidrains/siren-pytorch: sines of frequency 30, weights by SIREN's rule, one picture fitted as a whole."""

    class Sine(nn.Module):
        def __init__(self, dim_in, dim_out, is_first=False, w0=30.0):
            super().__init__()
            self.linear, self.w0 = nn.Linear(dim_in, dim_out), w0
            bound = 1 / dim_in if is_first else math.sqrt(6 / dim_in) / w0
            self.linear.weight.data.uniform_(-bound, bound)
            self.linear.bias.data.uniform_(-bound, bound)

        def forward(self, x):
            return torch.sin(self.w0 * self.linear(x))

    axis = torch.linspace(-1, 1, 16)
    coordinates = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).view(-1, 2)
    picture = (torch.sin(5 * coordinates[:, :1]) * torch.cos(7 * coordinates[:, 1:]) + 1) / 2
    net = nn.Sequential(Sine(2, 32, is_first=True), Sine(32, 32), nn.Linear(32, 1))
    opt = optim.Adam(net.parameters(), lr=1e-4)
    for _ in range(50):
        loss = F.mse_loss(net(coordinates), picture)
        opt.zero_grad()
        loss.backward()
        opt.step()
