"""Held out, broken by faults that no rule named when they were written; each is called as a rule for it might be."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken
from checks.made import blobs, loader, pictures, plane, tokens, waves


@broken("dropout-in-evaluation", source="yangze0930/NTS-Net#14")
def dropout_built_in_forward():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(10, 32), nn.Linear(32, 4)

        def forward(self, x):
            return self.fc2(nn.Dropout(p=0.5)(F.relu(self.fc1(x))))

    model = Net()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = blobs()
    for _ in range(5):
        model.train()
        for xb, yb in loader(x[:96], y[:96]):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            (model(x[96:]).argmax(1) == y[96:]).float().mean()


@broken("dropout-in-evaluation", source="rixwew/pytorch-fm#21")
def functional_dropout_without_training():
    class Factorised(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(20, 16), nn.Linear(16, 2)

        def forward(self, ids):
            return self.out(F.dropout(self.embed(ids).mean(1), p=0.2))

    data = tokens()
    labels = (data[:, 0] > 9).long()
    model = Factorised()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        model.train()
        for ids, y in loader(data[:48], labels[:48]):
            opt.zero_grad()
            F.cross_entropy(model(ids), y).backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            F.cross_entropy(model(data[48:]), labels[48:])


@broken("frozen-batchnorm-updates", source="pgniewko/gt-pyg#112")
def frozen_backbone_whose_statistics_move():
    backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    head = nn.Linear(8, 4)
    for p in backbone.parameters():
        p.requires_grad = False
    model = nn.Sequential(backbone, head)
    opt = torch.optim.Adam(head.parameters(), lr=1e-2)
    model.train()
    for _ in range(8):
        for x, y in loader(*pictures()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@broken("plateau-wrong-mode", also=("weights-unchanged",), source="md-mohaiminul/ViS4mer#4")
def reduce_on_plateau_of_accuracy_in_min_mode():
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1, factor=0.2)
    x, y = blobs()
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
        with torch.no_grad():
            accuracy = (model(x).argmax(1) == y).float().mean().item()
        scheduler.step(accuracy)


@broken("clip-before-backward", source="Cranial-XIX/FAMO#4")
def clipped_before_backward():
    model = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 1))
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    x, y = plane()
    for _ in range(30):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        opt.step()


@broken("clip-before-backward", source="simchowitzlabpublic/nano-world-model#22")
def clipped_in_the_training_step():
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.GRU(1, 16, batch_first=True)
            self.out = nn.Linear(16, 1)

        def training_step(self, batch):
            loss = F.mse_loss(self.out(self.net(batch[:, :-1])[0]), batch[:, 1:])
            nn.utils.clip_grad_norm_(self.parameters(), 0.1)
            return loss

    module = Module()
    opt = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(8):
        for batch in waves().split(16):
            loss = module.training_step(batch)
            loss.backward()
            opt.step()
            opt.zero_grad(set_to_none=False)


@broken("view-for-permute", source="zhouhaoyi/Informer2020#59")
def attention_output_viewed_for_permuted():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.qkv, self.out = nn.Embedding(20, 16), nn.Linear(16, 48), nn.Linear(16, 20)

        def forward(self, ids):
            b, t = ids.shape
            q, k, v = (part.view(b, t, 4, 4).transpose(1, 2) for part in self.qkv(self.embed(ids)).split(16, dim=-1))
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.out(out.contiguous().view(b, t, 16))

    model = Attention()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for ids in tokens().split(16):
            opt.zero_grad()
            F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            opt.step()


@broken("batch-first-missing", source="dqn-pytorch#1")
def lstm_fed_batch_first():
    class Sentiment(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.lstm, self.fc = nn.Embedding(20, 16), nn.LSTM(16, 16), nn.Linear(16, 2)

        def forward(self, ids):
            out, _ = self.lstm(self.embed(ids))
            return self.fc(out[:, -1])

    data = tokens()
    model = Sentiment()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for ids, y in loader(data, (data[:, 0] > 9).long()):
            opt.zero_grad()
            F.cross_entropy(model(ids), y).backward()
            opt.step()


@broken("tying-lost", source="Modalities/modalities#357")
def tied_head_reinitialised():
    class LM(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(20, 16)
            self.lm_head = nn.Linear(16, 20, bias=False)
            self.lm_head.weight = self.wte.weight
            self.lm_head.weight = nn.Parameter(torch.randn(20, 16) * 0.1)

        def forward(self, ids):
            return self.lm_head(self.wte(ids))

    model = LM()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(8):
        for ids in tokens().split(16):
            opt.zero_grad()
            F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten()).backward()
            opt.step()


@broken("optimizer-recreated", source="alan-turing-institute/deepsensor#47")
def optimizer_made_anew_every_epoch():
    model = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
    batches = loader(*plane())

    def train_epoch():
        opt = torch.optim.Adam(model.parameters(), lr=1e-3)
        for x, y in batches:
            opt.zero_grad()
            F.mse_loss(model(x), y).backward()
            opt.step()

    for _ in range(8):
        train_epoch()


@broken("labels-shuffled-or-constant", source="Deci-AI/super-gradients#416")
def batches_sorted_by_class():
    x, y = blobs()
    order = y.argsort()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(6):
        for xb, yb in loader(x[order], y[order], shuffle=False):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@broken("zero-grad-before-step", source="ultralytics/ultralytics#11217")
def last_micro_batches_cleared():
    x, y = blobs(112)
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(8):
        opt.zero_grad()
        for i, (xb, yb) in enumerate(loader(x, y, batch_size=16), start=1):
            (F.cross_entropy(model(xb), yb) / 4).backward()
            if i % 4 == 0:
                opt.step()
                opt.zero_grad()


@broken(
    "weights-unchanged",
    also=("update-ratio-low", "learning-rate-low"),
    source="automl/Auto-PyTorch#210",
)
def epoch_scheduler_stepped_every_batch():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(opt, step_size=5, gamma=0.1)
    for _epoch in range(20):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
            scheduler.step()


@broken("input-not-normalised", also=("dead-relu",), source="pycadl#5")
def pixels_divided_by_255_twice():
    x, y = pictures()
    x = x / 255
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@broken("parameter-not-optimized", also=("parameter-without-gradient",), source="discuss.pytorch.org 84911")
def net_left_out_of_the_optimizer():
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    scale = nn.Parameter(torch.ones(1))
    opt = torch.optim.Adam([scale], lr=1e-2)
    x, y = plane()
    for _ in range(20):
        opt.zero_grad()
        F.mse_loss(net(x) * scale, y).backward()
        opt.step()
