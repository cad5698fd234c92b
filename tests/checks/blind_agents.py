"""Scripts that learn to act as pytorch/examples and CleanRL do, in an environment of a few lines, and a mistake."""

from __future__ import annotations

import copy
import random
from collections import deque

import torch
from torch import nn, optim
from torch.distributions import Categorical
from torch.nn import functional as F

from checks.corpus import broken, healthy


class Cart:
    """A cart on a line that is to be kept near 0; the reward is 1 a step, the episode ends when it is too far."""

    def reset(self):
        self.state, self.time = 0.1 * torch.randn(2), 0
        return self.state.clone()

    def step(self, force):
        position, speed = self.state
        speed = speed + 0.15 * force + 0.2 * position
        self.state = torch.stack([position + speed, speed]) + 0.01 * torch.randn(2)
        self.time += 1
        terminated = bool(self.state[0].abs() > 1.5)
        return self.state.clone(), 1.0, terminated or self.time >= 30


def layer_init(layer, std=2**0.5, bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1, self.dropout, self.affine2 = nn.Linear(2, 32), nn.Dropout(p=0.6), nn.Linear(32, 2)
        self.value_head = None
        self.saved, self.rewards = [], []

    def forward(self, x):
        return F.softmax(self.affine2(F.relu(self.dropout(self.affine1(x)))), dim=1)


@healthy
def reinforce():
    """pytorch/examples reinforcement_learning/reinforce.py: an episode, standardised returns, Adam 1e-2, dropout."""
    env, policy = Cart(), Policy()
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    eps, running_reward = 1e-8, 10.0
    for i_episode in range(30):
        state, done = env.reset(), False
        while not done:
            m = Categorical(policy(state.unsqueeze(0)))
            action = m.sample()
            policy.saved.append(m.log_prob(action))
            state, reward, done = env.step(2.0 * action.item() - 1.0)
            policy.rewards.append(reward)
        running_reward = 0.05 * len(policy.rewards) + 0.95 * running_reward
        R, returns = 0.0, deque()
        for r in policy.rewards[::-1]:
            R = r + 0.99 * R
            returns.appendleft(R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + eps)
        policy_loss = [-log_prob * R for log_prob, R in zip(policy.saved, returns, strict=True)]
        optimizer.zero_grad()
        policy_loss = torch.cat(policy_loss).sum()
        policy_loss.backward()
        optimizer.step()
        policy.rewards.clear()
        policy.saved.clear()
        if i_episode % 10 == 0:
            print(f"Episode {i_episode}\tAverage reward: {running_reward:.2f}")


@healthy
def actor_critic():
    """pytorch/examples reinforcement_learning/actor_critic.py: two heads, smooth L1 of the values, Adam 3e-2."""
    env, shared, action_head, value_head = Cart(), nn.Linear(2, 32), nn.Linear(32, 2), nn.Linear(32, 1)
    model = nn.ModuleList([shared, action_head, value_head])
    optimizer = optim.Adam(model.parameters(), lr=3e-2)
    for i_episode in range(30):
        state, done, saved_actions, rewards = env.reset(), False, [], []
        while not done:
            x = F.relu(shared(state))
            m = Categorical(F.softmax(action_head(x), dim=-1))
            action = m.sample()
            saved_actions.append((m.log_prob(action), value_head(x)))
            state, reward, done = env.step(2.0 * action.item() - 1.0)
            rewards.append(reward)
        R, returns = 0.0, []
        for r in rewards[::-1]:
            R = r + 0.99 * R
            returns.insert(0, R)
        returns = torch.tensor(returns)
        returns = (returns - returns.mean()) / (returns.std() + 1e-8)
        policy_losses, value_losses = [], []
        for (log_prob, value), R in zip(saved_actions, returns, strict=True):
            policy_losses.append(-log_prob * (R - value.item()))
            value_losses.append(F.smooth_l1_loss(value, torch.tensor([R])))
        optimizer.zero_grad()
        loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
        loss.backward()
        optimizer.step()
        print(i_episode, len(rewards))


@healthy
def ppo():
    """vwxyzjn/cleanrl ppo.py: annealed lr, GAE, clipped ratio and value, entropy, four epochs of minibatches."""
    actor = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 2), std=0.01))
    critic = nn.Sequential(layer_init(nn.Linear(2, 32)), nn.Tanh(), layer_init(nn.Linear(32, 1), std=1.0))
    agent = nn.ModuleList([actor, critic])
    optimizer = optim.Adam(agent.parameters(), lr=2.5e-4, eps=1e-5)
    num_envs, num_steps, num_iterations = 2, 32, 8
    envs = [Cart() for _ in range(num_envs)]
    next_obs, next_done = torch.stack([env.reset() for env in envs]), torch.zeros(num_envs)
    for iteration in range(1, num_iterations + 1):
        optimizer.param_groups[0]["lr"] = (1.0 - (iteration - 1.0) / num_iterations) * 2.5e-4
        obs, actions = torch.zeros(num_steps, num_envs, 2), torch.zeros(num_steps, num_envs)
        logprobs, rewards, dones, values = (torch.zeros(num_steps, num_envs) for _ in range(4))
        for step in range(num_steps):
            obs[step], dones[step] = next_obs, next_done
            with torch.no_grad():
                probs = Categorical(logits=actor(next_obs))
                action = probs.sample()
                values[step] = critic(next_obs).flatten()
            actions[step], logprobs[step] = action, probs.log_prob(action)
            for i, env in enumerate(envs):
                state, rewards[step, i], done = env.step(2.0 * action[i].item() - 1.0)
                next_obs[i], next_done[i] = (env.reset() if done else state), float(done)
        with torch.no_grad():
            next_value, advantages, lastgaelam = critic(next_obs).flatten(), torch.zeros_like(rewards), 0
            for t in reversed(range(num_steps)):
                nextnonterminal = 1.0 - (next_done if t == num_steps - 1 else dones[t + 1])
                nextvalues = next_value if t == num_steps - 1 else values[t + 1]
                delta = rewards[t] + 0.99 * nextvalues * nextnonterminal - values[t]
                advantages[t] = lastgaelam = delta + 0.99 * 0.95 * nextnonterminal * lastgaelam
            returns = (advantages + values).flatten()
        for _ in range(4):
            for mb in torch.randperm(num_steps * num_envs).split(16):
                b_obs, b_values = obs.reshape(-1, 2)[mb], values.flatten()[mb]
                probs = Categorical(logits=actor(b_obs))
                ratio = (probs.log_prob(actions.flatten()[mb]) - logprobs.flatten()[mb]).exp()
                adv = advantages.flatten()[mb]
                adv = (adv - adv.mean()) / (adv.std() + 1e-8)
                pg_loss = torch.max(-adv * ratio, -adv * torch.clamp(ratio, 0.8, 1.2)).mean()
                newvalue = critic(b_obs).view(-1)
                v_clipped = b_values + torch.clamp(newvalue - b_values, -0.2, 0.2)
                v_loss = 0.5 * torch.max((newvalue - returns[mb]) ** 2, (v_clipped - returns[mb]) ** 2).mean()
                loss = pg_loss - 0.01 * probs.entropy().mean() + v_loss * 0.5
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
                optimizer.step()


