"""Held out, healthy: reinforcement learning, meta-learning and optimizers written as loops."""

from __future__ import annotations

import copy
import random
from collections import deque

import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from checks.corpus import healthy
from checks.made import blobs, loader, mlp, pictures, plane


class Walk:
    """A walk on a line: right is rewarded."""

    def reset(self):
        self.at, self.time = 0.0, 0
        return self.state()

    def state(self):
        return torch.tensor([self.at, self.time / 20, 1.0, self.at**2])

    def step(self, action):
        self.at += (0.2 if action else -0.2) + 0.05 * random.random()
        self.time += 1
        return self.state(), self.at, self.time == 20


@healthy
def reinforce_with_normalised_returns():
    policy = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 2), nn.Softmax(dim=-1))
    opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
    env = Walk()
    for _episode in range(12):
        state, done, log_probs, rewards = env.reset(), False, [], []
        while not done:
            m = Categorical(policy(state.unsqueeze(0)))
            action = m.sample()
            log_probs.append(m.log_prob(action))
            state, reward, done = env.step(int(action))
            rewards.append(reward)
        returns, total = deque(), 0.0
        for r in reversed(rewards):
            total = r + 0.99 * total
            returns.appendleft(total)
        returns = torch.tensor(list(returns))
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        opt.zero_grad()
        torch.cat([-lp * r for lp, r in zip(log_probs, returns, strict=True)]).sum().backward()
        opt.step()


@healthy
def actor_critic():
    class ActorCritic(nn.Module):
        def __init__(self):
            super().__init__()
            self.affine, self.action, self.value = nn.Linear(4, 32), nn.Linear(32, 2), nn.Linear(32, 1)

        def forward(self, x):
            h = F.relu(self.affine(x))
            return F.softmax(self.action(h), dim=-1), self.value(h)

    model = ActorCritic()
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    env = Walk()
    for _ in range(12):
        state, done, saved, rewards = env.reset(), False, [], []
        while not done:
            probs, value = model(state)
            m = Categorical(probs)
            action = m.sample()
            saved.append((m.log_prob(action), value))
            state, reward, done = env.step(int(action))
            rewards.append(reward)
        total, policy_losses, value_losses = 0.0, [], []
        for (log_prob, value), reward in zip(reversed(saved), reversed(rewards), strict=True):
            total = reward + 0.9 * total
            policy_losses.append(-log_prob * (total - value.item()))
            value_losses.append(F.smooth_l1_loss(value, torch.tensor([total])))
        opt.zero_grad()
        loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
        loss.backward()
        opt.step()


@healthy
def dqn_with_replay_and_target():
    q, target = mlp(4, 32, 2), mlp(4, 32, 2)
    target.load_state_dict(q.state_dict())
    opt = torch.optim.AdamW(q.parameters(), lr=1e-3, amsgrad=True)
    memory, env = deque(maxlen=500), Walk()
    for _ in range(8):
        state, done = env.reset(), False
        while not done:
            with torch.no_grad():
                action = random.randrange(2) if random.random() < 0.3 else int(q(state).argmax())
            after, reward, done = env.step(action)
            memory.append((state, action, reward, after, done))
            state = after
            if len(memory) < 32:
                continue
            s, a, r, s2, d = zip(*random.sample(list(memory), 32), strict=True)
            value = q(torch.stack(s)).gather(1, torch.tensor(a)[:, None])
            with torch.no_grad():
                best = target(torch.stack(s2)).max(1).values
            expected = torch.tensor(r) + 0.9 * best * (1 - torch.tensor(d).float())
            loss = nn.SmoothL1Loss()(value, expected.unsqueeze(1))
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_value_(q.parameters(), 100)
            opt.step()
            for slow, fast in zip(target.state_dict().values(), q.state_dict().values(), strict=True):
                slow.copy_(0.995 * slow + 0.005 * fast)


