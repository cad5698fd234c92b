"""Parameters that no optimizer has, no backward reaches, or no model owns; and what looks like it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.small import classifier
from gradstep.workload import Workload


class Net(nn.Module):
    """An encoder and a head."""

    def __init__(self, how: str = "") -> None:
        super().__init__()
        self.encoder, self.head, self.how = nn.Sequential(nn.Linear(8, 16), nn.Tanh()), nn.Linear(16, 3), how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                out = self.encoder(x)
        else:
            out = self.encoder(x)
        if self.how == "data":
            out = out.data
        elif self.how == "numpy":
            out = torch.from_numpy(out.detach().numpy())
        logits: Tensor = self.head(out)
        return logits


def _data() -> tuple[Tensor, Tensor]:
    return torch.randn(32, 8), torch.randint(0, 3, (32,))


def _train(net: nn.Module, opt: torch.optim.Optimizer, x: Tensor, y: Tensor, times: int = 7) -> None:
    for _ in range(times):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


# -- parameter-not-optimized -------------------------------------------------------------------------------------------


@broken("parameter-not-optimized", source="pytorch-openai-transformer-lm#6")
def the_head_is_not_optimized() -> Workload:
    """The optimizer was made of the encoder."""
    net = Net()
    return Workload(net, F.cross_entropy, torch.optim.Adam(net.encoder.parameters(), lr=0.01), [_data()])


@broken("parameter-not-optimized")
def biases_are_forgotten() -> None:
    """Parameter groups that do not add up."""
    net, (x, y) = Net(), _data()
    groups = [{"params": [p for name, p in net.named_parameters() if name.endswith("weight")], "weight_decay": 0.01}]
    opt = torch.optim.AdamW(groups, lr=0.01)
    for _ in range(7):
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@broken("unregistered-parameters")
def a_temperature_outside_of_the_model() -> None:
    """An nn.Parameter of the script's own."""
    net, (x, y) = Net(), _data()
    temperature, opt = nn.Parameter(torch.ones(1)), torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(7):
        opt.zero_grad()
        F.cross_entropy(net(x) * temperature, y).backward()
        opt.step()


@healthy
def the_head_alone_is_optimized() -> None:
    """Linear probing without freezing: a hint at most."""
    net, (x, y) = Net(), _data()
    _train(net, torch.optim.SGD(net.head.parameters(), lr=0.05), x, y)


@healthy
def a_perceptual_loss() -> None:
    """A network that is not frozen computes the loss; it is in eval mode and in no optimizer."""
    net, judge, x = nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Tanh()).eval(), torch.randn(16, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(7):
        opt.zero_grad()
        F.mse_loss(judge(net(x)), judge(x.roll(1, 1))).backward()
        opt.step()


class _Trainer:
    """Keeps its optimizers where no variable names them, and uses one seldom."""

    def __init__(self) -> None:
        self.models = {"g": nn.Linear(4, 2), "d": nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))}
        self.opts = {name: torch.optim.RMSprop(each.parameters(), lr=1e-3) for name, each in self.models.items()}

    def fit(self) -> None:
        g, d = self.models["g"], self.models["d"]
        for i in range(12):
            self.opts["d"].zero_grad()
            (d(g(torch.randn(16, 4))).mean() - d(torch.randn(16, 2) + 2).mean()).backward()
            self.opts["d"].step()
            if i % 5 == 4:
                self.opts["g"].zero_grad()
                (-d(g(torch.randn(16, 4))).mean()).backward()
                self.opts["g"].step()


@healthy
def wgan_in_a_trainer() -> None:
    """Five steps of the critic, whose backward fills the generator's .grad, before one of the generator."""
    _Trainer().fit()


@healthy
def master_weights() -> None:
    """The optimizer has float32 copies; they are copied back."""
    net, (x, y) = Net(), _data()
    masters = [p.detach().clone().requires_grad_() for p in net.parameters()]
    opt = torch.optim.SGD(masters, lr=0.05)
    for _ in range(7):
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        for mine, p in zip(masters, net.parameters(), strict=True):
            assert p.grad is not None
            mine.grad = p.grad.clone()
        opt.step()
        with torch.no_grad():
            for mine, p in zip(masters, net.parameters(), strict=True):
                p.copy_(mine)


@healthy
def two_groups() -> None:
    """Weight decay for weights only."""
    net, (x, y) = Net(), _data()
    weights, others = [p for p in net.parameters() if p.dim() > 1], [p for p in net.parameters() if p.dim() < 2]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    _train(net, torch.optim.AdamW(groups, lr=0.01), x, y)