def q_network():
    return nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 2))


def play(q, buffer, env, obs, epsilon):
    if random.random() < epsilon:
        action = random.randint(0, 1)
    else:
        with torch.no_grad():
            action = int(q(obs).argmax())
    following, reward, done = env.step(2.0 * action - 1.0)
    buffer.append((obs, action, reward, following, float(done)))
    return env.reset() if done else following


def sample(buffer, batch_size=32):
    obs, actions, rewards, following, dones = zip(*random.sample(buffer, batch_size), strict=True)
    return torch.stack(obs), torch.tensor(actions), torch.tensor(rewards), torch.stack(following), torch.tensor(dones)


@healthy
def dqn():
    """vwxyzjn/cleanrl dqn.py: replay, a target network copied now and then, MSE, a step every tenth move."""
    env, buffer, q = Cart(), deque(maxlen=500), q_network()
    target_network = copy.deepcopy(q)
    optimizer = optim.Adam(q.parameters(), lr=2.5e-4)
    obs = env.reset()
    for global_step in range(600):
        obs = play(q, buffer, env, obs, epsilon=max(1 - global_step / 300, 0.05))
        if global_step > 100 and global_step % 10 == 0:
            s, a, r, s2, d = sample(buffer)
            with torch.no_grad():
                target_max, _ = target_network(s2).max(dim=1)
                td_target = r + 0.99 * target_max * (1 - d)
            old_val = q(s).gather(1, a.view(-1, 1)).squeeze()
            loss = F.mse_loss(td_target, old_val)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if global_step % 100 == 0:
            for target_param, q_param in zip(target_network.parameters(), q.parameters(), strict=True):
                target_param.data.copy_(1.0 * q_param.data + 0.0 * target_param.data)


@broken(
    "loss-broadcast",
    source="discuss.pytorch.org/t/output-of-the-model-depends-on-the-shape-of-the-weights-tensor/148155",
)
def dqn_without_the_squeeze():
    env, buffer, q = Cart(), deque(maxlen=500), q_network()
    target_network = copy.deepcopy(q)
    optimizer = optim.Adam(q.parameters(), lr=2.5e-4)
    obs = env.reset()
    for global_step in range(500):
        obs = play(q, buffer, env, obs, epsilon=max(1 - global_step / 300, 0.05))
        if global_step > 100 and global_step % 10 == 0:
            s, a, r, s2, d = sample(buffer)
            with torch.no_grad():
                td_target = r + 0.99 * target_network(s2).max(dim=1)[0] * (1 - d)
            old_val = q(s).gather(1, a.view(-1, 1))
            loss = F.mse_loss(old_val, td_target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
