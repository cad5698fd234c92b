"""Models in the wrong mode, losses without a graph, batches of one; and what looks like it."""

from __future__ import annotations

import copy
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, update_bn

from checks.corpus import broken, healthy
from checks.small import classifier
from gradstep.workload import Workload


def _net(*, dropout: float = 0.2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 3))


def _data() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 8), torch.randint(0, 3, (32,))


def _train(net: nn.Module, opt: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    opt.zero_grad()
    F.cross_entropy(net(x), y).backward()
    opt.step()


def _evaluate(net: nn.Module, x: Tensor, y: Tensor) -> float:
    right = 0.0
    with torch.no_grad():
        for i in range(4):
            right += float((net(x[i::4]).argmax(1) == y[i::4]).sum())
    return right / len(y)


# -- eval-mode-in-training ---------------------------------------------------------------------------------------------


@broken("eval-mode-in-training", source="pytorch-fcn#57")
def eval_is_left_on() -> None:
    """net.train() is missing after the validation."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    net.train()
    for _ in range(4):
        _train(net, opt, x, y)
        net.eval()
        _evaluate(net, x, y)


@broken("eval-mode-in-training")
def loaded_in_eval_mode() -> Workload:
    """As `from_pretrained` returns a model."""
    net, (x, y) = _net(), _data()
    return Workload(net.eval(), F.cross_entropy, torch.optim.Adam(net.parameters()), [(x, y)])


@broken("eval-mode-in-training")
def a_transformer_is_trained_in_eval_mode() -> None:
    """Dropout inside of the layers."""
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    opt, x = torch.optim.Adam(net.parameters(), lr=1e-3), torch.randn(4, 5, 8)
    for _ in range(4):
        opt.zero_grad()
        (net(x) - x.roll(1, 1)).square().mean().backward()
        opt.step()


@healthy
def frozen_batch_norm_in_eval() -> None:
    """Fine-tuning: only the batch norms are in eval mode."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(4):
        net.train()
        net[1].eval()
        _train(net, opt, x, y)


@healthy
def a_frozen_backbone_in_eval() -> None:
    """The head alone is trained."""
    net, (x, y), head = _net(), _data(), nn.Linear(3, 3)
    net.eval().requires_grad_(False)
    opt = torch.optim.SGD(head.parameters(), lr=0.05)
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(head(net(x)), y).backward()
        opt.step()


@healthy
def an_input_is_optimised() -> None:
    """The model is in eval mode and gets gradients; the optimizer has the input only."""
    net, (x, y) = _net().eval(), _data()
    x = x.requires_grad_()
    opt = torch.optim.Adam([x], lr=0.01)
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


# -- train-mode-in-evaluation ------------------------------------------------------------------------------------------


@broken("train-mode-in-evaluation")
def evaluated_in_train_mode() -> None:
    """net.eval() is missing."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        _train(net, opt, x, y)
        _evaluate(net, x, y)


@broken("train-mode-in-evaluation", source="MultiBench#26")
def train_is_called_in_the_validation() -> None:
    """One validation batch an epoch."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(4):
        net.train()
        _train(net, opt, x, y)
        net.train()
        with torch.no_grad():
            F.cross_entropy(net(x[:8]), y[:8])


@broken("train-mode-in-evaluation")
def tested_in_train_mode_at_the_end() -> None:
    """One test after the training."""
    net, (x, y) = _net(dropout=0.5), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(4):
        _train(net, opt, x, y)
    with torch.inference_mode():
        net(x).argmax(1)


@healthy
def evaluated_between_epochs() -> None:
    """eval, evaluate, train."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(3):
        net.train()
        _train(net, opt, x, y)
        net.eval()
        _evaluate(net, x, y)


@healthy
def pseudo_labels() -> None:
    """FixMatch: the model labels its own inputs, without grad and in train mode."""
    net, (x, y), unlabelled = _net(), _data(), torch.randn(8, 32, 8)
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for u in unlabelled:
        with torch.no_grad():
            guess = net(u + 0.1 * torch.randn_like(u)).argmax(1)
        opt.zero_grad()
        (F.cross_entropy(net(x), y) + 0.1 * F.cross_entropy(net(u), guess)).backward()
        opt.step()


@healthy
def a_generator_shows_samples() -> None:
    """DCGAN: in train mode, every few iterations, as in torch's tutorial."""
    g = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    d = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(16, 1))
    g_opt, d_opt = torch.optim.Adam(g.parameters(), lr=0.01), torch.optim.Adam(d.parameters(), lr=0.01)
    real, fixed, ones, zeros = torch.randn(16, 2) + 2, torch.randn(16, 4), torch.ones(16, 1), torch.zeros(16, 1)
    for i in range(6):
        d.zero_grad()
        F.binary_cross_entropy_with_logits(d(real), ones).backward()
        fake = g(torch.randn(16, 4))
        F.binary_cross_entropy_with_logits(d(fake.detach()), zeros).backward()
        d_opt.step()
        g.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), ones).backward()
        g_opt.step()
        if i % 2 == 0:
            with torch.no_grad():
                g(fixed)


