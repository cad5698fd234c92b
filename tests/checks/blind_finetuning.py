"""Scripts that pretrain and fine-tune language models as rasbt/LLMs-from-scratch does, and mistakes made in them."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from checks.blind_transformers import GPT
from checks.corpus import broken, healthy
from checks.made import tokens


class GPTDataset(Dataset):
    def __init__(self, token_ids, max_length, stride):
        self.input_ids, self.target_ids = [], []
        for i in range(0, len(token_ids) - max_length, stride):
            self.input_ids.append(token_ids[i : i + max_length])
            self.target_ids.append(token_ids[i + 1 : i + max_length + 1])

    def __len__(self):
        return len(self.input_ids)

    def __getitem__(self, idx):
        return self.input_ids[idx], self.target_ids[idx]


def calc_loss_batch(input_batch, target_batch, model):
    logits, _ = model(input_batch)
    return F.cross_entropy(logits.flatten(0, 1), target_batch.flatten())


def calc_loss_loader(data_loader, model, num_batches=2):
    total_loss = 0.0
    for i, (input_batch, target_batch) in enumerate(data_loader):
        if i < num_batches:
            total_loss += calc_loss_batch(input_batch, target_batch, model).item()
    return total_loss / num_batches


@healthy
def train_model_simple():
    """rasbt/LLMs-from-scratch ch05: AdamW 4e-4 with decay 0.1, evaluated every few steps in eval mode."""
    text = tokens(1, 600)[0]
    train_loader = DataLoader(GPTDataset(text[:500], 8, 4), batch_size=16, shuffle=True, drop_last=True)
    val_loader = DataLoader(GPTDataset(text[500:], 8, 4), batch_size=8, drop_last=True)
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0004, weight_decay=0.1)
    tokens_seen, global_step, eval_freq = 0, -1, 5
    for epoch in range(8):
        model.train()
        for input_batch, target_batch in train_loader:
            optimizer.zero_grad()
            loss = calc_loss_batch(input_batch, target_batch, model)
            loss.backward()
            optimizer.step()
            tokens_seen += input_batch.numel()
            global_step += 1
            if global_step % eval_freq == 0:
                model.eval()
                with torch.no_grad():
                    train_loss, val_loss = calc_loss_loader(train_loader, model), calc_loss_loader(val_loader, model)
                model.train()
                print(f"Ep {epoch + 1} (Step {global_step:06d}): Train {train_loss:.3f}, Val {val_loss:.3f}")


@healthy
def train_model_with_warmup():
    """LLMs-from-scratch appendix D: linear warm-up from 3e-5, cosine to 1e-6, clipping after the warm-up."""
    text = tokens(1, 600)[0]
    train_loader = DataLoader(GPTDataset(text, 8, 4), batch_size=16, shuffle=True, drop_last=True)
    model, n_epochs, initial_lr, min_lr = GPT(), 6, 3e-5, 1e-6
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)
    peak_lr, total_steps = optimizer.param_groups[0]["lr"], len(train_loader) * n_epochs
    warmup_steps, global_step = int(0.2 * total_steps), -1
    for _ in range(n_epochs):
        model.train()
        for input_batch, target_batch in train_loader:
            optimizer.zero_grad()
            global_step += 1
            if global_step < warmup_steps:
                lr = initial_lr + global_step * (peak_lr - initial_lr) / warmup_steps
            else:
                progress = (global_step - warmup_steps) / (total_steps - warmup_steps)
                lr = min_lr + (peak_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * progress))
            for param_group in optimizer.param_groups:
                param_group["lr"] = lr
            loss = calc_loss_batch(input_batch, target_batch, model)
            loss.backward()
            if global_step >= warmup_steps:
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
        print(loss.item())


@broken(
    "weights-unchanged",
    also=("loss-plateau", "learning-rate-low", "update-ratio-low"),
    source="github.com/facebookresearch/maskrcnn-benchmark/issues/335",
)
def warmup_by_integer_division():
    text = tokens(1, 600)[0]
    train_loader = DataLoader(GPTDataset(text, 8, 4), batch_size=16, shuffle=True, drop_last=True)
    model, warmup_steps = GPT(), 1000
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.001, weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) // warmup_steps))
    for _ in range(6):
        model.train()
        for input_batch, target_batch in train_loader:
            optimizer.zero_grad()
            loss = calc_loss_batch(input_batch, target_batch, model)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            scheduler.step()
        print(loss.item())


def spam(count=128):
    """Return (count, 9) sequences of tokens, and whether each is spam: its tokens are then of the upper half."""
    label = torch.randint(0, 2, (count,))
    return torch.randint(0, 10, (count, 9)) + 10 * label[:, None] * (torch.rand(count, 9) < 0.6), label


def pretrained():
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    for text in tokens(320, 10).split(32):
        optimizer.zero_grad()
        loss = calc_loss_batch(text[:, :-1], text[:, 1:], model)
        loss.backward()
        optimizer.step()
    return model


def head_for_spam(model):
    for param in model.parameters():
        param.requires_grad = False
    model.lm_head = nn.Linear(24, 2)
    for part in (model.h[-1], model.ln_f):
        for param in part.parameters():
            param.requires_grad = True


@healthy
def classifier_finetuning():
    """LLMs-from-scratch ch06: all but the last block, norm and head frozen; the last token is classified."""
    model = pretrained()
    head_for_spam(model)
    text, label = spam()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.1)
    for epoch in range(6):
        model.train()
        for index in torch.randperm(128).split(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(text[index])[0][:, -1, :], label[index])
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy = (model(text)[0][:, -1, :].argmax(-1) == label).float().mean().item()
        print(f"Ep {epoch + 1}: accuracy {accuracy:.2f}")


@broken(
    "detached-loss",
    also=("weights-unchanged", "loss-plateau", "step-missing", "parameter-without-gradient"),
    source="github.com/roman-vygon/triplet_loss_kws/issues/6",
)
def classifier_loss_made_to_require_grad():
    model = GPT()
    model.lm_head = nn.Linear(24, 2)
    text, label = spam()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.1)
    for epoch in range(6):
        model.train()
        for index in torch.randperm(128).split(16):
            optimizer.zero_grad()
            logits = model(text[index])[0][:, -1, :].detach()
            losses = F.cross_entropy(logits, label[index], reduction="none")
            mean_losses = losses.mean()
            mean_losses.requires_grad = True
            mean_losses.backward()
            optimizer.step()
        print(epoch, mean_losses.item())


class LoRALayer(nn.Module):
    def __init__(self, in_dim, out_dim, rank, alpha):
        super().__init__()
        self.A = nn.Parameter(torch.empty(in_dim, rank))
        torch.nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.B = nn.Parameter(torch.zeros(rank, out_dim))
        self.alpha, self.rank = alpha, rank

    def forward(self, x):
        return (self.alpha / self.rank) * (x @ self.A @ self.B)


class LinearWithLoRA(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.lora = LoRALayer(linear.in_features, linear.out_features, rank, alpha)

    def forward(self, x):
        return self.linear(x) + self.lora(x)


def replace_linear_with_lora(model, rank, alpha):
    for name, module in model.named_children():
        if isinstance(module, nn.Linear):
            setattr(model, name, LinearWithLoRA(module, rank, alpha))
        else:
            replace_linear_with_lora(module, rank, alpha)


@healthy
def lora_finetuning():
    """LLMs-from-scratch appendix E: every linear layer gets A B with B = 0; all else, the head too, is frozen."""
    model = pretrained()
    model.lm_head = nn.Linear(24, 2)
    for param in model.parameters():
        param.requires_grad = False
    replace_linear_with_lora(model, rank=4, alpha=4)
    text, label = spam()
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-4, weight_decay=0.1)
    for epoch in range(6):
        model.train()
        for index in torch.randperm(128).split(16):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(text[index])[0][:, -1, :], label[index])
            loss.backward()
            optimizer.step()
        print(f"Ep {epoch + 1}: {loss.item():.3f}")


def compute_logprobs(logits, labels):
    log_probs = F.log_softmax(logits[:, :-1, :], dim=-1)
    return torch.gather(log_probs, dim=-1, index=labels[:, 1:].unsqueeze(-1)).squeeze(-1).mean(-1)


@healthy
def direct_preference_optimisation():
    """LLMs-from-scratch ch07 dpo-from-scratch: a frozen copy as the reference, beta 0.1, AdamW 5e-6."""
    policy_model = pretrained()
    reference_model = copy.deepcopy(policy_model)
    reference_model.eval()
    optimizer = torch.optim.AdamW(policy_model.parameters(), lr=5e-6, weight_decay=0.01)
    beta = 0.1
    for step in range(40):
        policy_model.train()
        chosen, rejected = tokens(8, 10), torch.randint(0, 20, (8, 10))
        rejected[:, :3] = chosen[:, :3]
        optimizer.zero_grad()
        policy_chosen = compute_logprobs(policy_model(chosen)[0], chosen)
        policy_rejected = compute_logprobs(policy_model(rejected)[0], rejected)
        with torch.no_grad():
            reference_chosen = compute_logprobs(reference_model(chosen)[0], chosen)
            reference_rejected = compute_logprobs(reference_model(rejected)[0], rejected)
        logits = (policy_chosen - policy_rejected) - (reference_chosen - reference_rejected)
        loss = -F.logsigmoid(beta * logits).mean()
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.4f}, margin {logits.mean().item():.4f}")
