"""Losses, gradients and updates that go wrong, and those that look it and are meant."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from gradstep.workload import Workload

Made = Callable[[object], torch.optim.Optimizer]


def _data(samples: int = 64, width: int = 8, classes: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(samples, width)
    return x, (x @ torch.randn(width, classes)).argmax(1)


def _net(*first: nn.Module, width: int = 8, classes: int = 4) -> nn.Sequential:
    return nn.Sequential(*first, nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, classes))


def _sgd(lr: float, **more: float) -> Made:
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, **more)  # type: ignore[arg-type]


def _adam(lr: float, **more: float) -> Made:
    return lambda parameters: torch.optim.Adam(parameters, lr=lr, **more)  # type: ignore[arg-type]


def _fit(
    net: nn.Module, x: Tensor, y: Tensor, made: Made, iterations: int = 12, loss: object = F.cross_entropy
) -> None:
    opt = made([p for p in net.parameters() if p.requires_grad])
    for _ in range(iterations):
        opt.zero_grad()
        loss(net(x), y).backward()  # type: ignore[operator]
        opt.step()


def _both(net: Callable[[], nn.Module], x: Tensor, y: Tensor, made: Made, loss: object = F.cross_entropy) -> Workload:
    """Train as a script does; return the same as a workload."""
    _fit(net(), x, y, made, loss=loss)
    return Workload(net(), loss, made, [(x, y)])  # type: ignore[arg-type]


_TOO_FAR = (
    "exploding-gradient",
    "loss-diverges",
    "learning-rate-high",
    "update-ratio-high",
    "nan-or-inf",
    "dead-relu",
    "saturated-activation",
    "initialisation-scale",
)


# -- nan-or-inf
@broken("nan-or-inf")
def log_of_zero() -> Workload:
    """A cross entropy written out, of a probability that is 0."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -(F.one_hot(y, 4) * torch.log(F.relu(out))).sum(1).mean()

    x, y = _data()
    return _both(_net, x, y, _sgd(0.1), loss)


@broken("nan-or-inf", source="pytorch/pytorch#2421")
def square_root_of_zero() -> None:
    """A distance that is 0: its gradient is 0 / 0, while the loss is finite."""
    net, x = nn.Linear(8, 8), torch.randn(16, 8)
    x[0] = 0
    nn.init.zeros_(net.bias)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        opt.zero_grad()
        (net(x).pow(2).sum(1).sqrt().mean() + 1.0).backward()
        opt.step()