@healthy
def made_before_to() -> None:
    """The optimizer is made before .to() and .double(): the parameters stay the same objects."""
    net, (x, y) = Net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    net.to("cpu").double()
    _train(net, opt, x.double(), y)


@broken("parameter-not-optimized")
def the_last_block_is_forgotten() -> None:
    """model.zero_grad hides it."""
    net, _, x, y = classifier()
    opt = torch.optim.SGD(net[0].parameters(), lr=0.05)  # type: ignore[index]
    for _ in range(7):
        net.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@healthy
def a_parameter_that_the_script_updates() -> None:
    """An nn.Parameter without an optimizer, updated by hand."""
    net, (x, y) = Net(), _data()
    temperature, opt = nn.Parameter(torch.ones(1)), torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(7):
        opt.zero_grad()
        F.cross_entropy(net(x) * temperature, y).backward()
        opt.step()
        with torch.no_grad():
            temperature -= 0.01 * temperature.grad  # type: ignore[operator]
            temperature.grad = None


# -- optimizer-foreign-parameters --------------------------------------------------------------------------------------


@broken("optimizer-foreign-parameters", source="nni#4521")
def a_layer_is_replaced_after_the_optimizer() -> None:
    """The head for another number of classes."""
    net, (x, y) = Net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    net.head = nn.Linear(16, 5)
    _train(net, opt, x, y)


@broken("optimizer-foreign-parameters")
def the_model_is_rebuilt_after_the_optimizer() -> None:
    """And the old one is gone."""
    net, (x, y) = Net(), _data()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    net = Net()
    _train(net, opt, x, y)


@broken("optimizer-foreign-parameters")
def a_copy_is_trained() -> None:
    """The optimizer has the parameters of the original, which is there still."""
    net, (x, y) = Net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    other = copy.deepcopy(net)
    _train(other, opt, x, y)


@broken("optimizer-foreign-parameters", also=("parameter-without-gradient",))
def a_workload_with_another_models_optimizer() -> Workload:
    """As a held workload."""
    return Workload(Net(), F.cross_entropy, torch.optim.SGD(Net().parameters(), lr=0.05), [_data()])


@healthy
def the_optimizer_is_made_anew() -> None:
    """A layer is replaced, and then the optimizer."""
    net, (x, y) = Net(), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)
    net.head = nn.Linear(16, 3)
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


# -- parameter-without-gradient ----------------------------------------------------------------------------------------


@broken("parameter-without-gradient", source="cic#5")
def no_grad_around_the_encoder() -> Workload:
    """And the optimizer has it."""
    net = Net("no_grad")
    return Workload(net, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.05), [_data()])


@broken("parameter-without-gradient")
def data_between_encoder_and_head() -> None:
    """`.data` cuts the graph."""
    net, (x, y) = Net("data"), _data()
    _train(net, torch.optim.Adam(net.parameters(), lr=0.01), x, y)


@broken("parameter-without-gradient")
def numpy_between_encoder_and_head() -> None:
    """A detour through numpy."""
    net, (x, y) = Net("numpy"), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), x, y)


@healthy
def a_part_is_unused() -> None:
    """A pooler that this task does not need: a hint at most."""
    net, (x, y) = Net(), _data()
    net.pooler = nn.Linear(16, 16)
    _train(net, torch.optim.Adam(net.parameters(), lr=0.01), x, y)


class _Experts(nn.Module):
    """One of four experts at a time, and a layer that is left out at random."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.experts = nn.Linear(8, 8), nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.deep, self.last, self.turn = nn.Linear(8, 8), nn.Linear(8, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.turn += 1
        out = self.experts[self.turn // 3 % 4](self.first(x).relu())
        if self.turn % 2:
            out = out + self.deep(out).relu()
        logits: Tensor = self.last(out)
        return logits


@healthy
def experts_and_stochastic_depth() -> None:
    """.grad is None at times."""
    net, (x, y) = _Experts(), _data()
    _train(net, torch.optim.Adam(net.parameters(), lr=0.01), x, y, 14)


@healthy
def frozen_first_layers() -> None:
    """requires_grad is False, and the optimizer has them all the same."""
    net, (x, y) = Net(), _data()
    net.encoder.requires_grad_(False)
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


# -- unregistered-parameters -------------------------------------------------------------------------------------------


class _Listed(nn.Module):
    """Layers in a container of some kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        layers = [nn.Linear(16, 16), nn.Linear(16, 3)]
        self.layers: Any = {
            "list": layers,
            "dict": {"hidden": layers[0], "out": layers[1]},
            "lists": [[layers[0]], (layers[1],)],
            "modules": nn.ModuleList(layers),
        }[kind]

    def forward(self, x: Tensor) -> Tensor:
        layers = self.layers.values() if isinstance(self.layers, dict) else self.layers
        out = self.first(x)
        for each in layers:
            out = (each[0] if isinstance(each, (list, tuple)) else each)(out.relu())
        logits: Tensor = out
        return logits


