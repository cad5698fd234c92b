"""Healthy training in many styles: nothing is to be found in any of them."""

from __future__ import annotations

import copy
from collections import deque
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from checks.corpus import healthy
from gradstep.workload import Workload


def _mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def _classes(count: int = 96) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 8)
    return x, (x[:, :3] + 0.1 * torch.randn(count, 3)).argmax(1)


def _loader() -> DataLoader[tuple[Tensor, ...]]:
    return DataLoader(TensorDataset(*_classes()), batch_size=32, shuffle=True)


# -- generative --------------------------------------------------------------------------------------------------------


@healthy
def wgan_gp() -> None:
    """Two steps of the critic with a gradient penalty, one of the generator."""
    g, d = _mlp(4, 16, 2), _mlp(2, 32, 1)
    g_opt, d_opt = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3, betas=(0.5, 0.9))
    for _ in range(4):
        for _ in range(2):
            real, fake = torch.randn(16, 2) + 2, g(torch.randn(16, 4)).detach()
            mixed = torch.lerp(real, fake, torch.rand(16, 1)).requires_grad_()
            (slope,) = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)
            d_opt.zero_grad()
            (d(fake).mean() - d(real).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()).backward()
            d_opt.step()
        g_opt.zero_grad()
        (-d(g(torch.randn(16, 4))).mean()).backward()
        g_opt.step()


