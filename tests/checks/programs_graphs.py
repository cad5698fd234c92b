"""Graphs that are kept, accumulation that is not averaged; and loops that look like it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.small import classifier, regressor

# -- graph-kept-across-iterations --------------------------------------------------------------------------------------


@broken("graph-kept-across-iterations", source="labelmodels#4")
def total_is_a_sum_of_losses() -> None:
    """total += loss."""
    net, opt, x, y = classifier()
    total: Any = 0
    for _ in range(12):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        total += loss


@broken("graph-kept-across-iterations", source="pytorch/examples, vae")
def a_sum_over_epochs_of_four_iterations() -> None:
    """The sum begins anew each time, so it never has many graphs."""
    net, opt, x, y = classifier()
    for _ in range(3):
        train_loss = torch.zeros(())
        for i in range(4):
            opt.zero_grad()
            loss = F.cross_entropy(net(x[i::4]), y[i::4])
            loss.backward()
            train_loss = train_loss + loss
            opt.step()


class Meter:
    """Keeps the last value, and a sum where it is asked to."""

    def __init__(self, *, sums: bool) -> None:
        self.sums, self.last, self.sum = sums, torch.zeros(()), torch.zeros(())

    def update(self, value: Tensor) -> None:
        """Take a value."""
        self.last = value
        if self.sums:
            self.sum = self.sum + value


def _metered(meter: Meter) -> None:
    net, opt, x, y = classifier()
    for _ in range(6):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        meter.update(loss)
        loss.backward()
        opt.step()


@broken("graph-kept-across-iterations", source="horovod#641")
def a_meter_sums_tensors() -> None:
    """The sum is an attribute of an object."""
    _metered(Meter(sums=True))


@healthy
def a_meter_keeps_the_last_tensor() -> None:
    """One graph at a time."""
    _metered(Meter(sums=False))


@broken("graph-kept-across-iterations")
def a_list_of_losses() -> None:
    """To plot them later."""
    net, opt, x, y = regressor()
    losses = []
    for _ in range(12):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        losses.append(loss)
        loss.backward()
        opt.step()


@broken("graph-kept-across-iterations")
def a_running_mean_of_the_loss() -> None:
    """An exponential average."""
    net, opt, x, y = classifier()
    average: Any = 0.0
    for _ in range(12):
        loss = F.cross_entropy(net(x), y)
        average = 0.9 * average + 0.1 * loss
        opt.zero_grad()
        loss.backward()
        opt.step()


class _Recurrent(nn.Module):
    """A cell and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(4, 8), nn.Linear(8, 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        state = self.cell(x, state)
        return self.head(state), state


@broken("graph-kept-across-iterations", source="darts#56")
def a_hidden_state_is_not_detached() -> None:
    """torch raises in the second iteration."""
    net, x = _Recurrent(), torch.randn(6, 16, 4)
    opt, state = torch.optim.Adam(net.parameters(), lr=0.01), torch.zeros(16, 8)
    with suppress(RuntimeError):
        for each in x:
            opt.zero_grad()
            out, state = net(each, state)
            F.mse_loss(out, each[:, :1]).backward()
            opt.step()


@broken("graph-kept-across-iterations")
def a_hidden_state_grows_with_retain_graph() -> None:
    """retain_graph=True was what the error message proposed; weights are updated where nothing saved them."""
    net, gain = nn.Linear(4, 1), torch.zeros(16, 1)
    opt = torch.optim.SGD(net.parameters(), lr=1e-3)
    for each in torch.randn(10, 16, 4):
        opt.zero_grad()
        gain = 0.9 * gain + net(each).tanh()
        (gain - each[:, :1]).square().mean().backward(retain_graph=True)
        opt.step()


@healthy
def a_hidden_state_is_detached() -> None:
    """Truncated backpropagation through time."""
    net, x = _Recurrent(), torch.randn(12, 16, 4)
    opt, state = torch.optim.Adam(net.parameters(), lr=0.01), torch.zeros(16, 8)
    for start in range(0, 12, 3):
        state = state.detach()
        loss = torch.zeros(())
        for each in x[start : start + 3]:
            out, state = net(each, state)
            loss = loss + F.mse_loss(out, each[:, :1])
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def numbers_are_summed() -> None:
    """item() and detach()."""
    net, opt, x, y = classifier()
    total, losses, average = 0.0, [], torch.zeros(())
    for _ in range(12):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        total += loss.item()
        losses.append(loss.detach())
        average = 0.9 * average + 0.1 * losses[-1]


@healthy
def reinforce() -> None:
    """Many forwards, one backward: a list of log probabilities with their graphs, made anew in each episode."""
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        logs: list[Tensor] = []
        rewards: list[float] = []
        state = torch.randn(4)
        for _ in range(8):
            chosen = torch.distributions.Categorical(logits=net(state))
            action = chosen.sample()
            logs.append(chosen.log_prob(action))
            rewards.append(float(action == (state[0] > 0)))
            state = torch.randn(4)
        returns = torch.tensor(rewards).flip(0).cumsum(0).flip(0)
        opt.zero_grad()
        (-torch.stack(logs) * (returns - returns.mean())).sum().backward()
        opt.step()


@healthy
def one_encoding_for_several_heads() -> None:
    """retain_graph, a step for each head, in a loop of one line."""
    encoder, x, y = nn.Linear(8, 16), torch.randn(32, 8), torch.randint(0, 3, (32,))
    heads = [nn.Linear(16, 3) for _ in range(3)]
    opts = [torch.optim.SGD(head.parameters(), lr=0.05) for head in heads]
    main = torch.optim.SGD(encoder.parameters(), lr=0.05)
    for _ in range(5):
        main.zero_grad()
        code = encoder(x).relu()
        for head, opt in zip(heads, opts, strict=True):
            opt.zero_grad()
            F.cross_entropy(head(code), y).backward(retain_graph=True)
            opt.step()
        main.step()


@healthy
def two_losses_of_one_graph() -> None:
    """Two backwards through one forward, one step."""
    net, opt, x, y = classifier()
    for _ in range(5):
        opt.zero_grad()
        out = net(x)
        F.cross_entropy(out, y).backward(retain_graph=True)
        (0.01 * out.square().mean()).backward()
        opt.step()


@healthy
def a_view_made_before_the_loop() -> None:
    """A transposed weight is computed once: it has no past but itself."""
    table, opt_x = nn.Embedding(10, 8), torch.randint(0, 10, (32,))
    opt, tied = torch.optim.SGD(table.parameters(), lr=0.05), table.weight.t()
    for _ in range(5):
        opt.zero_grad()
        F.cross_entropy(table(opt_x) @ tied, opt_x).backward()
        opt.step()


# -- accumulation-not-averaged -----------------------------------------------------------------------------------------


@broken("accumulation-not-averaged", source="fastai#3023")
def four_micro_batches_are_summed() -> None:
    """SGD."""
    net, opt, x, y = classifier(lr=0.02)
    for _ in range(4):
        opt.zero_grad()
        for i in range(4):
            F.cross_entropy(net(x[i::4]), y[i::4]).backward()
        opt.step()


@broken("accumulation-not-averaged")
def summed_and_clipped() -> None:
    """Regression with momentum; clipping hides it at first."""
    net, _, x, y = regressor()
    opt = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    for i in range(16):
        loss = F.mse_loss(net(x[i % 2 :: 2]), y[i % 2 :: 2])
        loss.backward()
        if i % 2:
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            opt.zero_grad()


@broken("accumulation-not-averaged")
def a_loss_module_and_eight_micro_batches() -> None:
    """nn.BCEWithLogitsLoss."""
    net, criterion, x = nn.Linear(8, 1), nn.BCEWithLogitsLoss(), torch.randn(32, 8)
    opt, y = torch.optim.SGD(net.parameters(), lr=0.02), (x[:, :1] > 0).float()
    for i in range(32):
        criterion(net(x[i % 8 :: 8]), y[i % 8 :: 8]).backward()
        if i % 8 == 7:
            opt.step()
            opt.zero_grad(set_to_none=False)


@healthy
def divided_by_hand_in_grad() -> None:
    """The sum is divided before the step."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        for i in range(4):
            F.cross_entropy(net(x[i::4]), y[i::4]).backward()
        for p in net.parameters():
            p.grad /= 4  # type: ignore[operator]
        opt.step()


@healthy
def sums_over_samples() -> None:
    """reduction='sum', divided by all samples."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        for i in range(4):
            (F.cross_entropy(net(x[i::4]), y[i::4], reduction="sum") / len(y)).backward()
        opt.step()


@healthy
def two_tasks() -> None:
    """Two losses at two lines: their sum is meant."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        F.cross_entropy(net(x + 0.1), y).backward()
        opt.step()


@healthy
def summed_with_adam() -> None:
    """The scale of the gradient does not matter to Adam."""
    net, opt, x, y = regressor()
    for _ in range(4):
        opt.zero_grad()
        for i in range(4):
            F.mse_loss(net(x[i::4]), y[i::4]).backward()
        opt.step()
