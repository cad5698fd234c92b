"""Scripts like pytorch/examples `mnist`, `mnist_rnn` and yunjey/pytorch-tutorial, and mistakes made in them."""

from __future__ import annotations

import argparse

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR

from checks.corpus import broken, healthy
from checks.made import loader, pictures


def get_args(**defaults):
    parser = argparse.ArgumentParser(description="PyTorch MNIST Example")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--log-interval", type=int, default=10)
    parser.set_defaults(**defaults)
    return parser.parse_args([])


def get_loaders(args, count=256):
    x, y = pictures(count, side=12, classes=10)
    x_test, y_test = pictures(64, side=12, classes=10)
    mean, std = x.mean(), x.std()
    train = loader((x - mean) / std, y, args.batch_size)
    return train, loader((x_test - mean) / std, y_test, 64, shuffle=False)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 16, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(16 * 4 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def features(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.dropout1(F.max_pool2d(x, 2))
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return self.fc2(self.dropout2(x))

    def forward(self, x):
        return F.log_softmax(self.features(x), dim=1)


def train(args, model, train_loader, optimizer, epoch):
    model.train()
    for batch_idx, (data, target) in enumerate(train_loader):
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print(f"Train Epoch: {epoch} [{batch_idx}/{len(train_loader)}]\tLoss: {loss.item():.6f}")


def test(model, test_loader):
    model.eval()
    test_loss, correct = 0.0, 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            correct += output.argmax(dim=1).eq(target).sum().item()
    print(f"Test set: average loss {test_loss / 64:.4f}, accuracy {correct}/64")


@healthy
def mnist():
    """pytorch/examples mnist/main.py: Adadelta at lr 1, dropout, StepLR an epoch."""
    args = get_args()
    train_loader, test_loader = get_loaders(args)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        test(model, test_loader)
        scheduler.step()


class RowsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(input_size=12, hidden_size=32, batch_first=True)
        self.batchnorm = nn.BatchNorm1d(32)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(32, 16)
        self.fc2 = nn.Linear(16, 10)

    def forward(self, rows):
        output, _ = self.rnn(rows.squeeze(1))
        output = self.batchnorm(output[:, -1])
        output = F.relu(self.fc1(self.dropout1(output)))
        return F.log_softmax(self.fc2(self.dropout2(output)), dim=1)


@healthy
def mnist_rnn():
    """pytorch/examples mnist_rnn/main.py: an LSTM over the rows of the picture, batch norm on its last output."""
    args = get_args(lr=0.1)
    train_loader, test_loader = get_loaders(args)
    model = RowsNet()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        test(model, test_loader)
        scheduler.step()


@healthy
def convolutional_neural_network():
    """yunjey/pytorch-tutorial convolutional_neural_network/main.py: conv, batch norm, Adam at 0.001, no schedule."""
    args = get_args(lr=0.001)
    train_loader, test_loader = get_loaders(args)
    layer1 = nn.Sequential(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2))
    layer2 = nn.Sequential(nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2))
    model = nn.Sequential(layer1, layer2, nn.Flatten(), nn.Linear(32 * 3 * 3, 10))
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    total_step = len(train_loader)
    for epoch in range(args.epochs):
        for i, (images, labels) in enumerate(train_loader):
            outputs = model(images)
            loss = criterion(outputs, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (i + 1) % 4 == 0:
                print(f"Epoch [{epoch + 1}/{args.epochs}], Step [{i + 1}/{total_step}], Loss: {loss.item():.4f}")
    model.eval()
    with torch.no_grad():
        correct = sum((model(images).argmax(1) == labels).sum().item() for images, labels in test_loader)
    print(f"Test accuracy: {100 * correct / 64} %")


@broken("softmax-before-cross-entropy", source="discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814")
def mnist_with_softmax_and_cross_entropy():
    args = get_args(lr=0.001)
    train_loader, test_loader = get_loaders(args)

    class SoftmaxNet(Net):
        def forward(self, x):
            return F.softmax(self.features(x), dim=1)

    model = SoftmaxNet()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        model.train()
        running_loss = 0.0
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
        print(f"epoch {epoch} loss = {running_loss / len(train_loader)}")
        test(model, test_loader)


@broken(
    "probabilities-to-nll",
    source="forum.onefourthlabs.com/t/why-do-we-use-nn-logsoftmax-for-nll-loss-intead-of-nn-softmax/6664",
)
def mnist_with_softmax_for_log_softmax():
    args = get_args()
    train_loader, test_loader = get_loaders(args)

    class ProbabilityNet(Net):
        def forward(self, x):
            return nn.Softmax(dim=1)(self.features(x))

    model = ProbabilityNet()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        test(model, test_loader)
        scheduler.step()


@broken("train-mode-in-evaluation", source="github.com/nshaud/DeepHyperX/issues/51")
def mnist_rnn_tested_without_eval():
    args = get_args(lr=0.1)
    train_loader, test_loader = get_loaders(args)
    model = RowsNet()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, train_loader, optimizer, epoch)
        correct = 0
        with torch.no_grad():
            for data, target in test_loader:
                correct += model(data).argmax(dim=1).eq(target).sum().item()
        print(f"accuracy {correct}/64")
        scheduler.step()


@broken("eval-mode-in-training", source="github.com/pytorch/tutorials/issues/1624")
def mnist_train_mode_set_once_before_the_epochs():
    args = get_args(epochs=6)
    train_loader, test_loader = get_loaders(args)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    model.train()
    for epoch in range(1, args.epochs + 1):
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(data), target)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: {loss.item():.4f}")
        test(model, test_loader)


@broken("step-missing", also=("loss-plateau", "weights-unchanged"), source="github.com/tedlasai/learn2refocus/issues/5")
def convolutional_network_without_a_step():
    args = get_args(lr=0.001)
    train_loader, test_loader = get_loaders(args)
    model = Net()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(args.epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(images), labels)
            loss.backward()
            scheduler.step()
        print(f"Epoch {epoch}, loss {loss.item():.4f}")
        test(model, test_loader)