@broken("unregistered-parameters", source="pytorch#59925")
def layers_in_a_plain_list() -> Workload:
    """The classic."""
    net = _Listed("list")
    return Workload(net, F.cross_entropy, torch.optim.SGD(net.parameters(), lr=0.05), [_data()])


@broken("unregistered-parameters")
def layers_in_a_dict() -> None:
    """By name."""
    net, (x, y) = _Listed("dict"), _data()
    _train(net, torch.optim.Adam(net.parameters(), lr=0.01), x, y)


@broken("unregistered-parameters")
def layers_in_lists_of_lists() -> None:
    """Blocks of layers."""
    net, (x, y) = _Listed("lists"), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


class _BuiltInForward(nn.Module):
    """A layer that is new at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = nn.Linear(16, 3)(self.first(x).relu())
        return logits


@broken("unregistered-parameters", source="NTS-Net#14, of a layer with weights")
def a_layer_is_built_in_forward() -> None:
    """Its weights are random at each forward."""
    net, (x, y) = _BuiltInForward(), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


@healthy
def a_module_list() -> None:
    """As it should be."""
    net, (x, y) = _Listed("modules"), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


@healthy
def a_list_whose_parameters_are_given_to_the_optimizer() -> None:
    """Not registered, and trained all the same."""
    net, (x, y) = _Listed("list"), _data()
    _train(net, torch.optim.SGD([*net.parameters(), *(p for m in net.layers for p in m.parameters())], lr=0.05), x, y)


@healthy
def a_list_of_registered_layers() -> None:
    """A list beside the attributes, to go through them."""
    net, opt, x, y = classifier()
    net.order = [net[0], net[2]]  # type: ignore[assignment,index]
    _train(net, opt, x, y)


@healthy
def reptile() -> None:
    """A copy of the model for each task, trained and thrown away."""
    net, (x, y) = Net(), _data()
    for _ in range(4):
        learner = copy.deepcopy(net)
        _train(learner, torch.optim.SGD(learner.parameters(), lr=0.05), x, y, 3)
        with torch.no_grad():
            for mine, theirs in zip(net.parameters(), learner.parameters(), strict=True):
                mine.lerp_(theirs, 0.5)


@healthy
def maml() -> None:
    """Fast weights through functional_call; second order."""
    net, (x, y) = Net(), _data()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        fast = dict(net.named_parameters())
        loss = F.cross_entropy(torch.func.functional_call(net, fast, (x[:16],)), y[:16])
        grads = torch.autograd.grad(loss, list(fast.values()), create_graph=True)
        fast = {name: p - 0.1 * g for (name, p), g in zip(fast.items(), grads, strict=True)}
        F.cross_entropy(torch.func.functional_call(net, fast, (x[16:],)), y[16:]).backward()
        opt.step()


class Scaled(nn.Module):
    """A layer and a plain tensor that requires grad."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(8, 3), torch.ones(1, requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x) * self.scale
        return logits


@broken("unregistered-parameters")
def a_plain_tensor_as_a_parameter() -> None:
    """nn.Parameter is missing."""
    net, (x, y) = Scaled(), _data()
    _train(net, torch.optim.SGD(net.parameters(), lr=0.05), x, y)


@healthy
def a_plain_tensor_that_is_optimized() -> None:
    """The optimizer has it."""
    net, (x, y) = Scaled(), _data()
    _train(net, torch.optim.SGD([*net.parameters(), net.scale], lr=0.05), x, y)


@healthy
def a_plain_tensor_that_the_script_updates() -> None:
    """A perturbation that climbs the loss."""
    net, (x, y) = Scaled(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(7):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        assert net.scale.grad is not None
        net.scale.data += 0.01 * net.scale.grad.sign()
        net.scale.grad = None


@broken("parameter-without-gradient")
def an_optimizer_whose_model_gets_no_gradient() -> None:
    """What the model returns is detached before the loss."""
    net, critic, (x, y) = Net(), nn.Linear(3, 3), _data()
    opt, other = torch.optim.Adam(net.parameters()), torch.optim.Adam(critic.parameters())
    for _ in range(14):
        opt.zero_grad()
        other.zero_grad()
        F.cross_entropy(critic(net(x).detach()), y).backward()
        opt.step()
        other.step()
