"""Held out, broken: the loss and the data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from checks.corpus import broken
from checks.made import blobs, loader, mlp, pictures, plane, tokens, waves


@broken("loss-broadcast", source="deepset-ai/FARM#229")
def regression_head_squeezed():
    class RegressionHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(5, 32, 1)

        def forward(self, x):
            return self.body(x).squeeze(-1)

    model, criterion = RegressionHead(), nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(6):
        for x, y in loader(*plane()):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()


@broken("loss-broadcast")
def hand_written_mae_of_a_column_and_a_row():
    x, y = plane()
    y = y.squeeze(1)
    net = mlp(5, 16, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(40):
        opt.zero_grad()
        err = (net(x) - y).abs().mean()
        err.backward()
        opt.step()


@broken("loss-broadcast")
def dqn_whose_target_is_a_matrix():
    q, target_q = mlp(4, 32, 2), mlp(4, 32, 2)
    target_q.load_state_dict(q.state_dict())
    opt = torch.optim.Adam(q.parameters(), lr=1e-3)
    for _ in range(40):
        s, s2 = torch.randn(32, 4), torch.randn(32, 4)
        a, r, done = torch.randint(0, 2, (32, 1)), torch.randn(32, 1), (torch.rand(32, 1) < 0.1).float()
        value = q(s).gather(1, a).squeeze(1)
        with torch.no_grad():
            expected = r + 0.99 * target_q(s2).max(1)[0].unsqueeze(1) * (1 - done)
        loss = F.smooth_l1_loss(value, expected)
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("softmax-before-cross-entropy", source="datafield.dev/aibook, chapter 12, case study 1")
def sequential_that_ends_in_softmax():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4), nn.Softmax(dim=1))
    criterion = nn.CrossEntropyLoss()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(6):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()


@broken("softmax-before-cross-entropy", source="llama-from-scratch#5")
def language_model_with_softmax():
    class Bigram(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(20, 32)
            self.linear = mlp(32, 32, 20)

        def forward(self, idx, targets):
            logits = F.softmax(self.linear(self.embedding(idx)), dim=-1)
            loss = F.cross_entropy(logits.view(-1, 20), targets.reshape(-1))
            return logits, loss

    model = Bigram()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    data = tokens()
    for _ in range(30):
        rows = data[torch.randint(0, 64, (16,))]
        opt.zero_grad()
        _, loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        opt.step()


@broken("sigmoid-before-bce-with-logits", source="argusswift/YOLOv4-pytorch#89")
def detector_with_sigmoid_in_its_head():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 8, 3, padding=1)
            self.pred = nn.Conv2d(8, 3, 1)

        def forward(self, x):
            raw = self.pred(F.relu(self.conv(x)))
            box, conf = raw[:, :2], raw[:, 2:]
            return torch.cat([box, conf.sigmoid()], dim=1)

    model, bce = Head(), nn.BCEWithLogitsLoss()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    images, _ = pictures()
    objects = (images > 0.6).float()
    for _ in range(8):
        for x, obj in loader(images, objects):
            out = model(x)
            loss = bce(out[:, 2:], obj) + 0.1 * F.mse_loss(out[:, :2], obj.expand(-1, 2, -1, -1))
            opt.zero_grad()
            loss.backward()
            opt.step()


@broken("sigmoid-before-bce-with-logits", source="itakurah/focal-loss-pytorch#5")
def focal_loss_over_probabilities():
    class FocalLoss(nn.Module):
        def forward(self, inputs, targets):
            probs = torch.sigmoid(inputs)
            ce = F.binary_cross_entropy_with_logits(probs, targets, reduction="none")
            p_t = probs * targets + (1 - probs) * (1 - targets)
            return (0.25 * (1 - p_t) ** 2 * ce).mean()

    x, y = blobs(classes=2)
    net, criterion = mlp(10, 16, 1), FocalLoss()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(30):
        opt.zero_grad()
        criterion(net(x).squeeze(1), y.float()).backward()
        opt.step()


@broken("probabilities-to-nll", source="Text-Classification-Models-Pytorch#9")
def text_classifier_softmax_and_nll():
    class TextCNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb = nn.Embedding(20, 16)
            self.convs = nn.ModuleList(nn.Conv1d(16, 8, k) for k in (2, 3))
            self.fc, self.softmax = nn.Linear(16, 2), nn.Softmax(dim=1)

        def forward(self, ids):
            x = self.emb(ids).transpose(1, 2)
            x = torch.cat([F.relu(conv(x)).amax(2) for conv in self.convs], dim=1)
            return self.softmax(self.fc(x))

    data = tokens()
    labels = (data[:, 0] > 9).long()
    model, loss_fn = TextCNN(), nn.NLLLoss()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        for x, y in loader(data, labels):
            opt.zero_grad()
            loss_fn(model(x), y).backward()
            opt.step()


@broken("probabilities-to-nll", source="sebastian-hofstaetter/matchmaker#18")
def distillation_kl_of_probabilities():
    x, y = blobs()
    teacher, student = mlp(10, 64, 4), mlp(10, 16, 4)
    teacher.requires_grad_(False)
    opt = torch.optim.Adam(student.parameters(), lr=1e-2)
    kl = nn.KLDivLoss(reduction="batchmean")
    for _ in range(30):
        with torch.no_grad():
            soft = F.softmax(teacher(x) / 2, dim=1)
        logits = student(x)
        loss = kl(F.softmax(logits / 2, dim=1), soft) + F.cross_entropy(logits, y)
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("softmax-over-batch", source="ctallec/world-models#10")
def mixture_weights_normalised_over_the_batch():
    x, y = plane()
    net = mlp(5, 32, 9)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(30):
        pi, mu, log_sigma = net(x).chunk(3, dim=1)
        pi = F.softmax(pi, dim=0)
        likelihood = torch.distributions.Normal(mu, log_sigma.exp()).log_prob(y)
        loss = -torch.logsumexp(torch.log(pi + 1e-8) + likelihood, dim=1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("softmax-over-batch")
def log_softmax_without_the_class_dimension():
    x, y = blobs()
    net = mlp(10, 24, 4)
    log_softmax = nn.LogSoftmax(dim=0)
    opt = torch.optim.SGD(net.parameters(), lr=0.2)
    for _ in range(30):
        opt.zero_grad()
        F.nll_loss(log_softmax(net(x)), y).backward()
        opt.step()


@broken("labels-out-of-range")
def labels_of_minus_one_and_one():
    x, y = blobs(classes=2)
    y = y.float() * 2 - 1
    net = mlp(10, 16, 1)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(6):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            nn.BCEWithLogitsLoss()(net(xb).flatten(), yb).backward()
            opt.step()


@broken("labels-out-of-range", also=("loss-at-start", "update-ratio-high", "loss-diverges", "exploding-gradient"))
def masks_read_as_bytes():
    images, _ = pictures()
    masks = (images > 0.5).to(torch.uint8) * 255
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(8):
        for x, mask in loader(images, masks.float()):
            opt.zero_grad()
            F.binary_cross_entropy_with_logits(net(x), mask).backward()
            opt.step()


@broken("target-dtype")
def numpy_targets_in_double():
    x, y = plane()
    target = torch.from_numpy(y.numpy().astype(np.float64))
    net = mlp(5, 16, 1)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(30):
        opt.zero_grad()
        F.mse_loss(net(x), target).backward()
        opt.step()


@broken("input-not-normalised", also=("loss-at-start", "learning-rate-high", "update-ratio-high", "loss-diverges"))
def housing_prices_in_their_units():
    count = 128
    area, year, tax = torch.rand(count) * 3000, 1950 + 70 * torch.rand(count), torch.rand(count) * 1e5
    x = torch.stack([area, year, tax], dim=1)
    y = (area / 1000 + (year - 1985) / 20).unsqueeze(1)
    net = mlp(3, 32, 1)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.mse_loss(net(xb), yb).backward()
            opt.step()


@broken(
    "input-not-normalised",
    also=("loss-at-start", "learning-rate-high", "update-ratio-high", "loss-diverges", "all-zero-gradient"),
)
def pixels_from_0_to_255():
    x, y = pictures()
    x = (x * 255).round()
    net = nn.Sequential(nn.Flatten(), *mlp(64, 64, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()


@broken("constant-batch", also=("labels-shuffled-or-constant",))
def dataset_that_ignores_its_index():
    class Faces(Dataset):
        def __init__(self):
            self.x, self.y = pictures()

        def __len__(self):
            return len(self.x)

        def __getitem__(self, index):
            return self.x[0], self.y[index]

    net = nn.Sequential(nn.Flatten(), *mlp(64, 32, 4))
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(8):
        for x, y in DataLoader(Faces(), batch_size=16, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


@broken("labels-shuffled-or-constant")
def inputs_shuffled_and_labels_not():
    x, y = blobs(256)
    x = x[torch.randperm(len(x))]
    net = mlp(10, 64, 4)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(12):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()


@broken("labels-shuffled-or-constant", also=("class-imbalance",))
def labels_that_are_all_zero():
    x, _ = blobs()
    y = (x.sum(1) > 1000).long()
    net = mlp(10, 16, 2)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(8):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()


@broken("class-imbalance")
def fraud_of_two_in_a_hundred():
    x, _ = blobs(400)
    y = (torch.arange(400) % 50 == 0).long()
    x = x + 2 * y[:, None]
    net = mlp(10, 16, 2)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(3):
        for xb, yb in loader(x, y, batch_size=40):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()


@broken("loss-at-start", also=("initialisation-scale", "learning-rate-high", "loss-diverges", "update-ratio-high"))
def logits_of_a_huge_head():
    x, y = blobs()
    net = mlp(10, 64, 4)
    nn.init.normal_(net[-1].weight, std=4.0)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(5):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()


@broken("loss-broadcast")
def forecast_of_one_column_against_rows():
    series = waves(32, 10)
    net = mlp(10, 16, 1)
    opt = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(40):
        history, after = series[:, :-1, 0], series[:, -1, 0]
        prediction = net(history)
        loss = torch.nn.functional.huber_loss(prediction, after)
        opt.zero_grad()
        loss.backward()
        opt.step()
