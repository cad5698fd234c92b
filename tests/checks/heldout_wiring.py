"""Held out, broken: what the optimizer has, what the graph reaches, and the mode of the model."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken
from checks.made import blobs, loader, pictures, plane, tokens, waves


def small_cnn(classes=4, norm=False):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8) if norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 16, classes),
    )


@broken("parameter-not-optimized", source="huggingface/pytorch-openai-transformer-lm#6")
def head_missing_from_the_optimizer():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.transformer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.embed, self.clf_head = nn.Embedding(20, 16), nn.Linear(16, 2)

        def forward(self, ids):
            return self.clf_head(self.transformer(self.embed(ids)).mean(1))

    model = Model()
    optimizer = torch.optim.Adam([*model.transformer.parameters(), *model.embed.parameters()], lr=1e-3)
    data = tokens()
    for _ in range(8):
        for ids, y in loader(data, (data[:, 0] > 9).long()):
            loss = F.cross_entropy(model(ids), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@broken("parameter-not-optimized", also=("weight-decay-on-norm-or-bias",))
def groups_by_name_that_miss_a_layer():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.neck, self.head = nn.Linear(10, 32), nn.Linear(32, 32), nn.Linear(32, 4)

        def forward(self, x):
            return self.head(F.relu(self.neck(F.relu(self.backbone(x)))))

    net = Net()
    opt = torch.optim.SGD(
        [
            {"params": [p for n, p in net.named_parameters() if "backbone" in n], "lr": 1e-2},
            {"params": [p for n, p in net.named_parameters() if "head" in n], "lr": 1e-1},
        ],
        lr=1e-2,
    )
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


@broken(
    "optimizer-foreign-parameters",
    also=("parameter-not-optimized", "weights-unchanged", "loss-plateau"),
    source="mrdbourke/pytorch-deep-learning#399",
)
def optimizer_of_the_notebooks_other_model():
    torch.manual_seed(42)
    model_0, model_1 = nn.Linear(1, 1), nn.Linear(1, 1)
    model_0(torch.ones(1, 1))
    x = torch.arange(0, 1, 0.02).unsqueeze(1)
    y = 0.7 * x + 0.3
    optimizer = torch.optim.SGD(params=model_0.parameters(), lr=0.01)
    loss_fn = nn.L1Loss()
    for _epoch in range(40):
        model_1.train()
        loss = loss_fn(model_1(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@broken("optimizer-foreign-parameters", also=("parameter-not-optimized",), source="microsoft/nni#4521")
def classifier_replaced_after_the_optimizer():
    model = small_cnn(classes=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model[-1] = nn.Linear(8 * 16, 4)
    for _ in range(8):
        for x, y in loader(*pictures()):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()


@broken("optimizer-foreign-parameters", also=("parameter-not-optimized", "weights-unchanged", "loss-plateau"))
def copy_of_the_model_trained():
    base = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))
    opt = torch.optim.Adam(base.parameters(), lr=1e-2)
    model = copy.deepcopy(base)
    x, y = plane()
    for _ in range(30):
        opt.zero_grad()
        F.mse_loss(model(x), y).backward()
        opt.step()


@broken("parameter-without-gradient", source="cic#5")
def encoder_under_no_grad():
    class Captioner(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.Linear(64, 32), nn.Linear(32, 4)

        def forward(self, x):
            with torch.no_grad():
                features = F.relu(self.encoder(x.flatten(1)))
            return self.decoder(features)

    model = Captioner()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for x, y in loader(*pictures()):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()


@broken("parameter-without-gradient", source="nikhilsinghmus/image2reverb#37")
def generator_judged_on_detached_fakes():
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
    critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    opt_d = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(30):
        real, fake = torch.randn(16, 2) + 1, generator(torch.randn(16, 4))
        opt_d.zero_grad()
        d_loss = F.mse_loss(critic(real), torch.ones(16, 1)) + F.mse_loss(critic(fake.detach()), torch.zeros(16, 1))
        d_loss.backward()
        opt_d.step()
        opt_g.zero_grad()
        g_loss = F.mse_loss(critic(fake.detach()), torch.ones(16, 1))
        g_loss.backward()
        opt_g.step()


@broken("parameter-without-gradient")
def branch_that_the_forward_forgets():
    class TwoStream(nn.Module):
        def __init__(self):
            super().__init__()
            self.local, self.context = nn.Linear(10, 16), nn.Linear(10, 16)
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            local = torch.relu(self.local(x))
            context = torch.relu(self.context(x))
            fused = local + local  # meant: local + context
            return self.head(fused), context.mean().item()

    model = TwoStream()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(model(x)[0], y).backward()
            opt.step()


@broken("unregistered-parameters", source="pytorch/pytorch#59925; kymatio/murenn#42")
def layers_in_a_plain_list():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp = nn.Linear(10, 16)
            self.blocks = [nn.Linear(16, 16) for _ in range(3)]
            self.out = nn.Linear(16, 4)

        def forward(self, x):
            x = F.relu(self.inp(x))
            for block in self.blocks:
                x = x + F.relu(block(x))
            return self.out(x)

    net = Net()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


@broken("unregistered-parameters", source="asyml/texar-pytorch#72")
def heads_in_a_dict():
    class MultiTask(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(10, 16)
            self.heads = {"class": nn.Linear(16, 4), "norm": nn.Linear(16, 1)}

        def forward(self, x):
            h = torch.tanh(self.shared(x))
            return {name: head(h) for name, head in self.heads.items()}

    net = MultiTask()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(8):
        for x, y in loader(*blobs()):
            opt.zero_grad()
            out = net(x)
            loss = F.cross_entropy(out["class"], y) + 0.1 * F.mse_loss(out["norm"], x.norm(dim=1, keepdim=True))
            loss.backward()
            opt.step()


@broken("unregistered-parameters")
def scale_as_a_plain_tensor():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 1)
            self.scale = torch.ones(1, requires_grad=True)

        def forward(self, x):
            return self.scale * self.linear(x)

    net = Scaled()
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    x, y = plane()
    for _ in range(30):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()


@broken(
    "detached-loss",
    also=("weights-unchanged", "loss-plateau", "parameter-without-gradient"),
    source="isayev/ReLeaSE#39",
)
def loss_wrapped_in_a_new_tensor():
    net = small_cnn()
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(6):
        for x, y in loader(*pictures()):
            opt.zero_grad()
            losses = [
                F.cross_entropy(net(part), target).item() for part, target in zip(x.split(8), y.split(8), strict=True)
            ]
            loss = torch.tensor(sum(losses), requires_grad=True)
            loss.backward()
            opt.step()


@broken(
    "detached-loss",
    also=("weights-unchanged", "loss-plateau", "parameter-without-gradient"),
    source="huggingface/torchMoji#21",
)
def accuracy_used_as_the_loss():
    x, y = blobs()
    net = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 4))
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(20):
        opt.zero_grad()
        predicted = net(x).argmax(dim=1).float()
        loss = F.mse_loss(predicted, y.float())
        loss.requires_grad = True
        loss.backward()
        opt.step()


@broken("eval-mode-in-training", source="tk-rusch/coRNN#1; wkentaro/pytorch-fcn#57")
def eval_after_the_first_validation():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 4))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    train, test = loader(*pictures()), loader(*pictures(32))

    def validate():
        model.eval()
        with torch.no_grad():
            return sum((model(x).argmax(1) == y).sum().item() for x, y in test)

    model.train()
    for _epoch in range(6):
        for x, y in train:
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
        validate()


@broken("eval-mode-in-training", source="ermongroup/ncsn#2")
def sampling_leaves_the_model_in_eval():
    model = nn.Sequential(nn.Linear(3, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Linear(32, 2))
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(60):
        x = torch.randn(64, 2) * 0.3 + 1
        sigma = torch.rand(64, 1) + 0.1
        noise = torch.randn_like(x)
        score = model(torch.cat([x + sigma * noise, sigma], dim=1))
        loss = ((score * sigma + noise) ** 2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 20 == 10:
            model.eval()
            with torch.no_grad():
                model(torch.randn(16, 3))


@broken("train-mode-in-evaluation", source="pliang279/MultiBench#26")
def validation_calls_train():
    model = small_cnn(norm=True)
    opt = torch.optim.SGD(model.parameters(), lr=0.05)
    train, valid = loader(*pictures()), loader(*pictures(32))
    for _ in range(4):
        for phase, batches in (("train", train), ("val", valid)):
            model.train()
            for x, y in batches:
                with torch.set_grad_enabled(phase == "train"):
                    loss = F.cross_entropy(model(x), y)
                if phase == "train":
                    opt.zero_grad()
                    loss.backward()
                    opt.step()


@broken("train-mode-in-evaluation", source="udacity/deep-learning-v2-pytorch#3")
def no_grad_taken_for_eval():
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    x, y = blobs()
    for _ in range(6):
        for xb, yb in loader(x[:96], y[:96]):
            opt.zero_grad()
            F.cross_entropy(model(xb), yb).backward()
            opt.step()
        with torch.no_grad():
            (model(x[96:]).argmax(1) == y[96:]).float().mean()


@broken("graph-kept-across-iterations", source="samuelyu2002/ImVisible#2")
def running_loss_is_a_tensor():
    model = small_cnn()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _epoch in range(2):
        running_loss = 0.0
        for x, y in loader(*pictures(128)):
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            running_loss += loss


@broken("graph-kept-across-iterations", source="pytorch/examples, vae")
def vae_sums_its_loss():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 4)
            self.fc3, self.fc4 = nn.Linear(4, 32), nn.Linear(32, 64)

        def forward(self, x):
            h = F.relu(self.fc1(x.view(-1, 64)))
            mu, logvar = self.fc21(h), self.fc22(h)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar

    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _epoch in range(2):
        model.train()
        train_loss = 0
        for data, _ in loader(*pictures(), batch_size=8):
            optimizer.zero_grad()
            recon, mu, logvar = model(data)
            loss = F.binary_cross_entropy(recon, data.view(-1, 64), reduction="sum")
            loss += -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss.backward()
            train_loss += loss
            optimizer.step()


@broken("graph-kept-across-iterations", source="quark0/darts#56")
def hidden_state_carried_with_retain_graph():
    rnn, head = nn.RNN(1, 8, batch_first=True), nn.Linear(8, 1)
    opt = torch.optim.SGD([*rnn.parameters(), *head.parameters()], lr=1e-4)
    series = waves(8, 60)
    hidden = torch.zeros(1, 8, 8)
    total = None
    for start in range(0, 60, 5):
        chunk = series[:, start : start + 6]
        out, hidden = rnn(chunk[:, :-1], hidden)
        loss = F.mse_loss(head(out), chunk[:, 1:])
        total = loss if total is None else total + loss
        opt.zero_grad()
        torch.autograd.grad(total, list(rnn.parameters()), retain_graph=True)
        loss.backward(retain_graph=True)
        if start == 55:
            opt.step()


@broken("graph-kept-across-iterations")
def losses_in_a_list_for_the_plot():
    x, y = plane()
    net = nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 1))
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    history = []
    for _ in range(40):
        loss = F.mse_loss(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        history.append(loss)


@broken("batchnorm-batch-of-one")
def segmentation_with_single_pictures():
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        for x, y in loader(*pictures(24), batch_size=1):
            opt.zero_grad()
            F.cross_entropy(model(x), y).backward()
            opt.step()
