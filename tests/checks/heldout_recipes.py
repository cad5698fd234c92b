"""Held out, healthy: supervised recipes as tutorials and repositories write them."""

from __future__ import annotations

import argparse
import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import healthy
from checks.made import blobs, loader, mlp, pictures, plane, tokens, waves


class ConvNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 8, 3, 1), nn.Conv2d(8, 16, 3, 1)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(16 * 4, 32), nn.Linear(32, classes)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = torch.flatten(self.dropout1(F.max_pool2d(x, 2)), 1)
        x = self.dropout2(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


@healthy
def mnist_example_script():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    args = parser.parse_args([])

    def train(model, batches, optimizer):
        model.train()
        for data, target in batches:
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()

    def test(model, batches):
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for data, target in batches:
                output = model(data)
                test_loss += F.nll_loss(output, target, reduction="sum").item()
                correct += output.argmax(dim=1, keepdim=True).eq(target.view_as(output[:, :1])).sum().item()
        return test_loss, correct

    x, y = pictures(160)
    model = ConvNet()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=args.gamma)
    for _ in range(5):
        train(model, loader(x[:128], y[:128]), optimizer)
        test(model, loader(x[128:], y[128:], batch_size=32))
        scheduler.step()


@healthy
def warm_up_and_cosine():
    model = mlp(10, 64, 4, act=nn.GELU)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    total = 80

    def rate(step):
        if step < 20:
            return step / 20
        return 0.5 * (1 + math.cos(math.pi * (step - 20) / (total - 20)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(opt, rate)
    batches = loader(*blobs())
    for _ in range(10):
        for x, y in batches:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
            scheduler.step()


@healthy
def tied_language_model():
    class LM(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(20, 32), nn.Embedding(12, 32)
            self.block = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.1, batch_first=True, norm_first=True)
            self.ln = nn.LayerNorm(32)
            self.head = nn.Linear(32, 20, bias=False)
            self.head.weight = self.wte.weight
            nn.init.normal_(self.wte.weight, std=0.02)
            nn.init.normal_(self.wpe.weight, std=0.02)

        def forward(self, ids):
            t = ids.shape[1]
            x = self.wte(ids) + self.wpe(torch.arange(t))
            mask = nn.Transformer.generate_square_subsequent_mask(t)
            return self.head(self.ln(self.block(x, src_mask=mask, is_causal=True)))

    model = LM()
    decay = [p for p in model.parameters() if p.dim() >= 2]
    rest = [p for p in model.parameters() if p.dim() < 2]
    opt = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.95)
    )
    data = tokens()
    for _ in range(12):
        for ids in data.split(16):
            loss = F.cross_entropy(model(ids[:, :-1]).reshape(-1, 20), ids[:, 1:].reshape(-1))
            opt.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()