@healthy
def a_mean_teacher_in_train_mode() -> None:
    """The teacher has dropout too; it is in no optimizer."""
    net, (x, y) = _net(), _data()
    teacher, opt = copy.deepcopy(net), torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(4):
        with torch.no_grad():
            target = teacher(x).softmax(1)
        opt.zero_grad()
        out = net(x)
        (F.cross_entropy(out, y) + (out.softmax(1) - target).square().mean()).backward()
        opt.step()
        with torch.no_grad():
            for mine, theirs in zip(net.parameters(), teacher.parameters(), strict=True):
                theirs.lerp_(mine, 0.1)


@healthy
def monte_carlo_dropout() -> None:
    """The same input several times, on purpose."""
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 3))
    (x, y), opt = _data(), torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(4):
        _train(net, opt, x, y)
    net.eval()
    for module in net:
        module.train(isinstance(module, nn.Dropout))
    with torch.no_grad():
        torch.stack([net(x) for _ in range(4)]).std(0)


@healthy
def swa_with_update_bn() -> None:
    """The statistics of the averaged model are computed in train mode."""
    net, (x, y) = _net(), _data()
    opt, averaged = torch.optim.SGD(net.parameters(), lr=0.05), AveragedModel(net)
    for _ in range(4):
        _train(net, opt, x, y)
        averaged.update_parameters(net)
    update_bn([x[:16], x[16:]], averaged)
    update_bn([x[:16], x[16:]], net)


# -- detached-loss -----------------------------------------------------------------------------------------------------


@broken("detached-loss", source="ReLeaSE#39")
def item_in_the_loss() -> None:
    """A tensor is made of the number, and told to require grad."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        loss = torch.tensor(F.cross_entropy(net(x), y).item(), requires_grad=True)
        loss.backward()
        opt.step()


@broken("detached-loss", source="torchMoji#21")
def data_hidden_by_requires_grad() -> None:
    """Accuracy as a loss: argmax has no gradient."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        loss = (net(x).data.argmax(1) != y).float().mean().requires_grad_()
        loss.backward()
        opt.step()


@broken("detached-loss")
def grad_mode_is_left_off() -> None:
    """The evaluation switches it off for good."""
    net, opt, x, y = classifier()
    try:
        for _ in range(3):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
            torch.set_grad_enabled(False)
            net(x)
    except RuntimeError:
        pass
    finally:
        torch.set_grad_enabled(True)


@broken("detached-loss", source="discuss.pytorch.org/t/84911")
def all_is_frozen() -> None:
    """The head was frozen with the rest."""
    net, opt, x, y = classifier()
    F.cross_entropy(net(x), y).backward()
    opt.step()
    net.requires_grad_(False)
    opt.zero_grad()
    with suppress(RuntimeError):
        F.cross_entropy(net(x), y).backward()


@healthy
def numbers_are_logged() -> None:
    """item() beside the graph."""
    net, opt, x, y = classifier()
    total = 0.0
    for _ in range(4):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        total += loss.item() + float(loss.detach()) + float((net(x).argmax(1) == y).float().mean())
        loss.backward()
        opt.step()


@healthy
def a_leaf_is_minimised() -> None:
    """A parameter of one number, and a regulariser of it alone."""
    net, opt, x, y = classifier()
    weight = nn.Parameter(torch.tensor(0.5))
    opt.add_param_group({"params": [weight]})
    for _ in range(4):
        opt.zero_grad()
        (weight.sigmoid() * F.cross_entropy(net(x), y) + weight**2).backward()
        opt.step()


