"""Inputs and labels that can't be learnt from, and those that only look so."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from gradstep.workload import Workload


def _net(classes: int = 4, width: int = 8, *first: nn.Module) -> nn.Sequential:
    return nn.Sequential(*first, nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, classes))


def _classes(samples: int = 64, classes: int = 4, width: int = 8) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, width)
    return x, (x @ torch.randn(width, classes)).argmax(1)


def _fit(net: nn.Module, batches: list[tuple[Tensor, Tensor]], epochs: int = 1, lr: float = 0.1) -> None:
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(epochs):
        for x, y in batches:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


def _adam(net: nn.Module, x: Tensor, y: Tensor, lr: float = 0.01, iterations: int = 40) -> None:
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(iterations):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


# -- input-not-normalised
@broken("input-not-normalised", also=("loss-at-start", "learning-rate-high", "loss-diverges", "update-ratio-high"))
def raw_pixels() -> Workload:
    """Images of 0 to 255 to a small network."""
    x, y = torch.randint(0, 256, (64, 64)).float(), torch.arange(64) % 10
    _fit(_net(10, 64), [(x, y)], 8, 0.01)
    return Workload(_net(10, 64), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.01), [(x, y)])


@broken("input-not-normalised", also=("loss-at-start", "learning-rate-high", "loss-diverges", "update-ratio-high"))
def raw_pixels_to_a_convolution() -> None:
    """The same for a convolutional network."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    _fit(net, [(torch.randint(0, 256, (32, 1, 8, 8)).float(), torch.arange(32) % 3)], 8, 0.01)


@broken(
    "input-not-normalised",
    also=(
        "nan-or-inf",
        "loss-diverges",
        "learning-rate-high",
        "exploding-gradient",
        "update-ratio-high",
        "loss-broadcast",
    ),
)
def prices_and_ages() -> None:
    """A regression on columns of very different size diverges."""
    x = torch.randn(32, 3) * torch.tensor([1.0, 30.0, 1000.0])
    net = nn.Linear(3, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(8):
        opt.zero_grad()
        F.mse_loss(net(x), x[:, :1]).backward()
        opt.step()


@broken(
    "input-not-normalised",
    also=("loss-plateau", "learning-rate-low", "update-ratio-low", "dead-relu"),
    source="pycadl#5",
)
def divided_by_255_twice() -> None:
    """Inputs so small that all outputs are alike."""
    x = torch.rand(64, 8)
    y = (x[:, 0] > 0.5).long()
    _fit(_net(2), [(x / 255, y)], 40, 0.1)


@healthy
def raw_pixels_to_a_batch_norm() -> Workload:
    """The first layer normalises."""
    x, y = torch.randint(0, 256, (64, 64)).float(), torch.arange(64) % 4
    _fit(_net(4, 64, nn.BatchNorm1d(64)), [(x, y)], 35)
    return Workload(_net(4, 64, nn.BatchNorm1d(64)), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), [(x, y)])


@healthy
def raw_pixels_that_train() -> None:
    """Large inputs, and an initialisation that suits them."""
    x, y = torch.randint(0, 256, (64, 16)).float(), torch.arange(64) % 4
    x[torch.arange(64), y] += 255
    net = _net(4, 16)
    nn.init.normal_(net[0].weight, std=1e-3)
    _adam(net, x, y, lr=0.003)


@healthy
def zero_to_one() -> None:
    """Inputs from 0 to 1, as ToTensor gives them."""
    x = torch.rand(64, 8)
    _adam(_net(), x, (x[:, :4]).argmax(1))


@healthy
def sparse_one_hot_inputs() -> None:
    """One-hot inputs of a thousand words: a small root mean square each, and it learns."""
    x = F.one_hot(torch.randint(0, 400, (64,)), 400).float()
    _adam(_net(4, 400), x, torch.arange(64) % 4)