@healthy
def label_smoothing_and_mixup():
    model = nn.Sequential(nn.Flatten(), *mlp(64, 64, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    for _ in range(10):
        for x, y in loader(*pictures()):
            lam = float(torch.distributions.Beta(0.4, 0.4).sample())
            order = torch.randperm(len(x))
            out = model(lam * x + (1 - lam) * x[order])
            loss = lam * criterion(out, y) + (1 - lam) * criterion(out, y[order])
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def focal_loss_from_logits():
    def focal(logits, targets, alpha=0.25, gamma=2.0):
        p = torch.sigmoid(logits)
        ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        p_t = p * targets + (1 - p) * (1 - targets)
        return ((alpha * targets + (1 - alpha) * (1 - targets)) * ce * (1 - p_t) ** gamma).mean()

    x, y = blobs(classes=2)
    model = mlp(10, 32, 1)
    nn.init.constant_(model[-1].bias, -math.log((1 - 0.1) / 0.1))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            focal(model(xb).squeeze(1), yb.float()).backward()
            opt.step()


@healthy
def class_weighted_loss():
    x, _ = blobs(240)
    y = (torch.arange(240) % 6 == 0).long()
    x = x + 1.5 * y[:, None]
    weight = 240 / (2 * torch.bincount(y).float())
    model = mlp(10, 16, 2)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for xb, yb in loader(x, y, batch_size=24):
            opt.zero_grad()
            nn.CrossEntropyLoss(weight=weight)(model(xb), yb).backward()
            opt.step()


@healthy
def ctc_recogniser():
    class Recogniser(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.LSTM(6, 32, bidirectional=True)
            self.fc = nn.Linear(64, 5)

        def forward(self, x):
            return self.fc(self.rnn(x)[0]).log_softmax(2)

    labels = torch.randint(1, 5, (32, 4))
    frames = F.one_hot(labels.repeat_interleave(5, dim=1), 6).float() + 0.2 * torch.randn(32, 20, 6)
    model, ctc = Recogniser(), nn.CTCLoss(blank=0)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(10):
        for x, y in loader(frames, labels, batch_size=8):
            log_probs = model(x.transpose(0, 1))
            loss = ctc(log_probs, y, torch.full((len(x),), 20), torch.full((len(x),), 4))
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5)
            opt.step()


@healthy
def distillation():
    x, y = blobs()
    teacher, student = mlp(10, 64, 4), mlp(10, 8, 4)
    opt_t = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    for _ in range(20):
        opt_t.zero_grad()
        F.cross_entropy(teacher(x), y).backward()
        opt_t.step()
    teacher.eval()
    opt = torch.optim.Adam(student.parameters(), lr=1e-2)
    temperature = 4.0
    for _ in range(8):
        for xb, yb in loader(x, y):
            with torch.no_grad():
                soft = F.softmax(teacher(xb) / temperature, dim=1)
            out = student(xb)
            kd = F.kl_div(F.log_softmax(out / temperature, dim=1), soft, reduction="batchmean") * temperature**2
            loss = 0.7 * kd + 0.3 * F.cross_entropy(out, yb)
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def lora_on_a_frozen_layer():
    class LoRALinear(nn.Module):
        def __init__(self, base, rank=4, alpha=8):
            super().__init__()
            self.base = base.requires_grad_(False)
            self.a = nn.Parameter(torch.randn(rank, base.in_features) / rank**0.5)
            self.b = nn.Parameter(torch.zeros(base.out_features, rank))
            self.scale = alpha / rank

        def forward(self, x):
            return self.base(x) + self.scale * (x @ self.a.T @ self.b.T)

    model = mlp(10, 32, 32, 4)
    model[0].requires_grad_(False)
    model[2] = LoRALinear(model[2])
    model[4] = LoRALinear(model[4])
    opt = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3, weight_decay=0.0)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def transfer_learning_with_a_frozen_backbone():
    backbone = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    for p in backbone.parameters():
        p.requires_grad = False
    backbone.eval()
    head = nn.Linear(32, 4)
    opt = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(8):
        for x, y in loader(*pictures()):
            head.train()
            with torch.no_grad():
                features = backbone(x)
            opt.zero_grad()
            F.cross_entropy(head(features), y).backward()
            opt.step()


@healthy
def adapters_and_gradual_unfreezing():
    class Adapter(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.down, self.up = nn.Linear(size, 4), nn.Linear(4, size)
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

        def forward(self, x):
            return x + self.up(F.gelu(self.down(x)))

    body, adapter, head = nn.Linear(10, 32), Adapter(32), nn.Linear(32, 4)
    body.requires_grad_(False)
    model = nn.Sequential(body, nn.Tanh(), adapter, head)
    opt = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=3e-3)
    for epoch in range(10):
        if epoch == 5:
            body.requires_grad_(True)
            opt.add_param_group({"params": body.parameters(), "lr": 3e-4})
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def truncated_bptt():
    rnn, head = nn.LSTM(1, 16, batch_first=True), nn.Linear(16, 1)
    opt = torch.optim.Adam([*rnn.parameters(), *head.parameters()], lr=5e-3)
    series = waves(8, 120)
    for _ in range(3):
        state = None
        for start in range(0, 120, 10):
            chunk = series[:, start : start + 11]
            if state is not None:
                state = tuple(s.detach() for s in state)
            out, state = rnn(chunk[:, :-1], state)
            loss = F.mse_loss(head(out), chunk[:, 1:])
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def mixture_of_experts_top_1():
    class MoE(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(10, 6)
            self.experts = nn.ModuleList(mlp(10, 16, 4) for _ in range(6))

        def forward(self, x):
            weight, choice = self.gate(x).softmax(1).max(1)
            out = x.new_zeros(len(x), 4)
            for i, expert in enumerate(self.experts):
                rows = choice == i
                if rows.any():
                    out[rows] = weight[rows, None] * expert(x[rows])
            return out

    model = MoE()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for x, y in loader(*blobs(), batch_size=8):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def sparse_embedding_bag():
    data = tokens()
    labels = (data[:, 0] > 9).long()
    bag, fc = nn.EmbeddingBag(5000, 16, sparse=True), nn.Linear(16, 2)
    sparse, dense = torch.optim.SparseAdam(bag.parameters(), lr=1e-2), torch.optim.Adam(fc.parameters(), lr=1e-2)
    for _ in range(8):
        for ids, y in loader(data, labels):
            sparse.zero_grad()
            dense.zero_grad()
            F.cross_entropy(fc(bag(ids)), y).backward()
            sparse.step()
            dense.step()


@healthy
def quantile_regression():
    quantiles = torch.tensor([0.1, 0.5, 0.9])
    model = mlp(5, 32, 3)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(10):
        for x, y in loader(*plane()):
            error = y - model(x)
            loss = torch.max(quantiles * error, (quantiles - 1) * error).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def cox_survival_loss():
    x, risk = plane()
    time = torch.exp(-0.3 * risk.squeeze(1)) * torch.distributions.Exponential(1.0).sample((128,))
    event = (torch.rand(128) < 0.7).float()
    model = mlp(5, 16, 1, act=nn.SELU)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = time.argsort(descending=True)
    for _ in range(40):
        h = model(x[order]).squeeze(1)
        loss = -((h - torch.logcumsumexp(h, 0)) * event[order]).sum() / event.sum()
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def multi_task_with_uncertainty_weights():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk, self.a, self.b = mlp(10, 32, 32), nn.Linear(32, 4), nn.Linear(32, 1)
            self.log_vars = nn.Parameter(torch.zeros(2))

    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    x, y = blobs()
    for _ in range(8):
        for xb, yb in loader(x, y):
            h = F.relu(net.trunk(xb))
            ce, mse = F.cross_entropy(net.a(h), yb), F.mse_loss(net.b(h).squeeze(1), xb[:, 0])
            precision = torch.exp(-net.log_vars)
            loss = precision[0] * ce + precision[1] * mse + net.log_vars.sum()
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def early_stopping_and_the_best_checkpoint():
    x, y = blobs(160)
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.6), nn.Linear(32, 4))
    opt = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, mode="max", patience=2)
    best, best_state, waited = 0.0, None, 0
    for _ in range(15):
        model.train()
        for xb, yb in loader(x[:128], y[:128], drop_last=True):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
        model.eval()
        with torch.inference_mode():
            accuracy = (model(x[128:]).argmax(1) == y[128:]).float().mean().item()
        scheduler.step(accuracy)
        if accuracy > best:
            best, best_state, waited = accuracy, copy.deepcopy(model.state_dict()), 0
        else:
            waited += 1
            if waited == 3:
                break
    model.load_state_dict(best_state)


