"""Scripts that classify, restore or segment pictures as pytorch/examples, pytorch-cifar and U-Net do, and mistakes."""

from __future__ import annotations

import argparse
import copy

import torch
from torch import nn, optim
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import loader, pictures


def colour_loaders(batch_size=32, count=192, classes=5, side=8):
    x, y = pictures(count, side=side, classes=classes, channels=3)
    mean, std = x.mean(), x.std()
    x_val, y_val = pictures(64, side=side, classes=classes, channels=3)
    return loader((x - mean) / std, y, batch_size), loader((x_val - mean) / std, y_val, 32, shuffle=False)


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            conv = nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(planes))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, num_classes=5, width=8):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = BasicBlock(width, width)
        self.layer2 = BasicBlock(width, 2 * width, stride=2)
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x):
        out = self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(F.adaptive_avg_pool2d(out, 1).flatten(1))


class AverageMeter:
    def __init__(self, name):
        self.name, self.sum, self.count, self.val = name, 0.0, 0, 0.0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n

    @property
    def avg(self):
        return self.sum / self.count


def accuracy(output, target, topk=(1,)):
    with torch.no_grad():
        _, pred = output.topk(max(topk), 1, True, True)
        correct = pred.t().eq(target.view(1, -1))
        return [correct[:k].reshape(-1).float().sum() * (100.0 / target.size(0)) for k in topk]


def validate(val_loader, model, criterion):
    losses, top1 = AverageMeter("Loss"), AverageMeter("Acc@1")
    model.eval()
    with torch.no_grad():
        for images, target in val_loader:
            output = model(images)
            losses.update(criterion(output, target).item(), images.size(0))
            top1.update(accuracy(output, target)[0].item(), images.size(0))
    print(f" * Acc@1 {top1.avg:.3f} loss {losses.avg:.3f}")
    return top1.avg