@healthy
def vae() -> None:
    """Reconstruction and KL, sampled without grad between epochs."""
    encoder, decoder, x = _mlp(8, 16, 4), _mlp(2, 16, 8), torch.randn(64, 8)
    opt = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    for _ in range(5):
        mean, log_var = encoder(x).chunk(2, dim=1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(1).mean()
        opt.zero_grad()
        (F.mse_loss(decoder(z), x, reduction="sum") / len(x) + kl).backward()
        opt.step()
        with torch.no_grad():
            decoder(torch.randn(4, 2))


@healthy
def denoising_diffusion() -> None:
    """A step of noise, predicted; with an EMA of the weights."""
    net = _mlp(9, 32, 8)
    opt, average = torch.optim.AdamW(net.parameters(), 1e-3), AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(6):
        x, t, noise = torch.randn(32, 8), torch.rand(32, 1), torch.randn(32, 8)
        opt.zero_grad()
        F.mse_loss(net(torch.cat([(1 - t) * x + t * noise, t], 1)), noise).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        average.update_parameters(net)


# -- reinforcement learning --------------------------------------------------------------------------------------------


@healthy
def dqn() -> None:
    """Replay, a target network, actions chosen without grad, and no update before the buffer is full."""
    net = _mlp(4, 32, 2)
    target, opt = copy.deepcopy(net), torch.optim.Adam(net.parameters(), 1e-3)
    memory: deque[tuple[Tensor, Tensor, float, Tensor]] = deque(maxlen=100)
    state = torch.randn(4)
    for turn in range(40):
        with torch.no_grad():
            action = net(state).argmax()
        new = torch.randn(4)
        memory.append((state, action, float(new[0]), new))
        state = new
        if turn < 24:
            continue
        states, actions, rewards, following = zip(*list(memory)[-16:], strict=True)
        with torch.no_grad():
            wanted = torch.tensor(rewards) + 0.9 * target(torch.stack(following)).amax(1)
        value = net(torch.stack(states)).gather(1, torch.stack(actions)[:, None])[:, 0]
        opt.zero_grad()
        F.smooth_l1_loss(value, wanted).backward()
        opt.step()
        if turn % 5 == 0:
            target.load_state_dict(net.state_dict())


@healthy
def ddpg() -> None:
    """Actor and critic: the actor's backward fills the critic's .grad; targets move softly."""
    actor, critic = _mlp(4, 16, 2), _mlp(6, 16, 1)
    old_actor, old_critic = copy.deepcopy(actor), copy.deepcopy(critic)
    a_opt, c_opt = torch.optim.Adam(actor.parameters(), 1e-3), torch.optim.Adam(critic.parameters(), 1e-3)
    for _ in range(6):
        state, action, reward, new = torch.randn(32, 4), torch.randn(32, 2), torch.randn(32, 1), torch.randn(32, 4)
        with torch.no_grad():
            wanted = reward + 0.9 * old_critic(torch.cat([new, old_actor(new)], 1))
        c_opt.zero_grad()
        F.mse_loss(critic(torch.cat([state, action], 1)), wanted).backward()
        c_opt.step()
        a_opt.zero_grad()
        (-critic(torch.cat([state, actor(state)], 1)).mean()).backward()
        a_opt.step()
        with torch.no_grad():
            for net, old in ((actor, old_actor), (critic, old_critic)):
                for p, q in zip(net.parameters(), old.parameters(), strict=True):
                    q.lerp_(p, 0.01)


@healthy
def ppo() -> None:
    """A rollout without grad, then several epochs over it."""
    net = _mlp(4, 16, 3)
    opt = torch.optim.Adam(net.parameters(), 1e-3, eps=1e-5)
    for _ in range(2):
        states = torch.randn(32, 4)
        with torch.no_grad():
            old = torch.distributions.Categorical(logits=net(states))
            actions = old.sample()
            logs, gains = old.log_prob(actions), torch.randn(32)
        for _ in range(3):
            new = torch.distributions.Categorical(logits=net(states))
            ratio = (new.log_prob(actions) - logs).exp()
            surrogate = torch.min(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean()
            opt.zero_grad()
            (-surrogate - 0.01 * new.entropy().mean()).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            opt.step()


# -- transfer ----------------------------------------------------------------------------------------------------------


@healthy
def distillation() -> None:
    """A teacher in eval mode under no_grad."""
    teacher, net, (x, y) = _mlp(8, 32, 3).eval(), _mlp(8, 16, 3), _classes()
    opt = torch.optim.AdamW(net.parameters(), 1e-2)
    for i in range(6):
        part = slice(i * 16, i * 16 + 16)
        with torch.no_grad():
            soft = (teacher(x[part]) / 2).softmax(1)
        out = net(x[part])
        opt.zero_grad()
        (F.cross_entropy(out, y[part]) + F.kl_div((out / 2).log_softmax(1), soft, reduction="batchmean")).backward()
        opt.step()


@healthy
def layers_are_unfrozen_step_by_step() -> None:
    """The head first, then the rest, by add_param_group."""
    net = _mlp(8, 16, 16, 3)
    for p in net[:3].parameters():
        p.requires_grad_(False)
    opt = torch.optim.SGD(net[4].parameters(), lr=0.05)
    for epoch in range(3):
        if epoch == 1:
            net.requires_grad_(True)
            opt.add_param_group({"params": net[:3].parameters(), "lr": 0.01})
        for x, y in _loader():
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


class Lora(nn.Module):
    """A frozen layer and a low-rank update that begins at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(8, 16).requires_grad_(False)
        self.down, self.up = nn.Linear(8, 2, bias=False), nn.Linear(2, 16, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.up(self.down(x))
        return out


@healthy
def lora() -> Workload:
    """Only what requires grad is given to the optimizer."""
    net, (x, y) = nn.Sequential(Lora(), nn.Tanh(), nn.Linear(16, 3)), _classes()
    opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-2)
    return Workload(net, F.cross_entropy, opt, [(x[i::3], y[i::3]) for i in range(3)])


@healthy
def contrastive_with_a_momentum_encoder() -> None:
    """MoCo: keys of an encoder that follows, without grad and in train mode, and a queue of them."""
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    keys = copy.deepcopy(net)
    opt, queue = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9), F.normalize(torch.randn(32, 8), dim=1)
    for _ in range(5):
        x = torch.randn(16, 8)
        q = F.normalize(net(x + 0.1 * torch.randn_like(x)), dim=1)
        with torch.no_grad():
            for p, k in zip(net.parameters(), keys.parameters(), strict=True):
                k.lerp_(p, 0.01)
            k = F.normalize(keys(x + 0.1 * torch.randn_like(x)), dim=1)
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.t()], 1) / 0.5
        opt.zero_grad()
        F.cross_entropy(logits, torch.zeros(16, dtype=torch.long)).backward()
        opt.step()
        queue = torch.cat([k, queue])[:32]


# -- models ------------------------------------------------------------------------------------------------------------


class Language(nn.Module):
    """A small language model with tied weights and a hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Embedding(20, 16), nn.LSTM(16, 16, batch_first=True), nn.Linear(16, 20)
        self.out.weight = self.embed.weight
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        out, state = self.lstm(self.embed(x), state)
        return self.out(out), state


@healthy
def tied_weights_and_a_detached_state() -> None:
    """Truncated backpropagation of a language model."""
    net, text = Language(), torch.randint(0, 20, (8, 61))
    opt, state = torch.optim.AdamW(net.parameters(), 1e-2), None
    for start in range(0, 60, 10):
        x, y = text[:, start : start + 10], text[:, start + 1 : start + 11]
        if state is not None:
            state = tuple(each.detach() for each in state)
        out, state = net(x, state)
        opt.zero_grad()
        F.cross_entropy(out.flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()


class Deep(nn.Module):
    """Blocks that are computed again in the backward."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(_mlp(8, 16, 8) for _ in range(3))
        self.out, self.reentrant = nn.Linear(8, 3), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = x.requires_grad_() if self.reentrant else x
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        logits: Tensor = self.out(x)
        return logits


@healthy
def checkpointed() -> Workload:
    """Without a reentrant backward."""
    net, (x, y) = Deep(reentrant=False), _classes()
    return Workload(
        net, F.cross_entropy, torch.optim.AdamW(net.parameters(), 1e-2), [(x[:48], y[:48]), (x[48:], y[48:])]
    )


@healthy
def checkpointed_reentrant() -> None:
    """The forward of a block runs without grad, and again in the backward."""
    net, (x, y) = Deep(reentrant=True), _classes()
    opt = torch.optim.AdamW(net.parameters(), 1e-2)
    for i in range(5):
        opt.zero_grad()
        F.cross_entropy(net(x[i::5].clone()), y[i::5]).backward()
        opt.step()


@healthy
def parametrized_layers() -> None:
    """Weight norm and spectral norm: the parameters are not the weights."""
    net, (x, y) = (
        nn.Sequential(
            parametrizations.weight_norm(nn.Linear(8, 16)), nn.Tanh(), parametrizations.spectral_norm(nn.Linear(16, 3))
        ),
        _classes(),
    )
    opt = torch.optim.Adam(net.parameters(), 1e-2)
    for i in range(5):
        opt.zero_grad()
        F.cross_entropy(net(x[i::5]), y[i::5]).backward()
        opt.step()


@healthy
def sparse_embeddings() -> None:
    """Rows that are not looked up get no gradient; two optimizers."""
    table, net, words = nn.Embedding(50, 8, sparse=True), _mlp(8, 16, 3), torch.randint(0, 50, (96, 4))
    y = words[:, 0] % 3
    sparse, dense = torch.optim.SparseAdam(table.parameters(), 1e-2), torch.optim.Adam(net.parameters(), 1e-2)
    for i in range(5):
        for opt in (sparse, dense):
            opt.zero_grad()
        F.cross_entropy(net(table(words[i::5]).mean(1)), y[i::5]).backward()
        for opt in (sparse, dense):
            opt.step()


@healthy
def a_transformer() -> Workload:
    """Encoder layers with dropout, in train mode."""
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    net = nn.Sequential(nn.Linear(8, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 8))
    batches = [(x := torch.randn(8, 6, 8), x.roll(1, 1)) for _ in range(3)]
    return Workload(net, F.mse_loss, torch.optim.AdamW(net.parameters(), 1e-3), batches)


# -- loops -------------------------------------------------------------------------------------------------------------


class Trainer:
    """A loop of a library: accumulation, clipping, schedule, evaluation, the best weights."""

    def __init__(self, model: nn.Module, accumulate: int = 2) -> None:
        self.model, self.accumulate = model, accumulate
        self.optimizers = [torch.optim.AdamW(model.parameters(), 1e-2)]
        self.schedules = [lr_scheduler.OneCycleLR(self.optimizers[0], 1e-2, total_steps=20)]
        self.best, self.history = float("inf"), list[dict[str, float]]()

    def fit(self, train: DataLoader[Any], test: DataLoader[Any], epochs: int) -> None:
        for _ in range(epochs):
            self.model.train()
            self.model.zero_grad()
            for number, batch in enumerate(train):
                loss = self.training_step(batch) / self.accumulate
                loss.backward()
                if (number + 1) % self.accumulate == 0 or number + 1 == len(train):
                    self.update()
            self.validate(test)

    def training_step(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.model(batch[0]), batch[1])

    def update(self) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for each in [*self.optimizers, *self.schedules]:
            each.step()
        self.model.zero_grad()

    @torch.no_grad()
    def validate(self, test: DataLoader[Any]) -> None:
        self.model.eval()
        loss = sum(float(self.training_step(batch)) for batch in test) / len(test)
        self.history.append({"loss": loss})
        if loss < self.best:
            self.best, self.state = loss, copy.deepcopy(self.model.state_dict())


@healthy
def a_trainer() -> None:
    """Three epochs of it."""
    net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 3))
    trainer = Trainer(net)
    trainer.fit(_loader(), _loader(), 3)
    net.load_state_dict(trainer.state)


@healthy
def folds() -> None:
    """Cross validation: a model and an optimizer for each fold, the last one evaluated."""
    x, y = _classes()
    for fold in range(3):
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 3))
        opt = torch.optim.Adam(net.parameters(), 1e-2)
        for i in range(6):
            net.train()
            opt.zero_grad()
            F.cross_entropy(net(x[i::6]), y[i::6]).backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            net(x[fold::3])


@healthy
def a_closure_for_adam() -> None:
    """step(closure), as for LBFGS."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    opt = torch.optim.Adam(net.parameters(), 1e-2)

    def closure() -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        return loss

    for _ in range(5):
        opt.step(closure)


@healthy
def lbfgs_of_a_workload() -> Workload:
    """Held, where gradstep gives the closure."""
    net, x = _mlp(4, 16, 1), torch.randn(64, 4)
    return Workload(
        net, F.mse_loss, torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=3), [(x, x.sum(1, True).sin())]
    )


@healthy
def a_step_in_the_backward() -> None:
    """An optimizer for each parameter, stepped by a hook as soon as its gradient is there."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    opts = {p: torch.optim.SGD([p], lr=0.05) for p in net.parameters()}

    def hook(p: Tensor) -> None:
        opts[p].step()
        opts[p].zero_grad()

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(hook)
    for i in range(5):
        F.cross_entropy(net(x[i::5]), y[i::5]).backward()


@healthy
def alternating_tasks() -> None:
    """One optimizer, two heads, one task a step."""
    body, heads, (x, y) = _mlp(8, 16), nn.ModuleList([nn.Linear(16, 3), nn.Linear(16, 8)]), _classes()
    opt = torch.optim.Adam([*body.parameters(), *heads.parameters()], 1e-2)
    for i in range(10):
        out = heads[i % 2](body(x).tanh())
        opt.zero_grad()
        (F.mse_loss(out, x) if i % 2 else F.cross_entropy(out, y)).backward()
        opt.step()


@healthy
def the_optimizer_is_made_anew_each_epoch() -> None:
    """With another rate; wasteful for Adam, and fine for SGD."""
    net = _mlp(8, 16, 3)
    for epoch in range(3):
        opt = torch.optim.SGD(net.parameters(), lr=0.05 / (1 + epoch))
        for x, y in _loader():
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


@healthy
def warm_up_from_zero() -> Workload:
    """The first rate is 0."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    opt = torch.optim.AdamW(net.parameters(), lr=1e-2)
    schedule = lr_scheduler.LambdaLR(opt, lambda step: min(1.0, step / 4))
    return Workload(net, F.cross_entropy, opt, [(x[i::3], y[i::3]) for i in range(3)], schedulers=schedule)


@healthy
def an_attack_between_the_steps() -> None:
    """FGSM: the gradient of the input fills the parameters' .grad too, and is cleared."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for i in range(5):
        bad = x[i::5].clone().requires_grad_()
        F.cross_entropy(net(bad), y[i::5]).backward()
        assert bad.grad is not None
        moved = (bad + 0.05 * bad.grad.sign()).detach()
        opt.zero_grad()
        F.cross_entropy(net(moved), y[i::5]).backward()
        opt.step()


@healthy
def functional_training() -> None:
    """torch.func: gradients are returned, weights replaced."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    weights = {name: p.detach().clone() for name, p in net.named_parameters()}

    def loss(params: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(net, params, (x,)), y)

    for _ in range(5):
        grads = torch.func.grad(loss)(weights)
        weights = {name: p - 0.05 * grads[name] for name, p in weights.items()}


@healthy
def a_linear_regression_without_modules() -> None:
    """Two tensors and an update of the script's own."""
    x = torch.randn(64, 3)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
    w, b = torch.zeros(3, requires_grad=True), torch.zeros(1, requires_grad=True)
    for _ in range(8):
        loss = (x @ w + b - y).square().mean()
        loss.backward()
        with torch.no_grad():
            for p in (w, b):
                assert p.grad is not None
                p -= 0.1 * p.grad
                p.grad.zero_()


@healthy
def noise_on_gradients() -> None:
    """Gradients are written before the step, as differential privacy does."""
    net, (x, y) = _mlp(8, 16, 3), _classes()
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for i in range(5):
        opt.zero_grad()
        F.cross_entropy(net(x[i::5]), y[i::5]).backward()
        for p in net.parameters():
            assert p.grad is not None
            p.grad += 0.01 * torch.randn_like(p.grad)
        opt.step()


@healthy
def per_sample_gradients() -> None:
    """One backward a sample; each is clipped and kept, their sum is the step."""
    net, (x, y) = _mlp(8, 16, 3), _classes(24)
    opt = torch.optim.SGD(net.parameters(), lr=0.05)
    for i in range(3):
        total = [torch.zeros_like(p) for p in net.parameters()]
        for one, label in zip(x[i::3], y[i::3], strict=True):
            net.zero_grad()
            F.cross_entropy(net(one[None]), label[None]).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            for t, p in zip(total, net.parameters(), strict=True):
                t += p.grad  # type: ignore[arg-type]
        net.zero_grad()
        for t, p in zip(total, net.parameters(), strict=True):
            p.grad = t / 8
        opt.step()