# -- batchnorm-batch-of-one --------------------------------------------------------------------------------------------


def _convolution() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


@broken("batchnorm-batch-of-one")
def the_last_batch_has_one_image() -> None:
    """33 images in batches of 8."""
    net, x, y = _convolution(), torch.randn(33, 1, 8, 8), torch.randint(0, 3, (33,))
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for i in range(0, 33, 8):
        _train(net, opt, x[i : i + 8], y[i : i + 8])


@broken("batchnorm-batch-of-one")
def one_value_per_channel() -> None:
    """torch raises."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for i in range(0, 33, 8):
        try:
            _train(net, opt, torch.cat([x, x[:1]])[i : i + 8], torch.cat([y, y[:1]])[i : i + 8])
        except ValueError:
            break


@broken("batchnorm-batch-of-one")
def the_last_batch_of_a_workload() -> Workload:
    """Batches of 4, 4 and 1."""
    net, x, y = _convolution(), torch.randn(9, 1, 8, 8), torch.randint(0, 3, (9,))
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, 9, 4)]
    return Workload(net, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.05), batches)


@healthy
def always_one_image() -> None:
    """A deep image prior: the only batch is one image."""
    net, x = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)), None
    x = torch.randn(1, 1, 8, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(4):
        opt.zero_grad()
        (net(x) - x).square().mean().backward()
        opt.step()


@healthy
def one_sample_with_frozen_statistics() -> None:
    """Batch norm in eval mode does not look at the batch."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    net.train()
    net[1].eval()
    for i in range(4):
        _train(net, opt, x[: 1 if i == 3 else 8], y[: 1 if i == 3 else 8])


# -- dropout-in-evaluation ---------------------------------------------------------------------------------------------


class Dropped(nn.Module):
    """Two layers, with dropout between them as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.last, self.how = nn.Linear(8, 16), nn.Linear(16, 3), how

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        if self.how == "functional":
            h = F.dropout(h, 0.3)
        elif self.how == "built":
            h = nn.Dropout(0.3)(h)
        elif self.how == "told":
            h = F.dropout(
                h,
                p=0.3,
                training=self.training,
            )
        elif self.how == "meant":
            h = F.dropout(h, 0.3, True)
        logits: Tensor = self.last(h)
        return logits


def _trained_and_evaluated(how: str) -> None:
    net = Dropped(how)
    opt, (x, y) = torch.optim.SGD(net.parameters(), lr=0.05), _data_of_8()
    for _ in range(3):
        net.train()
        for _ in range(2):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            net(x)


def _data_of_8() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 8), torch.randint(0, 3, (32,))


@broken("dropout-in-evaluation", source="rixwew/pytorch-fm#21")
def functional_dropout_is_not_told_the_mode() -> None:
    """training=True is the default."""
    _trained_and_evaluated("functional")


@broken("dropout-in-evaluation", source="yangze0930/NTS-Net#14")
def dropout_is_built_in_forward() -> None:
    """eval() does not reach it."""
    _trained_and_evaluated("built")


@healthy
def functional_dropout_is_told_the_mode() -> None:
    """Over several lines."""
    _trained_and_evaluated("told")


@healthy
def functional_dropout_is_on_for_samples_of_the_posterior() -> None:
    """Monte Carlo dropout: True is passed on purpose."""
    _trained_and_evaluated("meant")


# -- frozen-batchnorm-updates ------------------------------------------------------------------------------------------


def _frozen(how: str) -> None:
    body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, affine=how != "plain"), nn.ReLU())
    net = nn.Sequential(body, nn.Linear(16, 3))
    body.requires_grad_(requires_grad=False)
    opt, (x, y) = torch.optim.SGD(net[1].parameters(), lr=0.05), _data_of_8()
    for _ in range(7):
        net.train()
        if how == "eval":
            body.eval()
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@broken("frozen-batchnorm-updates", source="pgniewko/gt-pyg#112")
def a_frozen_backbone_in_train_mode() -> None:
    """requires_grad is False, and net.train() is called in each epoch."""
    _frozen("train")


@healthy
def a_frozen_backbone_kept_in_eval() -> None:
    """The backbone is set to eval after each net.train()."""
    _frozen("eval")


@healthy
def statistics_without_weights() -> None:
    """affine=False: there is nothing to freeze."""
    _frozen("plain")