@healthy
def average_of_weights():
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    average = torch.optim.swa_utils.AveragedModel(model)
    swa = torch.optim.swa_utils.SWALR(opt, swa_lr=0.02, anneal_epochs=2)
    batches = loader(*blobs())
    for epoch in range(10):
        for x, y in batches:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
        if epoch >= 5:
            average.update_parameters(model)
            swa.step()
    torch.optim.swa_utils.update_bn(batches, average)


@healthy
def gradient_checkpointing():
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.out = nn.Linear(10, 32), nn.Linear(32, 4)
            self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU()) for _ in range(4))

        def forward(self, x):
            x = self.inp(x)
            for block in self.blocks:
                x = x + checkpoint(block, x, use_reentrant=False)
            return self.out(x)

    model = Net()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def lbfgs_with_a_strong_wolfe_search():
    x, y = plane()
    model = nn.Linear(5, 1)
    opt = torch.optim.LBFGS(model.parameters(), lr=1, max_iter=5, line_search_fn="strong_wolfe")

    def closure():
        opt.zero_grad()
        loss = F.mse_loss(model(x), y) + 1e-3 * model.weight.pow(2).sum()
        loss.backward()
        return loss

    for _ in range(8):
        opt.step(closure)


@healthy
def manual_sgd():
    x, y = blobs()
    net = mlp(10, 24, 4, act=nn.Tanh)
    for _ in range(40):
        loss = F.cross_entropy(net(x), y)
        net.zero_grad()
        loss.backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.2 * p.grad