@broken("nan-or-inf", source="pytorch/pytorch#187297")
def where_hides_a_nan() -> None:
    """torch.where leaves the logarithm of negative numbers out of the loss, not out of its gradient."""
    net, x = nn.Linear(8, 1), torch.randn(16, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(3):
        out = net(x)
        opt.zero_grad()
        torch.where(out > 0, out.sqrt(), torch.zeros_like(out)).mean().backward()
        opt.step()


@broken("nan-or-inf")
def a_nan_in_the_data() -> None:
    """One missing value in a table."""
    x, y = _data()
    x[3, 2] = math.nan
    _fit(_net(), x, y, _sgd(0.1), 3)


@broken("nan-or-inf")
def a_row_of_masked_scores() -> None:
    """Attention of a sequence that is all padding: softmax of -inf."""
    net, x = nn.Linear(8, 8), torch.randn(4, 5, 8)
    mask = torch.zeros(4, 1, 5, dtype=torch.bool)
    mask[0] = True
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(2):
        opt.zero_grad()
        scores = (net(x) @ x.transpose(1, 2)).masked_fill(mask, -math.inf)
        (scores.softmax(-1) @ x).pow(2).mean().backward()
        opt.step()


@healthy
def steps_skipped_for_nan() -> None:
    """A loop that leaves out a step whose gradient is not finite."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    for i in range(6):
        opt.zero_grad()
        F.cross_entropy(net(x * (math.nan if i == 2 else 1.0)), y).backward()
        if all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None):
            opt.step()


@healthy
def causal_attention() -> None:
    """Scores of -inf where the mask is meant."""
    net, x = nn.Linear(8, 8), torch.randn(4, 5, 8)
    mask = torch.ones(5, 5).triu(1).bool()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        scores = (net(x) @ x.transpose(1, 2)).masked_fill(mask, -math.inf)
        (scores.softmax(-1) @ x - x).pow(2).mean().backward()
        opt.step()


# -- vanishing-gradient
def _deep(activation: type[nn.Module], layers: int = 16) -> nn.Sequential:
    return nn.Sequential(*[each for _ in range(layers) for each in (nn.Linear(8, 8), activation())], nn.Linear(8, 4))


@broken("vanishing-gradient", also=("weights-unchanged",))
def sixteen_sigmoids() -> Workload:
    """A deep network of sigmoids."""
    x, y = _data(32)
    return _both(lambda: _deep(nn.Sigmoid), x, y, _sgd(0.1))


@broken("vanishing-gradient", also=("weights-unchanged", "saturated-activation"))
def a_recurrent_network_over_a_long_time() -> None:
    """A small recurrent weight: nothing of the first inputs is left after 60 time steps."""
    first, cell, head = nn.Linear(8, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 4)
    embed, drive = nn.Linear(8, 8), torch.randn(16, 8)
    x, y = _data(16)
    opt = torch.optim.SGD([*embed.parameters(), *first.parameters(), *cell.parameters(), *head.parameters()], lr=0.1)
    for _ in range(6):
        state = first(torch.tanh(embed(x)))
        opt.zero_grad()
        for _ in range(30):
            state = torch.tanh(0.5 * cell(state) + drive)
        F.cross_entropy(head(state), y).backward()
        opt.step()


@broken("vanishing-gradient", also=("weights-unchanged",))
def small_weights_stacked() -> None:
    """Ten layers whose weights are initialised with a deviation of 0.01."""
    net, (x, y) = _deep(nn.Tanh, 10), _data(32)
    for each in net:
        if isinstance(each, nn.Linear):
            nn.init.normal_(each.weight, std=0.01)
    _fit(net, x, y, _sgd(0.1), 6)


@healthy
def sixteen_relus_with_norms() -> Workload:
    """The same depth with LayerNorm and ReLU."""
    x, y = _data(32)

    def net() -> nn.Module:
        layers = [each for _ in range(16) for each in (nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU())]
        return nn.Sequential(*layers, nn.Linear(8, 4))

    return _both(net, x, y, _sgd(0.1))


class _Gated(nn.Module):
    """A residual block whose gate begins at `gate`, as ReZero (0) and LayerScale (1e-6) do."""

    def __init__(self, gate: float) -> None:
        super().__init__()
        self.layer, self.gate = nn.Linear(8, 8), nn.Parameter(torch.full((8,), gate))

    def forward(self, x: Tensor) -> Tensor:
        """Add the gated layer to its input."""
        return x + self.gate * torch.relu(self.layer(x))


@healthy
def residual_gates_of_zero() -> Workload:
    """ReZero: the layers get no gradient in the first step."""
    x, y = _data()
    return _both(lambda: nn.Sequential(_Gated(0.0), _Gated(0.0), nn.Linear(8, 4)), x, y, _sgd(0.1))


@healthy
def layer_scale() -> Workload:
    """ConvNeXt: gates of 1e-6, with Adam."""
    x, y = _data()
    return _both(lambda: nn.Sequential(_Gated(1e-6), _Gated(1e-6), nn.Linear(8, 4)), x, y, _adam(0.01))


# -- exploding-gradient
@broken("exploding-gradient", also=_TOO_FAR)
def a_sum_over_the_batch() -> Workload:
    """Squared errors are summed, with a learning rate for their mean."""
    x = torch.randn(64, 8)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out - y).pow(2).sum()

    return _both(lambda: nn.Linear(8, 1), x, x[:, :1] * 3, _sgd(0.5), loss)


@broken("exploding-gradient", also=_TOO_FAR)
def deep_without_normalisation() -> None:
    """Weights of deviation 1 in eight layers."""
    net, (x, y) = _deep(nn.ReLU, 8), _data(32)
    for each in net:
        if isinstance(each, nn.Linear):
            nn.init.normal_(each.weight, std=2.0)
    _fit(net, x, y.float()[:, None].expand(32, 4).contiguous(), _sgd(0.1), 6, F.mse_loss)


@broken("exploding-gradient", also=_TOO_FAR)
def a_recurrent_network_that_grows() -> None:
    """A recurrent weight with a large eigenvalue, and no clipping."""
    cell, head = nn.Linear(8, 8), nn.Linear(8, 1)
    nn.init.orthogonal_(cell.weight, 1.5)
    x = torch.randn(16, 8)
    opt = torch.optim.SGD([*cell.parameters(), *head.parameters()], lr=0.1)
    for _ in range(6):
        state = x
        opt.zero_grad()
        for _ in range(12):
            state = cell(state)
        F.mse_loss(head(state), x[:, :1]).backward()
        opt.step()


@healthy
def clipped() -> None:
    """The same recurrent network, with the gradient's norm clipped."""
    cell, head = nn.Linear(8, 8), nn.Linear(8, 1)
    nn.init.orthogonal_(cell.weight, 1.1)
    x = torch.randn(16, 8)
    parameters = [*cell.parameters(), *head.parameters()]
    opt = torch.optim.SGD(parameters, lr=0.01)
    for _ in range(12):
        state = x
        opt.zero_grad()
        for _ in range(12):
            state = torch.tanh(cell(state))
        F.mse_loss(head(state), x[:, :1]).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        opt.step()


# -- all-zero-gradient
@broken("all-zero-gradient", also=("dead-relu", "loss-plateau", "initialisation-symmetric", "initialisation-scale"))
def every_unit_dead() -> Workload:
    """A bias so low that no ReLU is ever on, in a network without other biases."""

    def net() -> nn.Module:
        made = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1, bias=False))
        nn.init.constant_(made[0].bias, -50.0)
        return made

    x = torch.randn(32, 8)
    return _both(net, x, x[:, :1], _sgd(0.1), F.mse_loss)