@healthy
def imagenet():
    """pytorch/examples imagenet/main.py: SGD 0.1, momentum 0.9, weight decay 1e-4, meters, best checkpoint."""
    train_loader, val_loader = colour_loaders()
    model = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=30, gamma=0.1)
    best_acc1, saved = 0.0, {}
    for epoch in range(6):
        losses, top1, top5 = AverageMeter("Loss"), AverageMeter("Acc@1"), AverageMeter("Acc@5")
        model.train()
        for i, (images, target) in enumerate(train_loader):
            output = model(images)
            loss = criterion(output, target)
            acc1, acc5 = accuracy(output, target, topk=(1, 5))
            losses.update(loss.item(), images.size(0))
            top1.update(acc1[0] if acc1.dim() else acc1, images.size(0))
            top5.update(acc5, images.size(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if i % 3 == 0:
                print(f"Epoch: [{epoch}][{i}/{len(train_loader)}] Loss {losses.val:.4e} ({losses.avg:.4e})")
        acc1 = validate(val_loader, model, criterion)
        scheduler.step()
        if acc1 > best_acc1:
            best_acc1 = acc1
            saved = {"epoch": epoch + 1, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert saved


@healthy
def cifar():
    """kuangliu/pytorch-cifar main.py: SGD 0.1 with weight decay 5e-4 and a cosine schedule of 200 epochs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", default=0.1, type=float)
    args = parser.parse_args([])
    trainloader, testloader = colour_loaders()
    net = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=200)
    best_acc, best = 0.0, None
    for epoch in range(6):
        net.train()
        train_loss, correct, total = 0.0, 0, 0
        for batch_idx, (inputs, targets) in enumerate(trainloader):
            optimizer.zero_grad()
            outputs = net(inputs)
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
            train_loss += loss.item()
            total += targets.size(0)
            correct += outputs.max(1)[1].eq(targets).sum().item()
            print(f"{epoch} {batch_idx} Loss: {train_loss / (batch_idx + 1):.3f} | Acc: {100.0 * correct / total:.3f}%")
        acc = validate(testloader, net, criterion)
        if acc > best_acc:
            best_acc, best = acc, copy.deepcopy(net.state_dict())
        scheduler.step()
    net.load_state_dict(best)


@broken("scheduler-before-optimizer", source="github.com/michuanhaohao/reid-strong-baseline/issues/190")
def cifar_scheduler_at_the_start_of_the_epoch():
    trainloader, testloader = colour_loaders()
    net = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = optim.lr_scheduler.MultiStepLR(optimizer, milestones=[3, 5], gamma=0.1)
    for epoch in range(6):
        scheduler.step()
        net.train()
        for inputs, targets in trainloader:
            optimizer.zero_grad()
            loss = criterion(net(inputs), targets)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} lr {scheduler.get_last_lr()} loss {loss.item():.3f}")
        validate(testloader, net, criterion)


@broken("batchnorm-batch-of-one", source="github.com/xuebinqin/BASNet/issues/42")
def cifar_batch_size_of_one():
    trainloader, testloader = colour_loaders(batch_size=1, count=50)
    net = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.001, momentum=0.9, weight_decay=5e-4)
    net.train()
    for i, (inputs, targets) in enumerate(trainloader):
        optimizer.zero_grad()
        loss = criterion(net(inputs), targets)
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(f"{i}: {loss.item():.3f}")
    validate(testloader, net, criterion)


@broken("graph-kept-across-iterations", source="github.com/horovod/horovod/pull/641")
def imagenet_meter_of_loss_tensors():
    train_loader, val_loader = colour_loaders()
    model = ResNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    losses = AverageMeter("Loss")
    for epoch in range(5):
        model.train()
        for images, target in train_loader:
            output = model(images)
            loss = criterion(output, target)
            losses.update(loss, images.size(0))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"Epoch: [{epoch}] Loss {losses.avg:.4f}")
        validate(val_loader, model, criterion)


@healthy
def transfer_learning_finetune():
    """pytorch.org/tutorials transfer_learning_tutorial: two phases in one loop, StepLR, best weights copied."""
    dataloaders = dict(zip(("train", "val"), colour_loaders(batch_size=8, count=96, classes=2), strict=True))
    model = ResNet(num_classes=1000)
    model.fc = nn.Linear(model.fc.in_features, 2)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best_model_wts, best_acc = copy.deepcopy(model.state_dict()), 0.0
    for _ in range(4):
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
            else:
                model.eval()
            running_loss, running_corrects = 0.0, 0
            for inputs, labels in dataloaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels.data)
            if phase == "train":
                scheduler.step()
            acc = running_corrects.double() / len(dataloaders[phase].dataset)
            print(f"{phase} Loss: {running_loss:.4f} Acc: {acc:.4f}")
            if phase == "val" and acc > best_acc:
                best_acc, best_model_wts = acc, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_model_wts)


@healthy
def transfer_learning_fixed_features():
    """The same tutorial: every weight but those of the new last layer is frozen; only that layer is optimised."""
    train_loader, val_loader = colour_loaders(batch_size=8, count=160, classes=2)
    model_conv = ResNet(num_classes=1000)
    for param in model_conv.parameters():
        param.requires_grad = False
    model_conv.fc = nn.Linear(model_conv.fc.in_features, 2)
    criterion = nn.CrossEntropyLoss()
    optimizer_conv = optim.SGD(model_conv.fc.parameters(), lr=0.001, momentum=0.9)
    for _ in range(3):
        model_conv.train()
        for inputs, labels in train_loader:
            optimizer_conv.zero_grad()
            loss = criterion(model_conv(inputs), labels)
            loss.backward()
            optimizer_conv.step()
        validate(val_loader, model_conv, criterion)


@broken(
    "optimizer-foreign-parameters", also=("parameter-not-optimized",), source="github.com/pytorch/pytorch/issues/14467"
)
def transfer_learning_head_replaced_after_the_optimizer():
    train_loader, val_loader = colour_loaders(batch_size=16, classes=2)
    model = ResNet(num_classes=1000)
    optimizer = optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    model.fc = nn.Linear(model.fc.in_features, 2)
    criterion = nn.CrossEntropyLoss()
    for _ in range(3):
        model.train()
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs), labels)
            loss.backward()
            optimizer.step()
        validate(val_loader, model, criterion)
