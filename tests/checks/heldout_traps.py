"""Held out, healthy: what a naive rule would flag."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from checks.corpus import healthy
from checks.made import blobs, loader, mlp, pictures, plane, tokens, waves


@healthy
def residual_gates_that_begin_at_zero():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gate = mlp(32, 64, 32), nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x + self.gate * self.body(x)

    model = nn.Sequential(nn.Linear(10, 32), *[Block() for _ in range(4)], nn.Linear(32, 4))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def zeroed_head_and_last_norm():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, bias=False)
            self.n1, self.n2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            nn.init.zeros_(self.n2.weight)

        def forward(self, x):
            return F.relu(x + self.n2(self.b(F.relu(self.n1(self.a(x))))))

    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), Block(), Block(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    for _ in range(8):
        for x, y in loader(*pictures()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def logistic_regression_from_zero():
    x, y = blobs(classes=2)
    w, b = torch.zeros(10, requires_grad=True), torch.zeros(1, requires_grad=True)
    opt = torch.optim.SGD([w, b], lr=0.1)
    for _ in range(40):
        opt.zero_grad()
        F.binary_cross_entropy_with_logits(x @ w + b, y.float()).backward()
        opt.step()


@healthy
def stochastic_depth():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.out = nn.Linear(10, 32), nn.Linear(32, 4)
            self.blocks = nn.ModuleList(mlp(32, 32, 32) for _ in range(4))

        def forward(self, x):
            x = self.inp(x)
            for block in self.blocks:
                if not self.training or torch.rand(()) > 0.5:
                    x = x + block(x)
            return self.out(x)

    model = Net()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def accumulation_with_a_remainder():
    model = mlp(10, 32, 4)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = blobs(104)
    batches = loader(x, y, batch_size=8)
    for _ in range(8):
        for i, (xb, yb) in enumerate(batches, start=1):
            last = i == len(batches)
            size = len(batches) % 4 or 4 if i > len(batches) // 4 * 4 else 4
            (F.cross_entropy(model(xb), yb) / size).backward()
            if i % 4 == 0 or last:
                opt.step()
                opt.zero_grad()


@healthy
def accumulation_of_sums_divided_by_the_count():
    embed, rnn, out = nn.Embedding(20, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 20)
    model = nn.ModuleList([embed, rnn, out])
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for _ in range(8):
        for macro in tokens().split(16):
            count = macro[:, 1:].numel()
            opt.zero_grad()
            for ids in macro.split(4):
                logits = out(rnn(embed(ids[:, :-1]))[0])
                (F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="sum") / count).backward()
            opt.step()


@healthy
def two_losses_two_backwards():
    trunk, a, b = mlp(10, 32, 32), nn.Linear(32, 4), nn.Linear(32, 10)
    opt = torch.optim.Adam([*trunk.parameters(), *a.parameters(), *b.parameters()], lr=2e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            h = F.relu(trunk(x))
            F.cross_entropy(a(h), y).backward(retain_graph=True)
            (0.5 * F.mse_loss(b(h), x)).backward()
            opt.step()


@healthy
def log_softmax_into_cross_entropy():
    model = nn.Sequential(*mlp(10, 32, 4), nn.LogSoftmax(dim=1))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            opt.step()


@healthy
def softmax_for_the_metric_only():
    model = mlp(10, 32, 4)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    confidence = []
    for _ in range(8):
        for x, y in loader(*blobs()):
            out = model(x)
            confidence.append(F.softmax(out, dim=1).max(1).values.mean().item())
            opt.zero_grad()
            F.cross_entropy(out, y).backward()
            opt.step()


@healthy
def attention_over_a_set():
    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.score, self.out = nn.Linear(10, 16), nn.Linear(16, 1), nn.Linear(16, 4)

        def forward(self, bag):
            h = torch.tanh(self.embed(bag))
            return self.out((F.softmax(self.score(h), dim=0) * h).sum(0))

    x, y = blobs(240)
    model = Pool()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for i in range(60):
        members = torch.nonzero(y == i % 4).flatten()[torch.randperm(60)[:12]]
        opt.zero_grad()
        F.cross_entropy(model(x[members]).unsqueeze(0), torch.tensor([i % 4])).backward()
        opt.step()


@healthy
def broadcast_on_purpose():
    x, _ = blobs(64)
    y = x.norm(dim=1, keepdim=True)
    heads = mlp(10, 32, 5)
    opt = torch.optim.Adam(heads.parameters(), lr=5e-3)
    for _ in range(40):
        ensemble = heads(x)
        opt.zero_grad()
        ((ensemble - y) ** 2).mean().backward()
        opt.step()


@healthy
def standardised_inputs_and_targets_in_double():
    x, y = plane()
    x, y = x.double(), y.double()
    model = mlp(5, 16, 1).double()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.mse_loss(model(xb), yb).backward()
            opt.step()


@healthy
def batch_norm_takes_care_of_raw_pixels():
    x, y = pictures()
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for xb, yb in loader((x * 255).round(), y):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@healthy
def last_batch_of_another_size():
    model = nn.Sequential(nn.Linear(10, 32), nn.LayerNorm(32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for x, y in loader(*blobs(97)):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def monte_carlo_dropout():
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1))
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    x, y = plane()
    for _ in range(8):
        model.train()
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.mse_loss(model(xb), yb).backward()
            opt.step()
    model.eval()
    for m in model.modules():
        if isinstance(m, nn.Dropout):
            m.train()
    with torch.no_grad():
        torch.stack([model(x) for _ in range(10)]).std(0)


@healthy
def frozen_batch_norm_while_fine_tuning():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)
    )
    model.train()
    model[1].eval()
    model[1].requires_grad_(False)
    opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for _ in range(8):
        for x, y in loader(*pictures()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def mean_teacher():
    student = mlp(10, 32, 4)
    teacher = copy.deepcopy(student)
    teacher.requires_grad_(False)
    opt = torch.optim.Adam(student.parameters(), lr=3e-3)
    x, y = blobs()
    for _ in range(50):
        rows, free = torch.randint(0, 32, (16,)), torch.randint(0, 128, (32,))
        supervised = F.cross_entropy(student(x[rows]), y[rows])
        with torch.no_grad():
            goal = teacher(x[free] + 0.1 * torch.randn(32, 10)).softmax(1)
        consistency = F.mse_loss(student(x[free]).softmax(1), goal)
        loss = supervised + 3.0 * consistency
        opt.zero_grad()
        loss.backward()
        opt.step()
        for t, s in zip(teacher.parameters(), student.parameters(), strict=True):
            t.data.mul_(0.99).add_(s.data, alpha=0.01)


@healthy
def a_stream_without_a_length():
    class Stream(IterableDataset):
        def __iter__(self):
            while True:
                x = torch.randn(5)
                yield x, x.sum().sin().unsqueeze(0)

    model = mlp(5, 32, 1)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for i, (x, y) in enumerate(DataLoader(Stream(), batch_size=16)):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()
        if i == 50:
            break


@healthy
def overfit_one_batch_on_purpose():
    x, y = blobs(16)
    model = mlp(10, 64, 4)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward()
        opt.step()


@healthy
def skipping_batches_with_bad_gradients():
    model = mlp(5, 32, 1)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for x, y in loader(*plane()):
            opt.zero_grad(set_to_none=True)
            F.huber_loss(model(x), y).backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            if torch.isfinite(norm) and norm < 8:
                opt.step()


@healthy
def fine_tuning_at_1e_5():
    model = mlp(10, 64, 4)
    first = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = blobs()
    for _ in range(40):
        first.zero_grad()
        F.cross_entropy(model(x), y).backward()
        first.step()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.0)
    for _ in range(4):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@healthy
def one_cycle_from_a_tiny_rate():
    model = mlp(10, 32, 4)
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.5, total_steps=80, div_factor=1e4)
    for _ in range(10):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
            scheduler.step()


@healthy
def running_loss_of_detached_tensors():
    model = mlp(10, 32, 4)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(6):
        total = torch.zeros(())
        for x, y in loader(*blobs()):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            total += loss.detach() * len(x)


@healthy
def losses_summed_over_time_then_backward():
    cell, head = nn.GRUCell(1, 16), nn.Linear(16, 1)
    opt = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=5e-3)
    series = waves(32, 12)
    for _ in range(30):
        h, loss = torch.zeros(32, 16), 0
        for t in range(12):
            h = cell(series[:, t], h)
            loss = loss + F.mse_loss(head(h), series[:, t + 1])
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def trainer_class_with_callbacks():
    class Trainer:
        def __init__(self, model, optimizer, scheduler, accumulate=2):
            self.model, self.optimizer, self.scheduler, self.accumulate = model, optimizer, scheduler, accumulate
            self.callbacks = {"on_step": [], "on_epoch": []}
            self.global_step = 0

        def training_step(self, batch):
            x, y = batch
            return F.cross_entropy(self.model(x), y, label_smoothing=0.05) / self.accumulate

        def fit(self, batches, epochs):
            for _ in range(epochs):
                self.model.train()
                for i, batch in enumerate(batches):
                    self.training_step(batch).backward()
                    if (i + 1) % self.accumulate == 0:
                        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                        self.optimizer.step()
                        self.scheduler.step()
                        self.optimizer.zero_grad(set_to_none=True)
                        self.global_step += 1
                        for callback in self.callbacks["on_step"]:
                            callback(self)

    model = nn.Sequential(nn.Linear(10, 32), nn.LayerNorm(32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    trainer = Trainer(model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40))
    trainer.callbacks["on_step"].append(lambda t: t.global_step)
    trainer.fit(loader(*blobs()), 10)


@healthy
def optimizer_made_before_the_model_moves():
    model = mlp(10, 32, 4)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    model.to(torch.float64)
    model.to("cpu")
    x, y = blobs()
    for _ in range(8):
        for xb, yb in loader(x.double(), y):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@healthy
def evaluation_inside_the_loop_with_modes_restored():
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, y = blobs(160)

    def evaluate():
        was = model.training
        model.eval()
        with torch.no_grad():
            loss = F.cross_entropy(model(x[128:]), y[128:])
        model.train(was)
        return loss.item()

    step = 0
    for _ in range(8):
        for xb, yb in loader(x[:128], y[:128]):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
            step += 1
            if step % 10 == 0:
                evaluate()