@healthy
def ppo_with_several_epochs_a_rollout():
    actor, critic = mlp(4, 32, 1, act=nn.Tanh), mlp(4, 32, 1, act=nn.Tanh)
    log_std = nn.Parameter(torch.zeros(1))
    params = [*actor.parameters(), *critic.parameters(), log_std]
    opt = torch.optim.Adam(params, lr=3e-4, eps=1e-5)
    for _ in range(5):
        states = torch.randn(128, 4)
        with torch.no_grad():
            pi = Normal(actor(states), log_std.exp())
            actions = pi.sample()
            old = pi.log_prob(actions)
            returns = -((actions - states[:, :1]) ** 2)
            advantage = returns - critic(states)
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for _ in range(4):
            for rows in torch.randperm(128).split(32):
                pi = Normal(actor(states[rows]), log_std.exp())
                ratio = (pi.log_prob(actions[rows]) - old[rows]).exp()
                clipped = ratio.clamp(0.8, 1.2) * advantage[rows]
                policy_loss = -torch.min(ratio * advantage[rows], clipped).mean()
                value_loss = 0.5 * (critic(states[rows]) - returns[rows]).pow(2).mean()
                loss = policy_loss + 0.5 * value_loss - 0.01 * pi.entropy().mean()
                opt.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(params, 0.5)
                opt.step()


@healthy
def ddpg_with_two_optimizers():
    actor, critic = nn.Sequential(*mlp(4, 32, 1), nn.Tanh()), mlp(5, 32, 1)
    actor_t, critic_t = copy.deepcopy(actor), copy.deepcopy(critic)
    opt_a = torch.optim.Adam(actor.parameters(), lr=1e-3)
    opt_c = torch.optim.Adam(critic.parameters(), lr=1e-3)
    for _ in range(40):
        s, s2 = torch.randn(32, 4), torch.randn(32, 4)
        a = torch.rand(32, 1) * 2 - 1
        r = -((a - s[:, :1].clamp(-1, 1)) ** 2)
        with torch.no_grad():
            y = r + 0.9 * critic_t(torch.cat([s2, actor_t(s2)], 1))
        opt_c.zero_grad()
        F.mse_loss(critic(torch.cat([s, a], 1)), y).backward()
        opt_c.step()
        opt_a.zero_grad()
        (-critic(torch.cat([s, actor(s)], 1)).mean()).backward()
        opt_a.step()
        for net, slow_net in ((actor, actor_t), (critic, critic_t)):
            for fast, slow in zip(net.parameters(), slow_net.parameters(), strict=True):
                slow.data.mul_(0.995).add_(0.005 * fast.data)


@healthy
def maml_second_order():
    net = mlp(1, 24, 1, act=nn.Tanh)
    opt = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(30):
        opt.zero_grad()
        meta = 0.0
        for _task in range(3):
            amplitude, phase = 0.5 + random.random(), 3 * random.random()
            x, x2 = torch.rand(10, 1) * 4 - 2, torch.rand(10, 1) * 4 - 2
            params = dict(net.named_parameters())
            loss = F.mse_loss(torch.func.functional_call(net, params, (x,)), amplitude * torch.sin(x + phase))
            grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            fast = {name: p - 0.05 * g for (name, p), g in zip(params.items(), grads, strict=True)}
            adapted = torch.func.functional_call(net, fast, (x2,))
            meta = meta + F.mse_loss(adapted, amplitude * torch.sin(x2 + phase))
        (meta / 3).backward()
        opt.step()


@healthy
def reptile():
    net = mlp(1, 24, 1, act=nn.Tanh)
    for _ in range(8):
        before = copy.deepcopy(net.state_dict())
        opt = torch.optim.SGD(net.parameters(), lr=0.02)
        phase = 3 * random.random()
        for _ in range(5):
            x = torch.rand(10, 1) * 4 - 2
            opt.zero_grad()
            F.mse_loss(net(x), torch.sin(x + phase)).backward()
            opt.step()
        after = net.state_dict()
        net.load_state_dict({k: before[k] + 0.1 * (after[k] - before[k]) for k in before})


