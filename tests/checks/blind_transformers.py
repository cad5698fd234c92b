"""Scripts that train transformers as makemore, minGPT, nanoGPT and LLMs-from-scratch do, and mistakes made in them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import tokens


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.n_head = n_head

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (
            part.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(n_embd), nn.LayerNorm(n_embd)
        self.attn = CausalSelfAttention(n_embd, n_head)
        self.mlp = nn.Sequential(nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, vocab_size=20, block_size=16, n_embd=24, n_head=2, n_layer=2, tie=False):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(block_size, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f, self.lm_head = nn.LayerNorm(n_embd), nn.Linear(n_embd, vocab_size, bias=False)
        if tie:
            self.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        for pn, p in self.named_parameters():
            if pn.endswith("c_proj.weight"):
                torch.nn.init.normal_(p, mean=0.0, std=0.02 / math.sqrt(2 * n_layer))

    def _init_weights(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            torch.nn.init.zeros_(module.bias)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)

    def configure_optimizers(self, weight_decay, learning_rate, betas):
        decay = [p for p in self.parameters() if p.dim() >= 2]
        nodecay = [p for p in self.parameters() if p.dim() < 2]
        groups = [{"params": decay, "weight_decay": weight_decay}, {"params": nodecay, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def get_batch(batch_size=16):
    text = tokens(batch_size, 13)
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


@torch.inference_mode()
def evaluate(model, max_batches=2):
    model.eval()
    losses = [model(*get_batch())[1].item() for _ in range(max_batches)]
    model.train()
    return sum(losses) / len(losses)


@healthy
def makemore_transformer():
    """karpathy/makemore makemore.py: AdamW 5e-4 with weight decay 0.01 on all parameters, evaluated as it goes."""
    model = GPT(n_layer=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    best_loss = None
    for step in range(60):
        X, Y = get_batch(32)
        _, loss = model(X, Y)
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step > 0 and step % 20 == 0:
            test_loss = evaluate(model)
            print(f"step {step} train loss: {loss.item():.4f} test loss: {test_loss}")
            best_loss = test_loss if best_loss is None else min(best_loss, test_loss)


@broken("unregistered-parameters", source="www.engineermaxxing.com/micro/lessons/pytorch-internals.html")
def makemore_blocks_in_a_python_list():
    class ListGPT(GPT):
        def __init__(self):
            super().__init__()
            self.h = None
            self.blocks = [Block(24, 2) for _ in range(2)]

        def forward(self, idx, targets=None):
            x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
            for block in self.blocks:
                x = block(x)
            logits = self.lm_head(self.ln_f(x))
            return logits, F.cross_entropy(logits.view(-1, 20), targets.view(-1))

    model = ListGPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99))
    for step in range(40):
        _, loss = model(*get_batch(32))
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(evaluate(model))


class Trainer:
    def __init__(self, config, model):
        self.config, self.model, self.callbacks, self.iter_num = config, model, [], 0
        self.optimizer = model.configure_optimizers(config.weight_decay, config.learning_rate, config.betas)

    def run(self):
        self.model.train()
        while self.iter_num < self.config.max_iters:
            x, y = get_batch(self.config.batch_size)
            _, self.loss = self.model(x, y)
            self.model.zero_grad(set_to_none=True)
            self.loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
            self.optimizer.step()
            for callback in self.callbacks:
                callback(self)
            self.iter_num += 1


CONFIG = SimpleNamespace(
    weight_decay=0.1, learning_rate=3e-4, betas=(0.9, 0.95), max_iters=50, batch_size=32, grad_norm_clip=1.0
)


@healthy
def mingpt_trainer():
    """karpathy/minGPT trainer.py: groups with and without decay, clipping at 1, a callback at the end of a batch."""
    trainer = Trainer(CONFIG, GPT())
    trainer.callbacks.append(lambda t: print(t.iter_num, t.loss.item()) if t.iter_num % 10 == 0 else None)
    trainer.run()


@broken(
    "zero-grad-before-step",
    also=("all-zero-gradient", "weights-unchanged", "step-missing", "loss-plateau"),
    source="github.com/IDEA-Research/DN-DETR/issues/18",
)
def mingpt_gradients_cleared_before_the_step():
    class WrongTrainer(Trainer):
        def run(self):
            self.model.train()
            for _ in range(self.config.max_iters):
                _, self.loss = self.model(*get_batch(self.config.batch_size))
                self.loss.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_norm_clip)
                self.model.zero_grad(set_to_none=False)
                self.optimizer.step()

    WrongTrainer(CONFIG, GPT()).run()


def get_lr(it, learning_rate=1e-3, warmup_iters=10, lr_decay_iters=100, min_lr=1e-4):
    if it < warmup_iters:
        return learning_rate * (it + 1) / (warmup_iters + 1)
    decay_ratio = (it - warmup_iters) / (lr_decay_iters - warmup_iters)
    return min_lr + 0.5 * (1.0 + math.cos(math.pi * decay_ratio)) * (learning_rate - min_lr)


@healthy
def nanogpt():
    """karpathy/nanoGPT train.py: micro-batches whose loss is divided, disabled scaler, cosine from a warm-up, tied."""
    model, gradient_accumulation_steps, grad_clip = GPT(tie=True), 4, 1.0
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    optimizer = model.configure_optimizers(1e-1, 1e-3, (0.9, 0.99))
    X, Y = get_batch(8)
    best_val_loss = 1e9
    for iter_num in range(36):
        for param_group in optimizer.param_groups:
            param_group["lr"] = get_lr(iter_num)
        if iter_num % 12 == 0:
            best_val_loss = min(best_val_loss, evaluate(model))
        for _ in range(gradient_accumulation_steps):
            _, loss = model(X, Y)
            loss = loss / gradient_accumulation_steps
            X, Y = get_batch(8)
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        if iter_num % 10 == 0:
            print(f"iter {iter_num}: loss {loss.item() * gradient_accumulation_steps:.4f}")


@broken("accumulation-not-averaged", source="github.com/agokrani/distillKitPlus/issues/5")
def nanogpt_micro_batches_summed():
    model, gradient_accumulation_steps = GPT(tie=True), 8
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for iter_num in range(24):
        for _ in range(gradient_accumulation_steps):
            _, loss = model(*get_batch(8))
            loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print(f"iter {iter_num}: loss {loss.item():.4f}")


@broken("scaler-misuse", also=("update-ratio-high",), source="github.com/IAHispano/Applio/pull/860")
def nanogpt_scaled_but_stepped_by_the_optimizer():
    model = GPT(tie=True)
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    optimizer = model.configure_optimizers(1e-1, 1e-3, (0.9, 0.99))
    for iter_num in range(36):
        for param_group in optimizer.param_groups:
            param_group["lr"] = get_lr(iter_num)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            _, loss = model(*get_batch(16))
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        optimizer.step()
        print(f"iter {iter_num}: loss {loss.item():.4f}")


class NoamOpt:
    """The Annotated Transformer's wrapper: lr = factor * d^-0.5 * min(step^-0.5, step * warmup^-1.5)."""

    def __init__(self, model_size, factor, warmup, optimizer):
        self.optimizer, self._step, self.warmup, self.factor = optimizer, 0, warmup, factor
        self.model_size = model_size

    def step(self):
        self._step += 1
        rate = self.factor * self.model_size**-0.5 * min(self._step**-0.5, self._step * self.warmup**-1.5)
        for p in self.optimizer.param_groups:
            p["lr"] = rate
        self.optimizer.step()


@healthy
def annotated_transformer():
    """harvardnlp/annotated-transformer: smoothed KL divided by tokens, Xavier weights, warm-up of 400 steps."""
    model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True)
    embed, generator = nn.Embedding(20, 16), nn.Linear(16, 20)
    everything = nn.ModuleList([model, embed, generator])
    for p in everything.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
    opt = NoamOpt(16, 1, 400, torch.optim.Adam(everything.parameters(), lr=0, betas=(0.9, 0.98), eps=1e-9))
    criterion = nn.KLDivLoss(reduction="sum")
    mask = nn.Transformer.generate_square_subsequent_mask(9)
    for step in range(50):
        src = tokens(16, 10)
        out = model(embed(src) * 4, embed(src[:, :-1]) * 4, tgt_mask=mask)
        x = F.log_softmax(generator(out), dim=-1).view(-1, 20)
        true_dist = torch.full_like(x, 0.1 / 18).scatter_(1, src[:, 1:].reshape(-1, 1), 0.9)
        loss = criterion(x, true_dist.detach()) / x.size(0)
        loss.backward()
        opt.step()
        opt.optimizer.zero_grad()
        print(step, loss.item())