# -- constant-batch
@broken("constant-batch", also=("dead-relu",))
def one_array_repeated() -> Workload:
    """A __getitem__ that ignores its index."""
    x, y = torch.randn(1, 8).repeat(32, 1), torch.arange(32) % 4
    _fit(_net(), [(x, y)], 6)
    return Workload(_net(), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), [(x, y)])


@broken("constant-batch", also=("dead-relu",))
def a_buffer_never_filled() -> None:
    """Images that stay zero."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    _fit(net, [(torch.zeros(16, 1, 8, 8), torch.arange(16) % 3)], 6)


@broken("constant-batch")
def the_same_sentence() -> None:
    """Tokens of one sentence for the whole batch, another one each time."""
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(40, 4))
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        x = torch.randint(0, 20, (1, 5)).expand(16, 5)
        opt.zero_grad()
        F.cross_entropy(net(x), torch.arange(16) % 4).backward()
        opt.step()


@healthy
def batches_of_one() -> None:
    """One sample a batch."""
    x, y = _classes(8)
    _fit(_net(), [(x[i : i + 1], y[i : i + 1]) for i in range(8)])


@healthy
def an_initial_state_of_zeros() -> None:
    """A recurrent cell begins with zeros, the same for every sample."""
    cell, head = nn.RNNCell(4, 8), nn.Linear(8, 4)
    x, y = torch.randn(16, 3, 4), torch.arange(16) % 4
    opt = torch.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        state = torch.zeros(16, 8)
        for now in x.unbind(1):
            state = cell(now, state)
        F.cross_entropy(head(state), y).backward()
        opt.step()


@healthy
def token_types_all_zero() -> None:
    """One of two embeddings gets the same index throughout."""
    words, kinds, head = nn.Embedding(20, 8), nn.Embedding(2, 8), nn.Linear(8, 4)
    x, y = torch.randint(0, 20, (16, 5)), torch.arange(16) % 4
    opt = torch.optim.Adam([*words.parameters(), *kinds.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        F.cross_entropy(head((words(x) + kinds(torch.zeros_like(x))).mean(1)), y).backward()
        opt.step()


# -- labels-shuffled-or-constant
@broken("labels-shuffled-or-constant", also=("update-ratio-high",), source="super-gradients#416")
def sorted_by_class() -> Workload:
    """Batches in the order of the folders."""
    x, y = _classes(256)
    order = y.argsort()
    x, y = x[order], y[order]
    batches = [(x[y == c][:16], y[y == c][:16]) for c in range(4)]
    _fit(_net(), batches, 2)
    return Workload(_net(), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), batches)


@broken("labels-shuffled-or-constant")
def labels_shuffled_alone() -> Workload:
    """Only y is permuted in each epoch."""
    x, y = _classes()
    net = _net()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(8):
        opt.zero_grad()
        F.cross_entropy(net(x), y[torch.randperm(64)]).backward()
        opt.step()
    several = [(x, y[torch.randperm(64)]) for _ in range(4)]
    return Workload(_net(), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), several)


@broken("labels-shuffled-or-constant")
def images_and_labels_with_two_permutations() -> None:
    """Each has its own torch.randperm."""
    x, y = torch.randn(48, 1, 8, 8), torch.arange(48) % 3
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    _fit(net, [(x[torch.randperm(48)][:32], y[torch.randperm(48)][:32]) for _ in range(6)])


@healthy
def shuffled_together() -> Workload:
    """One permutation for both."""
    x, y = _classes()
    orders = [torch.randperm(64) for _ in range(8)]
    batches = [(x[each][:32], y[each][:32]) for each in orders]
    _fit(_net(), batches)
    return Workload(_net(), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), batches)


@healthy
def contrastive_with_labels_of_zero() -> None:
    """MoCo: the positive is always at index 0."""
    net, keys = nn.Linear(8, 8), F.normalize(torch.randn(16, 8), dim=1)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(8):
        x = torch.randn(16, 8)
        query = F.normalize(net(x), dim=1)
        same = (query * F.normalize(x, dim=1)).sum(1, keepdim=True)
        opt.zero_grad()
        F.cross_entropy(torch.cat([same, query @ keys.T], 1) / 0.2, torch.zeros(16, dtype=torch.long)).backward()
        opt.step()


@healthy
def policy_gradient_of_a_bandit() -> None:
    """The same state, another action each time, weighted by the advantage."""
    net, state = _net(), torch.randn(1, 8).expand(32, 8) + 0.01 * torch.randn(32, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(8):
        logits = net(state)
        action = torch.distributions.Categorical(logits=logits.detach()).sample()
        opt.zero_grad()
        (F.cross_entropy(logits, action, reduction="none") * torch.randn(32)).mean().backward()
        opt.step()


@healthy
def a_discriminator_that_classifies() -> None:
    """Labels 1 for real and 0 for fake, in two backwards before one step."""
    net = _net(2)
    opt = torch.optim.Adam(net.parameters(), lr=0.001)
    for _ in range(8):
        opt.zero_grad()
        F.cross_entropy(net(torch.randn(16, 8) + 1), torch.ones(16, dtype=torch.long)).backward()
        F.cross_entropy(net(torch.randn(16, 8) - 1), torch.zeros(16, dtype=torch.long)).backward()
        opt.step()


# -- class-imbalance
@broken("class-imbalance")
def one_in_thirty() -> Workload:
    """Two classes, one of them rare."""
    x = torch.randn(128, 8)
    y = (torch.arange(128) % 32 == 0).long()
    _fit(_net(2), [(x, y)], 3)
    return Workload(_net(2), F.cross_entropy, lambda p: torch.optim.SGD(p, lr=0.1), [(x, y)])


@broken("class-imbalance")
def three_classes_one_of_them_rare() -> None:
    """Mini-batches of a skewed set."""
    batches = [(torch.randn(32, 8), (torch.rand(32) > 0.5).long() + (torch.arange(32) == 3)) for _ in range(6)]
    _fit(_net(3), batches)


@broken("class-imbalance")
def images_of_mostly_one_class() -> None:
    """A convolutional network on a skewed set."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    batches = [(torch.randn(40, 1, 8, 8), (torch.arange(40) == 0).long()) for _ in range(5)]
    _fit(net, batches)