@healthy
def curriculum_from_easy_to_hard():
    x, y = blobs(256)
    difficulty = (x - torch.stack([x[y == c].mean(0) for c in range(4)])[y]).norm(dim=1)
    order = difficulty.argsort()
    model = mlp(10, 48, 4)
    opt = torch.optim.Adagrad(model.parameters(), lr=0.05)
    for epoch in range(10):
        easy = order[: 64 + 20 * epoch]
        for xb, yb in loader(x[easy], y[easy]):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()


@healthy
def amp_in_bfloat16_with_accumulation():
    model = nn.Sequential(nn.Flatten(), *mlp(64, 64, 64, 4, act=nn.SiLU))
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    for _ in range(12):
        for i, (x, y) in enumerate(loader(*pictures(), batch_size=8), start=1):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(x), y) / 2
            loss.backward()
            if i % 2 == 0:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
                opt.zero_grad(set_to_none=True)


@healthy
def amp_with_a_scaler_done_right():
    x, y = plane()
    model = mlp(5, 32, 1)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=10)
    for _ in range(10):
        for xb, yb in loader(x, y):
            opt.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.mse_loss(model(xb).float(), yb)
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            scaler.step(opt)
            scaler.update()


@healthy
def spectral_and_weight_norm():
    from torch.nn.utils.parametrizations import spectral_norm, weight_norm

    model = nn.Sequential(
        weight_norm(nn.Linear(10, 32)),
        nn.LeakyReLU(),
        spectral_norm(nn.Linear(32, 32)),
        nn.LeakyReLU(),
        nn.Linear(32, 4),
    )
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@healthy
def unet_with_dice_and_bce():
    images, _ = pictures(64, side=16)
    masks = (F.avg_pool2d(images, 3, 1, 1) > 0.5).float()
    down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
    up = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, stride=2))
    last = nn.Conv2d(9, 1, 3, padding=1)
    params = [p for m in (down, up, last) for p in m.parameters()]
    opt = torch.optim.NAdam(params, lr=2e-3)
    for _ in range(6):
        for x, mask in loader(images, masks):
            logits = last(torch.cat([up(down(x)), x], dim=1))
            p = torch.sigmoid(logits)
            dice = 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)
            loss = F.binary_cross_entropy_with_logits(logits, mask) + dice
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def graph_convolution_semi_supervised():
    x, y = blobs(90, 16, 3)
    adjacency = (y[:, None] == y[None]).float() * (torch.rand(90, 90) < 0.2) + torch.eye(90)
    adjacency = adjacency / adjacency.sum(1, keepdim=True)
    train = torch.randperm(90)[:20]
    w1, w2 = nn.Linear(16, 16), nn.Linear(16, 3)
    drop = nn.Dropout(0.5)
    opt = torch.optim.Adam([{"params": w1.parameters(), "weight_decay": 5e-4}, {"params": w2.parameters()}], lr=0.01)
    for _ in range(50):
        logits = adjacency @ w2(drop(F.relu(adjacency @ w1(drop(x)))))
        opt.zero_grad()
        F.cross_entropy(logits[train], y[train]).backward()
        opt.step()


@healthy
def multi_label_with_pos_weight():
    x, _ = blobs()
    targets = (x @ torch.randn(10, 6) > 1).float()
    model = mlp(10, 32, 6, act=nn.ELU)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.full((6,), 3.0))
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(8):
        for xb, yb in loader(x, targets):
            opt.zero_grad()
            criterion(model(xb), yb).backward()
            opt.step()


@healthy
def poisson_counts():
    x, y = plane()
    counts = torch.poisson(torch.exp(0.4 * y.clamp(-3, 3)))
    model = mlp(5, 16, 1)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(8):
        for xb, yb in loader(x, counts):
            opt.zero_grad()
            F.poisson_nll_loss(model(xb), yb).backward()
            opt.step()
