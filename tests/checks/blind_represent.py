"""Scripts that learn representations, distil, or train against perturbations, and mistakes made in them."""

from __future__ import annotations

import copy

import torch
from torch import nn, optim
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import loader, pictures


def encoder(out=16):
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 16, 3, padding=1),
        nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, out),
    )  # fmt: skip


def augment(x):
    x = torch.roll(x, shifts=int(torch.randint(-1, 2, ())), dims=-1)
    return x + 0.1 * torch.randn_like(x)


@healthy
def siamese_network():
    """pytorch/examples siamese_network: pairs compared by linear layers and a sigmoid, BCELoss, Adadelta at 1."""
    x, y = pictures(128, side=8)

    class SiameseNetwork(nn.Module):
        def __init__(self):
            super().__init__()
            self.resnet = encoder(16)
            self.fc = nn.Sequential(nn.Linear(32, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
            self.sigmoid = nn.Sigmoid()
            self.fc.apply(self.init_weights)

        def init_weights(self, m):
            if isinstance(m, nn.Linear):
                torch.nn.init.xavier_uniform_(m.weight)
                m.bias.data.fill_(0.01)

        def forward(self, input1, input2):
            return self.sigmoid(self.fc(torch.cat((self.resnet(input1), self.resnet(input2)), 1)))

    model = SiameseNetwork()
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    criterion = nn.BCELoss()
    for epoch in range(5):
        model.train()
        for _ in range(8):
            first, second = torch.randint(0, 128, (16,)), torch.randint(0, 128, (16,))
            second[::2] = (first[::2] + 4) % 128  # of the same class
            optimizer.zero_grad()
            outputs = model(x[first], x[second]).squeeze()
            loss = criterion(outputs, (y[first] == y[second]).float())
            loss.backward()
            optimizer.step()
        print(f"Train Epoch: {epoch} Loss: {loss.item():.6f}")
        scheduler.step()


@healthy
def triplet_margin():
    """adambielski/siamese-triplet: semi-hard triplets chosen in the batch, margin 1, Adam at 1e-3."""
    train_loader = loader(*pictures(128, side=8), batch_size=32)
    model = encoder(2)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 8, gamma=0.1)
    for epoch in range(10):
        model.train()
        losses = []
        for data, target in train_loader:
            optimizer.zero_grad()
            embeddings = model(data)
            with torch.no_grad():
                distances = torch.cdist(embeddings, embeddings)
                same = target[:, None] == target[None]
                positive = torch.where(same, distances, -1.0).argmax(1)
                negative = torch.where(same, 1e9, distances).argmin(1)
            ap = (embeddings - embeddings[positive]).pow(2).sum(1)
            an = (embeddings - embeddings[negative]).pow(2).sum(1)
            loss = F.relu(ap - an + 1.0).mean()
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"Epoch: {epoch + 1}. Train set: Average loss: {sum(losses) / len(losses):.4f}")


@broken("nan-or-inf", source="github.com/huggingface/sentence-transformers/pull/4033")
def contrastive_distance_by_sqrt():
    x, y = pictures(96, side=8)
    model = encoder(4)
    optimizer = optim.Adam(model.parameters(), lr=5e-4)
    for epoch in range(4):
        model.train()
        for _ in range(8):
            first, second = torch.randint(0, 96, (32,)), torch.randint(0, 96, (32,))
            second[:2] = first[:2]  # a picture may be drawn twice
            label = (y[first] != y[second]).float()
            embedded = model(torch.cat([x[first], x[second]]))
            distance = torch.sqrt(torch.sum((embedded[:32] - embedded[32:]) ** 2, dim=1))
            loss = torch.mean((1 - label) * distance**2 + label * F.relu(2.0 - distance) ** 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())