# -- labels-shuffled-or-constant, all one class
@broken("labels-shuffled-or-constant", also=("class-imbalance",))
def a_threshold_that_nothing_passes() -> None:
    """Every label is 0."""
    x, _ = _classes(256)
    _adam(_net(2), x, (x.sum(1) > 1000).long(), iterations=6)


# -- batch-first-missing
class Sentiment(nn.Module):
    """A recurrent layer, and a class for each sequence."""

    def __init__(self, *, batch_first: bool, transposes: bool = False) -> None:
        super().__init__()
        self.transposes = transposes
        self.rnn, self.head = nn.GRU(4, 8, batch_first=batch_first), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.transposes:
            x = x.transpose(0, 1)
        states = self.rnn(x)[0]
        logits: Tensor = self.head(states[-1] if self.transposes else states[:, -1])
        return logits


def _sequences(net: nn.Module) -> None:
    x = torch.randn(32, 10, 4)
    _adam(net, x, (x.sum((1, 2)) > 0).long(), iterations=8)


@broken("batch-first-missing", source="dqn-pytorch#1")
def the_state_runs_over_the_samples() -> None:
    """batch_first is False by default."""
    _sequences(Sentiment(batch_first=False))


@healthy
def the_batch_comes_first() -> None:
    """batch_first=True."""
    _sequences(Sentiment(batch_first=True))


@healthy
def the_batch_is_transposed() -> None:
    """Time comes first, and there is one label a sequence."""
    _sequences(Sentiment(batch_first=False, transposes=True))