@broken(
    "all-zero-gradient", also=("initialisation-symmetric", "initialisation-scale", "dead-relu"), source="LAVT-RIS#25"
)
def two_stacked_layers_of_zeros() -> Workload:
    """A branch whose both layers are zero: neither gets a gradient."""

    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down, self.up, self.head = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 4)
            nn.init.zeros_(self.down.weight)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x + self.up(self.down(x)))  # type: ignore[no-any-return]

    x, y = _data()
    return _both(Branch, x, y, _sgd(0.1))


@broken("all-zero-gradient", also=("loss-plateau",))
def a_clamp_over_the_output() -> None:
    """All outputs are beyond the bound of a clamp."""
    net, x = nn.Linear(8, 1), torch.randn(32, 8)
    nn.init.constant_(net.bias, 40.0)
    _fit(net, x, x[:, :1], _sgd(0.1), 6, lambda out, y: F.mse_loss(out.clamp(-1, 1), y))


@healthy
def lora() -> Workload:
    """One of two layers is zero, the base frozen."""

    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.a, self.b = nn.Linear(8, 4), nn.Linear(8, 2, bias=False), nn.Linear(2, 4, bias=False)
            self.base.requires_grad_(False)
            nn.init.zeros_(self.b.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + self.b(self.a(x))  # type: ignore[no-any-return]

    x, y = _data()
    _fit(Adapted(), x, y, _adam(0.01), 14)
    return Workload(Adapted(), F.cross_entropy, _adam(0.01), [(x, y)])


@healthy
def embeddings_rarely_used() -> None:
    """Most rows of an embedding get no gradient in a step."""
    net = nn.Sequential(nn.EmbeddingBag(200, 8), nn.Linear(8, 4))
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(12):
        opt.zero_grad()
        F.cross_entropy(net(torch.randint(0, 200, (16, 3))), torch.arange(16) % 4).backward()
        opt.step()


@healthy
def an_expert_not_chosen() -> None:
    """A mixture of experts sends samples to some of them only."""
    experts, gate = nn.ModuleList(nn.Linear(8, 4) for _ in range(3)), nn.Linear(8, 3)
    opt = torch.optim.Adam([*experts.parameters(), *gate.parameters()], lr=0.01)
    x, y = _data(32)
    for i in range(12):
        opt.zero_grad()
        scores = gate(x).softmax(1)
        out = sum(scores[:, k : k + 1] * each(x) for k, each in enumerate(experts) if (k + i) % 3)
        F.cross_entropy(out, y).backward()  # type: ignore[arg-type]
        opt.step()


@healthy
def a_term_that_is_warmed_up() -> None:
    """A VAE whose KL term has weight 0 at first: what only it reaches gets zeros."""
    encoder, mean, spread, decoder = nn.Linear(8, 8), nn.Linear(8, 2), nn.Linear(8, 2), nn.Linear(2, 8)
    parts = nn.ModuleList([encoder, mean, spread, decoder])
    opt = torch.optim.Adam(parts.parameters(), lr=0.01)
    x = torch.randn(32, 8)
    for i in range(14):
        opt.zero_grad()
        hidden = torch.relu(encoder(x))
        m, s = mean(hidden), spread(hidden)
        kl = 0.5 * (m.pow(2) + s.exp() - s - 1).sum(1).mean()
        (F.mse_loss(decoder(m), x) + (0.0 if i < 12 else 0.01) * kl).backward()
        opt.step()


# -- weights-unchanged
@broken("weights-unchanged", also=("learning-rate-low", "update-ratio-low"))
def bfloat16_weights() -> Workload:
    """Weights in bfloat16 with small steps."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out.float(), y)

    x, y = _data()
    return _both(lambda: _net().bfloat16(), x.bfloat16(), y, _sgd(1e-4), loss)


@broken("weights-unchanged", also=("learning-rate-low", "update-ratio-low", "loss-plateau"))
def a_learning_rate_below_the_spacing() -> None:
    """lr 1e-10."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(1e-10))


@broken("weights-unchanged", also=("learning-rate-low", "update-ratio-low"))
def half_precision_and_adam() -> None:
    """Adam with lr 1e-5 on float16 weights."""
    x, y = _data()
    net = nn.Linear(8, 4).half()
    nn.init.constant_(net.weight, 1.0)
    net.bias.requires_grad_(False)
    opt = torch.optim.Adam(net.parameters(), lr=1e-5, eps=1e-3)
    for _ in range(12):
        opt.zero_grad()
        F.cross_entropy(net(x.half()).float(), y).backward()
        opt.step()


@healthy
def warm_up_from_zero() -> None:
    """lr is 0 in the first step, and grows."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.AdamW(net.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, step / 20))
    for _ in range(12):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        schedule.step()


@healthy
def bfloat16_with_large_steps() -> None:
    """Weights in bfloat16, with steps that they can hold."""
    x, y = _data()
    _fit(_net().bfloat16(), x.bfloat16(), y, _sgd(0.1), loss=lambda out, y: F.cross_entropy(out.float(), y))


# -- learning rates, updates and the loss
@broken("learning-rate-high", also=_TOO_FAR)
def a_regression_that_overshoots() -> Workload:
    """lr above the stable one."""
    x = torch.randn(64, 8)
    return _both(lambda: nn.Linear(8, 1), x, x[:, :1] * 3, _sgd(2.0), F.mse_loss)


@broken("learning-rate-high", also=_TOO_FAR)
def adam_with_a_rate_for_sgd() -> Workload:
    """Adam with lr 1."""
    x, y = _data()
    return _both(_net, x, y, _adam(5.0))


@broken("learning-rate-high", also=_TOO_FAR)
def a_deep_network_with_lr_10() -> None:
    """SGD with lr 10."""
    x, y = _data()
    _fit(nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)), x, y, _sgd(30.0))


@broken("loss-diverges", also=_TOO_FAR)
def momentum_that_runs_away() -> Workload:
    """Momentum of 0.99 with a large lr."""
    x = torch.randn(64, 8)
    return _both(lambda: nn.Linear(8, 1), x, x[:, :1] * 3, _sgd(8.0, momentum=0.9), F.mse_loss)


@broken("loss-diverges", also=_TOO_FAR)
def the_sign_of_the_loss() -> None:
    """The gradient is climbed: maximize=True is left on."""
    x = torch.randn(32, 8)
    _fit(nn.Linear(8, 1), x, x[:, :1], _sgd(0.5, maximize=True), 20, F.mse_loss)


@broken("loss-diverges", also=_TOO_FAR)
def a_small_network_with_a_huge_rate() -> None:
    """Plain gradient descent on a quadratic, of weights that no module owns."""
    w = torch.randn(4, 4, requires_grad=True)
    opt = torch.optim.SGD([w], lr=10.0)
    for _ in range(10):
        opt.zero_grad()
        (w**2).mean(0).sum().backward()
        opt.step()


@broken("update-ratio-high", also=_TOO_FAR)
def adam_with_lr_a_half() -> Workload:
    """Each step moves every weight by half."""
    x, y = torch.randn(64, 8), torch.randint(0, 4, (64,))
    return _both(lambda: nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4)), x, y, _adam(1.5))


@broken("update-ratio-high", also=_TOO_FAR)
def rmsprop_with_lr_one() -> None:
    """RMSprop with lr 1."""
    x, y = torch.randn(64, 8), torch.randint(0, 4, (64,))
    net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4))
    _fit(net, x, y, lambda p: torch.optim.RMSprop(p, lr=1.0))  # type: ignore[arg-type]


@broken("update-ratio-high", also=_TOO_FAR)
def sgd_that_jumps() -> None:
    """A linear model whose steps are larger than the weights."""
    x = torch.randn(64, 8)
    _fit(nn.Linear(8, 4), x, torch.randint(0, 4, (64,)), _sgd(30.0))


@broken("learning-rate-low", also=("update-ratio-low", "loss-plateau", "weights-unchanged"))
def sgd_with_lr_1e_6() -> None:
    """SGD with a rate for fine-tuning, from scratch."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(1e-6), 24)


@broken("learning-rate-low", also=("update-ratio-low", "loss-plateau", "weights-unchanged"))
def adam_with_lr_1e_7() -> None:
    """Adam with lr 1e-7."""
    x, y = _data()
    _fit(_net(), x, y, _adam(1e-7), 24)


@broken("learning-rate-low", also=("update-ratio-low", "loss-plateau", "weights-unchanged"))
def a_schedule_that_has_ended() -> None:
    """lr decays to nothing before anything is learnt."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.SGD(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.01)
    for _ in range(26):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        if schedule.last_epoch < 3:
            schedule.step()


@broken("update-ratio-low", also=("learning-rate-low", "loss-plateau", "weights-unchanged"))
def steps_of_a_hundred_millionth() -> None:
    """SGD with lr 1e-7."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(1e-7), 24)


@broken("update-ratio-low", also=("learning-rate-low", "loss-plateau", "weights-unchanged"))
def a_tiny_loss() -> None:
    """The loss is scaled by 1e-6."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(0.01), 24, lambda out, y: 1e-6 * F.cross_entropy(out, y))


@broken("update-ratio-low", also=("learning-rate-low", "loss-plateau", "weights-unchanged"))
def adam_with_lr_1e_8() -> None:
    """Adam with lr 1e-8 on mini-batches."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.Adam(net.parameters(), lr=1e-8)
    for i in range(24):
        opt.zero_grad()
        F.cross_entropy(net(x[i % 4 :: 4]), y[i % 4 :: 4]).backward()
        opt.step()


@broken("loss-plateau", also=("learning-rate-low", "update-ratio-low", "weights-unchanged"))
def a_hundred_iterations_in_vain() -> None:
    """Labels of noise, another one each time."""
    net = _net()
    opt = torch.optim.SGD(net.parameters(), lr=0.001)
    for _ in range(104):
        opt.zero_grad()
        F.cross_entropy(net(torch.randn(64, 8)), torch.randint(0, 4, (64,))).backward()
        opt.step()


@broken("loss-plateau", also=("all-zero-gradient", "weights-unchanged", "learning-rate-low", "update-ratio-low"))
def a_hundred_iterations_of_tiny_steps() -> None:
    """SGD with lr 1e-5."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(1e-5), 104)


@broken("loss-plateau", also=("all-zero-gradient", "dead-relu", "softmax-before-cross-entropy"))
def a_hundred_iterations_of_a_flat_softmax() -> None:
    """Softmax twice over many classes."""
    net = nn.Sequential(nn.Linear(8, 50), nn.Softmax(1))
    _fit(net, torch.randn(64, 8), torch.arange(64) % 50, _sgd(0.01), 104)


@broken("loss-at-start", also=("saturated-activation",))
def a_large_last_layer() -> Workload:
    """The head is initialised with a deviation of 1, as makemore's first try."""

    def net() -> nn.Module:
        made = nn.Sequential(nn.Embedding(27, 10), nn.Flatten(), nn.Linear(30, 100), nn.Tanh(), nn.Linear(100, 27))
        for each in made:
            if isinstance(each, nn.Linear):
                nn.init.normal_(each.weight, std=1.0)
        return made

    return _both(net, torch.randint(0, 27, (64, 3)), torch.randint(0, 27, (64,)), _sgd(0.1))


@broken("loss-at-start")
def tied_embeddings_of_deviation_one() -> None:
    """A language model whose logits are products with embeddings of deviation 1."""
    words = nn.Embedding(100, 64)
    opt = torch.optim.AdamW(words.parameters(), lr=1e-3)
    text = torch.randint(0, 100, (8, 9))
    for _ in range(4):
        opt.zero_grad()
        out = words(text[:, :-1]) @ words.weight.T
        F.cross_entropy(out.flatten(0, 1), text[:, 1:].reshape(-1)).backward()
        opt.step()


@broken("loss-at-start")
def scaled_logits() -> None:
    """Logits multiplied where they should be divided by a temperature."""
    x, y = _data()
    _fit(_net(), x, y[torch.randperm(64)], _sgd(1e-3), 4, lambda out, y: F.cross_entropy(out * 50, y))


@healthy
def sgd_with_lr_a_tenth() -> Workload:
    """A usual rate."""
    x, y = _data()
    return _both(_net, x, y, _sgd(0.1, momentum=0.9))


@healthy
def fine_tuning_with_tiny_steps() -> None:
    """AdamW with lr 1e-5 on a model that has learnt already, its first layer frozen."""
    net, (x, y) = _net(), _data()
    net[0].requires_grad_(False)
    opt = torch.optim.AdamW(net[2].parameters(), lr=1e-5)
    for i in range(24):
        opt.zero_grad()
        F.cross_entropy(net(x[i % 4 :: 4]), y[i % 4 :: 4]).backward()
        opt.step()


@healthy
def a_linear_model_from_zeros() -> None:
    """Softmax regression that begins with zeros."""
    net, (x, y) = nn.Linear(8, 4), _data()
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    _fit(net, x, y, _sgd(0.5))


@healthy
def q_learning() -> None:
    """The loss rises as the values that the target network predicts grow."""
    net, target = _net(), _net()
    target.load_state_dict(net.state_dict())
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    state, following = torch.randn(64, 8), torch.randn(64, 8)
    action, reward = torch.randint(0, 4, (64, 1)), torch.rand(64, 1)
    for i in range(24):
        with torch.no_grad():
            wanted = reward + 0.99 * target(following).max(1, keepdim=True).values
        opt.zero_grad()
        F.smooth_l1_loss(net(state).gather(1, action), wanted).backward()
        opt.step()
        if i % 4 == 3:
            target.load_state_dict(net.state_dict())


@healthy
def policy_gradient() -> None:
    """A loss whose level says nothing: it is negative, positive, and rises."""
    net = _net()
    opt = torch.optim.Adam(net.parameters(), lr=0.003)
    for _ in range(12):
        policy = torch.distributions.Categorical(logits=net(torch.randn(32, 8)))
        action = policy.sample()
        opt.zero_grad()
        (-policy.log_prob(action) * (action.float() - 1.5)).mean().backward()
        opt.step()


@healthy
def an_autoencoder_near_its_end() -> None:
    """A loss near zero, with gradients near zero."""
    net, x = nn.Linear(4, 4), torch.randn(32, 4)
    _fit(net, x, x, _sgd(0.5), 40, F.mse_loss)


@healthy
def a_wasserstein_gan() -> None:
    """Losses of either sign that drift, clipped weights, RMSprop."""
    g, d = nn.Linear(4, 2), nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(), nn.Linear(16, 1))
    g_opt, d_opt = torch.optim.RMSprop(g.parameters(), lr=5e-4), torch.optim.RMSprop(d.parameters(), lr=5e-4)
    for _ in range(8):
        d_opt.zero_grad()
        (d(g(torch.randn(16, 4)).detach()).mean() - d(torch.randn(16, 2) + 3).mean()).backward()
        d_opt.step()
        with torch.no_grad():
            for p in d.parameters():
                p.clamp_(-0.1, 0.1)
        g_opt.zero_grad()
        (-d(g(torch.randn(16, 4))).mean()).backward()
        g_opt.step()