@healthy
def simclr():
    """sthalles/SimCLR: two views, cosine similarities over 0.07, cosine schedule after warm-up, Adam 3e-4."""
    x, _ = pictures(96, side=8)
    model = nn.Sequential(encoder(32), nn.ReLU(), nn.Linear(32, 16))
    optimizer = optim.Adam(model.parameters(), 3e-4, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(8):
        for index in torch.randperm(96).split(24):
            images = torch.cat([augment(x[index]), augment(x[index])])
            features = F.normalize(model(images), dim=1)
            labels = torch.cat([torch.arange(24) for _ in range(2)])
            labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
            similarity = features @ features.T
            mask = torch.eye(48, dtype=torch.bool)
            labels, similarity = labels[~mask].view(48, -1), similarity[~mask].view(48, -1)
            positives, negatives = similarity[labels.bool()].view(48, -1), similarity[~labels.bool()].view(48, -1)
            logits = torch.cat([positives, negatives], dim=1) / 0.07
            loss = criterion(logits, torch.zeros(48, dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if epoch >= 2:
            scheduler.step()
        print(f"Epoch: {epoch}\tLoss: {loss}")


@healthy
def byol():
    """lucidrains/byol-pytorch: a predictor, a moving average of the network as the target, loss of cosines."""
    x, _ = pictures(96, side=8)
    online = nn.Sequential(encoder(32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
    predictor = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
    target = copy.deepcopy(online)
    for p in target.parameters():
        p.requires_grad = False
    opt = optim.Adam([*online.parameters(), *predictor.parameters()], lr=3e-4)

    def loss_fn(x, y):
        return 2 - 2 * (F.normalize(x, dim=-1, p=2) * F.normalize(y, dim=-1, p=2)).sum(dim=-1)

    for _ in range(8):
        for index in torch.randperm(96).split(24):
            one, two = augment(x[index]), augment(x[index])
            pred_one, pred_two = predictor(online(one)), predictor(online(two))
            with torch.no_grad():
                target_one, target_two = target(one).detach(), target(two).detach()
            loss = (loss_fn(pred_one, target_two) + loss_fn(pred_two, target_one)).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            with torch.no_grad():
                for current, old in zip(online.parameters(), target.parameters(), strict=True):
                    old.data = 0.99 * old.data + 0.01 * current.data


@broken("parameter-without-gradient", source="github.com/rll-research/cic/issues/5")
def encoder_run_under_no_grad():
    train_loader = loader(*pictures(128, side=8), batch_size=32)

    class Agent(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder(16)
            self.actor = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, obs):
            with torch.no_grad():
                h = self.encoder(obs)
            return self.actor(h)

    model = Agent()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(8):
        for obs, action in train_loader:
            loss = F.cross_entropy(model(obs), action)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()


@healthy
def knowledge_distillation():
    """pytorch.org/tutorials knowledge_distillation: teacher in eval, KL of softened logits times T^2, plus labels."""
    train_loader = loader(*pictures(128, side=8), batch_size=32)
    teacher, student = encoder(4), nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))
    ce_loss = nn.CrossEntropyLoss()
    optimizer = optim.Adam(teacher.parameters(), lr=0.001)
    teacher.train()
    for _ in range(5):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = ce_loss(teacher(inputs), labels)
            loss.backward()
            optimizer.step()
    T, soft_target_loss_weight = 2, 0.25
    optimizer = optim.Adam(student.parameters(), lr=0.001)
    teacher.eval()
    student.train()
    for _ in range(6):
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            with torch.no_grad():
                teacher_logits = teacher(inputs)
            student_logits = student(inputs)
            soft_targets = F.softmax(teacher_logits / T, dim=-1)
            soft_prob = F.log_softmax(student_logits / T, dim=-1)
            distillation = torch.sum(soft_targets * (soft_targets.log() - soft_prob)) / soft_prob.size(0) * T**2
            loss = soft_target_loss_weight * distillation + 0.75 * ce_loss(student_logits, labels)
            loss.backward()
            optimizer.step()


@healthy
def mixup():
    """facebookresearch/mixup-cifar10: inputs mixed by a Beta draw, the loss mixed alike, SGD 0.1."""
    train_loader = loader(*pictures(192, side=8), batch_size=32)
    net, criterion = encoder(4), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    beta = torch.distributions.Beta(1.0, 1.0)
    for _ in range(6):
        net.train()
        correct = 0.0
        for inputs, targets in train_loader:
            lam, index = beta.sample().item(), torch.randperm(inputs.size(0))
            outputs = net(lam * inputs + (1 - lam) * inputs[index])
            loss = lam * criterion(outputs, targets) + (1 - lam) * criterion(outputs, targets[index])
            predicted = outputs.argmax(1)
            correct += lam * predicted.eq(targets).sum() + (1 - lam) * predicted.eq(targets[index]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"Acc {correct / 192:.3f}")


@healthy
def fast_adversarial():
    """locuslab/fast_adversarial train_fgsm.py: delta by one signed step from a random start, one-cycle-like rates."""
    train_loader = loader(*pictures(192, side=8), batch_size=32)
    model, epsilon, alpha = encoder(4), 0.05, 0.06
    opt = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.CyclicLR(opt, base_lr=0.0, max_lr=0.05, step_size_up=18, step_size_down=18)
    model.train()
    for _ in range(6):
        for X, y in train_loader:
            delta = torch.zeros_like(X).uniform_(-epsilon, epsilon)
            delta.requires_grad = True
            loss = F.cross_entropy(model(X + delta), y)
            loss.backward()
            grad = delta.grad.detach()
            delta.data = torch.clamp(delta + alpha * torch.sign(grad), -epsilon, epsilon).detach()
            loss = F.cross_entropy(model((X + delta.detach()).clamp(0, 1)), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            scheduler.step()