@healthy
def sharpness_aware_minimisation():
    model = mlp(10, 32, 4)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(8):
        for x, y in loader(*blobs()):
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
                moves = [0.05 * p.grad / (norm + 1e-12) for p in model.parameters()]
                for p, move in zip(model.parameters(), moves, strict=True):
                    p.add_(move)
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            with torch.no_grad():
                for p, move in zip(model.parameters(), moves, strict=True):
                    p.sub_(move)
            opt.step()
            opt.zero_grad()


@healthy
def lookahead():
    model = mlp(10, 32, 4)
    fast = torch.optim.Adam(model.parameters(), lr=5e-3)
    slow = [p.detach().clone() for p in model.parameters()]
    step = 0
    for _ in range(8):
        for x, y in loader(*blobs()):
            fast.zero_grad()
            F.cross_entropy(model(x), y).backward()
            fast.step()
            step += 1
            if step % 5 == 0:
                with torch.no_grad():
                    for s, p in zip(slow, model.parameters(), strict=True):
                        s.add_(0.5 * (p - s))
                        p.copy_(s)


@healthy
def gradient_reversal():
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, weight):
            ctx.weight = weight
            return x.view_as(x)

        @staticmethod
        def backward(ctx, grad):
            return -ctx.weight * grad, None

    features, label, domain = mlp(10, 32, 32), nn.Linear(32, 4), nn.Linear(32, 2)
    params = [*features.parameters(), *label.parameters(), *domain.parameters()]
    opt = torch.optim.SGD(params, lr=0.02, momentum=0.9)
    x, y = blobs()
    other = x[torch.randperm(128)] + 0.5
    for step in range(60):
        rows = torch.randint(0, 128, (32,))
        h, h2 = features(x[rows]), features(other[rows])
        weight = 2 / (1 + 2.718 ** (-step / 6)) - 1
        both = Reverse.apply(torch.cat([h, h2]), weight)
        which = torch.cat([torch.zeros(32), torch.ones(32)]).long()
        loss = F.cross_entropy(label(h), y[rows]) + F.cross_entropy(domain(both), which)
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def forward_forward():
    layers = [nn.Linear(68, 48), nn.Linear(48, 48)]
    opts = [torch.optim.Adam(layer.parameters(), lr=1e-2) for layer in layers]
    x, y = pictures()
    for _ in range(30):
        good = torch.cat([x.flatten(1), F.one_hot(y, 4).float()], 1)
        bad = torch.cat([x.flatten(1), F.one_hot((y + 1) % 4, 4).float()], 1)
        for layer, opt in zip(layers, opts, strict=True):
            pos, neg = F.relu(layer(good)), F.relu(layer(bad))
            g_pos, g_neg = pos.pow(2).mean(1), neg.pow(2).mean(1)
            loss = F.softplus(torch.cat([2 - g_pos, g_neg - 2])).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            good, bad = F.normalize(pos.detach(), dim=1), F.normalize(neg.detach(), dim=1)


@healthy
def hypergradient_of_the_learning_rate():
    x, y = plane()
    net = mlp(5, 16, 1)
    opt = torch.optim.SGD(net.parameters(), lr=0.01)
    last = None
    for _ in range(40):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        flat = torch.cat([p.grad.flatten() for p in net.parameters()])
        if last is not None:
            opt.param_groups[0]["lr"] = max(1e-4, opt.param_groups[0]["lr"] + 1e-4 * float(flat @ last))
        last = flat.clone()
        opt.step()


@healthy
def adversarial_training_with_pgd():
    model = mlp(10, 48, 4)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(6):
        for x, y in loader(*blobs()):
            delta = torch.zeros_like(x).uniform_(-0.1, 0.1).requires_grad_()
            for _ in range(3):
                F.cross_entropy(model(x + delta), y).backward()
                delta.data = (delta.data + 0.05 * delta.grad.sign()).clamp(-0.1, 0.1)
                delta.grad.zero_()
            opt.zero_grad()
            F.cross_entropy(model(x + delta.detach()), y).backward()
            opt.step()