# -- weight-decay-on-norm-or-bias
@broken("weight-decay-on-norm-or-bias")
def adamw_with_all_parameters() -> Workload:
    """A decay of 0.1 for everything."""
    x, y = _data()
    return _both(
        lambda: _net(nn.LayerNorm(8)),
        x,
        y,
        lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),  # type: ignore[arg-type]
    )


@broken("weight-decay-on-norm-or-bias")
def sgd_with_a_strong_decay() -> None:
    """L2 of 0.1."""
    x, y = _data()
    _fit(_net(), x, y, _sgd(0.05, weight_decay=0.1))


@broken("weight-decay-on-norm-or-bias")
def one_of_two_groups_with_everything() -> None:
    """The head has its own group, without split."""
    net, (x, y) = _net(), _data()
    opt = torch.optim.AdamW(
        [{"params": net[0].parameters(), "weight_decay": 0.0}, {"params": net[2].parameters()}],
        lr=0.01,
        weight_decay=0.2,
    )
    for _ in range(3):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


@healthy
def decay_split_by_dimension() -> None:
    """Biases and norms in a group of their own."""
    net, (x, y) = _net(nn.LayerNorm(8)), _data()
    groups = [
        {"params": [p for p in net.parameters() if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in net.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    opt = torch.optim.AdamW(groups, lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
