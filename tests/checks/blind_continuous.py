"""Scripts that learn continuous actions as CleanRL does."""

from __future__ import annotations

import copy
import random
from collections import deque

import torch
from torch import nn, optim
from torch.distributions import Normal
from torch.nn import functional as F

from checks.blind_agents import Cart
from checks.corpus import healthy


def fill(buffer, env, count=200):
    obs = env.reset()
    for _ in range(count):
        action = 2 * torch.rand(1) - 1
        following, reward, done = env.step(action[0])
        buffer.append((obs, action, reward, following, float(done)))
        obs = env.reset() if done else following


def batch(buffer):
    s, a, r, s2, d = zip(*random.sample(buffer, 32), strict=True)
    return torch.stack(s), torch.stack(a), torch.tensor(r), torch.stack(s2), torch.tensor(d)


def critic_network():
    return nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))


@healthy
def td3():
    """vwxyzjn/cleanrl td3_continuous_action.py: two critics of one optimizer, delayed actor, soft target updates."""
    env, buffer = Cart(), deque(maxlen=500)
    fill(buffer, env)
    actor, qf1, qf2 = (
        nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh()),
        critic_network(),
        critic_network(),
    )
    targets = [copy.deepcopy(net) for net in (actor, qf1, qf2)]
    q_optimizer = optim.Adam(list(qf1.parameters()) + list(qf2.parameters()), lr=3e-4)
    actor_optimizer = optim.Adam(list(actor.parameters()), lr=3e-4)
    for global_step in range(60):
        s, a, r, s2, d = batch(buffer)
        with torch.no_grad():
            noise = (torch.randn_like(a) * 0.2).clamp(-0.5, 0.5)
            a2 = (targets[0](s2) + noise).clamp(-1, 1)
            q_next = torch.min(*(t(torch.cat([s2, a2], 1)) for t in targets[1:]))
            next_q_value = r + (1 - d) * 0.99 * q_next.view(-1)
        qf1_loss = F.mse_loss(qf1(torch.cat([s, a], 1)).view(-1), next_q_value)
        qf2_loss = F.mse_loss(qf2(torch.cat([s, a], 1)).view(-1), next_q_value)
        qf_loss = qf1_loss + qf2_loss
        q_optimizer.zero_grad()
        qf_loss.backward()
        q_optimizer.step()
        if global_step % 2 == 0:
            actor_loss = -qf1(torch.cat([s, actor(s)], 1)).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
            for net, target in zip((actor, qf1, qf2), targets, strict=True):
                for param, target_param in zip(net.parameters(), target.parameters(), strict=True):
                    target_param.data.copy_(0.005 * param.data + 0.995 * target_param.data)


@healthy
def sac():
    """vwxyzjn/cleanrl sac_continuous_action.py: squashed Gaussian actor, entropy weight tuned by its own optimizer."""
    env, buffer = Cart(), deque(maxlen=500)
    fill(buffer, env)
    body, mean, logstd = nn.Linear(2, 32), nn.Linear(32, 1), nn.Linear(32, 1)
    actor, qf1, qf2 = nn.ModuleList([body, mean, logstd]), critic_network(), critic_network()
    qf1_target, qf2_target = copy.deepcopy(qf1), copy.deepcopy(qf2)
    q_optimizer = optim.Adam([*qf1.parameters(), *qf2.parameters()], lr=1e-3)
    actor_optimizer = optim.Adam(actor.parameters(), lr=3e-4)
    log_alpha = torch.zeros(1, requires_grad=True)
    a_optimizer = optim.Adam([log_alpha], lr=1e-3)

    def get_action(x):
        h = F.relu(body(x))
        std = (-5 + 0.5 * 7 * (torch.tanh(logstd(h)) + 1)).exp()
        normal = Normal(mean(h), std)
        x_t = normal.rsample()
        y_t = torch.tanh(x_t)
        return y_t, (normal.log_prob(x_t) - torch.log(1 - y_t.pow(2) + 1e-6)).sum(1, keepdim=True)

    for global_step in range(50):
        s, a, r, s2, d = batch(buffer)
        alpha = log_alpha.exp().item()
        with torch.no_grad():
            a2, logp2 = get_action(s2)
            x2 = torch.cat([s2, a2], 1)
            min_next = torch.min(qf1_target(x2), qf2_target(x2)) - alpha * logp2
            next_q_value = r + (1 - d) * 0.99 * min_next.view(-1)
        x = torch.cat([s, a], 1)
        qf_loss = F.mse_loss(qf1(x).view(-1), next_q_value) + F.mse_loss(qf2(x).view(-1), next_q_value)
        q_optimizer.zero_grad()
        qf_loss.backward()
        q_optimizer.step()
        if global_step % 2 == 0:
            for _ in range(2):
                pi, log_pi = get_action(s)
                x = torch.cat([s, pi], 1)
                actor_loss = ((alpha * log_pi) - torch.min(qf1(x), qf2(x))).mean()
                actor_optimizer.zero_grad()
                actor_loss.backward()
                actor_optimizer.step()
                with torch.no_grad():
                    _, log_pi = get_action(s)
                alpha_loss = (-log_alpha.exp() * (log_pi - 1)).mean()
                a_optimizer.zero_grad()
                alpha_loss.backward()
                a_optimizer.step()
        for net, target in ((qf1, qf1_target), (qf2, qf2_target)):
            for param, target_param in zip(net.parameters(), target.parameters(), strict=True):
                target_param.data.copy_(0.005 * param.data + 0.995 * target_param.data)
