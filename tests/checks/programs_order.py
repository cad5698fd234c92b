"""Phases in the wrong order, and orders that look wrong and are meant."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from checks.corpus import broken, healthy
from checks.small import classifier, regressor

# -- zero-grad-before-step ---------------------------------------------------------------------------------------------


@broken("zero-grad-before-step")
def cleared_between_backward_and_step() -> None:
    """The order that a beginner types."""
    net, opt, x, y = classifier()
    for _ in range(6):
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.zero_grad()
        opt.step()


@broken("zero-grad-before-step")
def cleared_to_zeros_by_the_model() -> None:
    """With Adam, model.zero_grad and zeros in place of None."""
    net, opt, x, y = regressor()
    for _ in range(6):
        F.mse_loss(net(x), y).backward()
        net.zero_grad(set_to_none=False)
        opt.step()


def _decaying(net: nn.Module) -> torch.optim.Optimizer:
    """Return AdamW with decay of the weights."""
    weights, biases = ([p for p in net.parameters() if (p.dim() > 1) is many] for many in (True, False))
    return torch.optim.AdamW([{"params": weights}, {"params": biases, "weight_decay": 0}], lr=1e-3, weight_decay=0.1)


@broken("zero-grad-before-step")
def cleared_to_zeros_before_a_decay() -> None:
    """AdamW writes the weights twice in a step: it decays them, and moves them."""
    net, _, x, y = classifier()
    opt = _decaying(net)
    for _ in range(6):
        F.cross_entropy(net(x), y).backward()
        opt.zero_grad(set_to_none=False)
        opt.step()


@healthy
def a_step_of_ones_own_before_a_decay() -> None:
    """Signs of gradients move the weights; they are cleared, and AdamW only decays."""
    net, _, x, y = classifier()
    opt = _decaying(net)
    for _ in range(6):
        F.cross_entropy(net(x), y).backward()
        grads = [p.grad for p in net.parameters()]
        signs = [grad.sign() for grad in grads if grad is not None]
        opt.zero_grad(set_to_none=False)
        with torch.no_grad():
            for p, sign in zip(net.parameters(), signs, strict=True):
                p.sub_(0.01 * sign)
        opt.step()


@broken("zero-grad-before-step", source="bytetriper/RAE#67")
def cleared_in_every_micro_batch() -> None:
    """Accumulation of which only the last micro-batch is left."""
    net, opt, x, y = classifier()
    for i in range(16):
        opt.zero_grad()
        (F.cross_entropy(net(x[i % 4 :: 4]), y[i % 4 :: 4]) / 4).backward()
        if i % 4 == 3:
            opt.step()


@healthy
def a_loss_that_is_nan_is_skipped() -> None:
    """One batch is bad: its gradient is thrown away."""
    net, opt, x, y = classifier()
    for i in range(8):
        loss = F.cross_entropy(net(x), y) * (float("nan") if i == 3 else 1.0)
        loss.backward()
        if not torch.isfinite(loss):
            opt.zero_grad()
            continue
        opt.step()
        opt.zero_grad()


@healthy
def sharpness_aware() -> None:
    """SAM: two backwards a step, the first gradient moves the weights by hand and is cleared."""
    net, opt, x, y = classifier()
    for _ in range(5):
        moved = []
        F.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p in net.parameters():
                assert p.grad is not None
                moved.append(0.05 * p.grad / (p.grad.norm() + 1e-12))
                p.add_(moved[-1])
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p, e in zip(net.parameters(), moved, strict=True):
                p.sub_(e)
        opt.step()
        opt.zero_grad()


@healthy
def gradient_surgery() -> None:
    """PCGrad: one backward a task, their gradients are kept aside, projected, and written into .grad."""
    net, opt, x, y = classifier()
    for _ in range(4):
        kept = []
        for weight in (1.0, 0.5):
            opt.zero_grad()
            (weight * F.cross_entropy(net(x), y)).backward()
            kept.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
        opt.zero_grad()
        for p, *grads in zip(net.parameters(), *kept, strict=True):
            p.grad = torch.stack(grads).sum(0)
        opt.step()


# -- step-missing ------------------------------------------------------------------------------------------------------


@broken("step-missing")
def no_step_at_all() -> None:
    """zero_grad and backward, for long."""
    net, opt, x, y = classifier()
    for _ in range(40):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()


@broken("step-missing")
def the_step_is_not_called() -> None:
    """The brackets are missing."""
    net, opt, x, y = regressor()
    for _ in range(8):
        net.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step  # noqa: B018


@broken("step-missing")
def backwards_until_the_end() -> None:
    """Neither zero_grad nor step."""
    net, _opt, x, y = classifier()
    for _ in range(3):
        F.cross_entropy(net(x), y).backward()


@healthy
def updates_by_hand() -> None:
    """The script updates the weights itself, an optimizer only clears."""
    net, opt, x, y = classifier()
    for _ in range(8):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.05 * p.grad  # type: ignore[operator]


@healthy
def fisher_information_then_training() -> None:
    """EWC: squared gradients are collected before training."""
    net, opt, x, y = classifier()
    fisher = [torch.zeros_like(p) for p in net.parameters()]
    for i in range(3):
        opt.zero_grad()
        F.cross_entropy(net(x[i::3]), y[i::3]).backward()
        for f, p in zip(fisher, net.parameters(), strict=True):
            f += p.grad**2  # type: ignore[operator]
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()


# -- stale-gradient-step -----------------------------------------------------------------------------------------------


@broken("stale-gradient-step")
def stepped_twice() -> None:
    """A line was pasted twice."""
    net, opt, x, y = classifier()
    for _ in range(6):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        opt.step()


@broken("stale-gradient-step")
def stepped_in_the_validation_loop() -> None:
    """The validation was copied from the training."""
    net, opt, x, y = regressor()
    for _ in range(3):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        opt.step()
        net.eval()
        with torch.no_grad():
            for i in range(2):
                F.mse_loss(net(x[i::2]), y[i::2])
                opt.step()
        net.train()


@broken("stale-gradient-step")
def backward_once_before_the_loop() -> None:
    """The backward is outside of the loop."""
    net, opt, x, y = classifier()
    F.cross_entropy(net(x), y).backward()
    for _ in range(5):
        F.cross_entropy(net(x), y)
        opt.step()


@healthy
def two_optimizers_of_one_backward() -> None:
    """Body and head have an optimizer each."""
    net, _, x, y = classifier()
    body, head = torch.optim.SGD(net[0].parameters(), lr=0.05), torch.optim.Adam(net[2].parameters())  # type: ignore[index]
    for _ in range(5):
        body.zero_grad()
        head.zero_grad()
        F.cross_entropy(net(x), y).backward()
        body.step()
        head.step()


@healthy
def evolution_strategies() -> None:
    """The gradient is estimated from losses, without a backward."""
    net, opt, x, y = classifier(lr=0.001)
    for _ in range(5):
        with torch.no_grad():
            for p in net.parameters():
                noise = torch.randn_like(p)
                p.add_(0.01 * noise)
                loss = F.cross_entropy(net(x), y)
                p.sub_(0.01 * noise)
                p.grad = loss * noise
        opt.step()


# -- scheduler-before-optimizer ----------------------------------------------------------------------------------------


@broken("scheduler-before-optimizer")
def scheduler_at_the_start_of_the_epoch() -> None:
    """As it was done before torch 1.1."""
    net, opt, x, y = classifier()
    schedule = lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
    for _ in range(4):
        schedule.step()
        for i in range(2):
            opt.zero_grad()
            F.cross_entropy(net(x[i::2]), y[i::2]).backward()
            opt.step()


@broken("scheduler-before-optimizer")
def scheduler_between_backward_and_step() -> None:
    """Two lines swapped."""
    net, opt, x, y = regressor()
    schedule = lr_scheduler.CosineAnnealingLR(opt, 10)
    for _ in range(4):
        opt.zero_grad()
        F.mse_loss(net(x), y).backward()
        schedule.step()
        opt.step()


@broken("scheduler-before-optimizer")
def scheduler_in_every_micro_batch() -> None:
    """With accumulation, the scheduler steps four times before the first step."""
    net, opt, x, y = classifier()
    schedule = lr_scheduler.LambdaLR(opt, lambda i: 0.95**i)
    for _ in range(3):
        opt.zero_grad()
        for i in range(4):
            (F.cross_entropy(net(x[i::4]), y[i::4]) / 4).backward()
            schedule.step()
        opt.step()


@healthy
def a_schedule_that_is_resumed() -> None:
    """It is brought to the third epoch in front of the loop."""
    net, opt, x, y = classifier()
    schedule = lr_scheduler.ExponentialLR(opt, 0.9)
    for _ in range(3):
        schedule.step()
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        schedule.step()


@healthy
def schedulers_of_all_kinds() -> None:
    """Warm-up, then cosine; another that waits for a plateau; one cycle; restarts; chained."""
    for make in (
        lambda opt: lr_scheduler.SequentialLR(
            opt, [lr_scheduler.LinearLR(opt, 1e-3, total_iters=2), lr_scheduler.CosineAnnealingLR(opt, 4)], [2]
        ),
        lambda opt: lr_scheduler.OneCycleLR(opt, 0.1, total_steps=6),
        lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 3),
        lambda opt: lr_scheduler.ChainedScheduler([lr_scheduler.ExponentialLR(opt, 0.9), lr_scheduler.StepLR(opt, 2)]),
        lambda opt: lr_scheduler.CyclicLR(opt, 0.01, 0.1, step_size_up=2),
    ):
        net, opt, x, y = classifier(momentum=0.9)
        schedule, plateau = make(opt), lr_scheduler.ReduceLROnPlateau(opt, patience=1)
        for _ in range(4):
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
        plateau.step(float(loss))


# -- clip-after-step ---------------------------------------------------------------------------------------------------


@broken("clip-after-step", source="VGRNN#4, graphstorm#1366")
def clipped_after_the_step() -> None:
    """torch's clipping, one line too late."""
    net, opt, x, y = classifier()
    for _ in range(5):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)


@broken("clip-after-step", source="FAMO#4")
def clipped_before_the_backward() -> None:
    """In front of the backward there is nothing to clip but the last gradient."""
    net, opt, x, y = regressor()
    for _ in range(5):
        loss = F.mse_loss(net(x), y)
        nn.utils.clip_grad_norm_(net.parameters(), 0.01)
        opt.zero_grad()
        loss.backward()
        opt.step()


@broken("clip-after-step")
def clamped_by_hand_after_the_step() -> None:
    """A loop over the parameters."""
    net, opt, x, y = classifier()
    for _ in range(5):
        F.cross_entropy(net(x), y).backward()
        opt.step()
        for p in net.parameters():
            assert p.grad is not None
            p.grad.clamp_(-0.01, 0.01)
        opt.zero_grad()


@healthy
def clipped_in_a_closure_and_cleared_after_the_step() -> None:
    """As Lightning's loop does: forward, backward and clipping inside the step, and a clear at the end of an epoch."""
    net, opt, x, y = classifier()

    def closure() -> torch.Tensor:
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        return loss

    for step in range(6):
        opt.step(closure)  # type: ignore[arg-type]
        if step % 3 == 2:
            opt.zero_grad()


@healthy
def clipped_where_it_belongs() -> None:
    """Between backward and step, three ways."""
    net, opt, x, y = classifier()
    for how in range(6):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        if how % 3 == 0:
            nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        elif how % 3 == 1:
            nn.utils.clip_grad_value_(net.parameters(), 0.1)
        else:
            for p in net.parameters():
                p.grad.mul_(0.5)  # type: ignore[union-attr]
        opt.step()


@healthy
def noise_is_logged_after_the_step() -> None:
    """Gradients are read after the step, and not written."""
    net, opt, x, y = classifier()
    norms = []
    for _ in range(5):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        norms.append(nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None]))


# -- GradScaler --------------------------------------------------------------------------------------------------------


def _scaler() -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=1024.0)


@broken("clip-scaled-gradients", source="lightning#9330")
def clipped_without_unscale() -> None:
    """The threshold meets gradients that are 1024 times too large."""
    net, opt, x, y = classifier()
    scaler = _scaler()
    for _ in range(5):
        opt.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()


@broken("clip-scaled-gradients")
def clipped_before_unscale() -> None:
    """unscale_ comes one line too late."""
    net, opt, x, y = regressor()
    scaler = _scaler()
    for _ in range(5):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y)
        scaler.scale(loss).backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.5)
        scaler.unscale_(opt)
        scaler.step(opt)
        scaler.update()


@broken("clip-scaled-gradients")
def one_optimizer_of_two_is_unscaled() -> None:
    """Both are clipped."""
    net, _, x, y = classifier()
    body, head = torch.optim.SGD(net[0].parameters(), lr=0.05), torch.optim.Adam(net[2].parameters())  # type: ignore[index]
    scaler = _scaler()
    for _ in range(5):
        body.zero_grad()
        head.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        scaler.unscale_(body)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(body)
        scaler.step(head)
        scaler.update()


@broken("scaler-misuse")
def the_optimizer_steps_itself() -> None:
    """opt.step() in place of scaler.step(opt)."""
    net, opt, x, y = classifier(lr=1e-5)
    scaler = _scaler()
    for _ in range(4):
        opt.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        opt.step()


@broken("scaler-misuse")
def the_loss_is_not_scaled() -> None:
    """From the second iteration on."""
    net, opt, x, y = classifier()
    scaler = _scaler()
    for i in range(4):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        (scaler.scale(loss) if i == 0 else loss).backward()
        scaler.step(opt)
        scaler.update()


@broken("scaler-misuse")
def no_update() -> None:
    """torch raises in the second iteration."""
    net, opt, x, y = regressor()
    scaler = _scaler()
    try:
        for _ in range(4):
            opt.zero_grad()
            scaler.scale(F.mse_loss(net(x), y)).backward()
            scaler.step(opt)
    except RuntimeError:
        pass


@broken("scaler-misuse")
def unscaled_before_the_last_micro_batch() -> None:
    """The second micro-batch adds a scaled gradient to an unscaled one."""
    net, opt, x, y = classifier(lr=1e-5)
    scaler = _scaler()
    for _ in range(4):
        opt.zero_grad()
        for i in range(2):
            scaler.scale(F.cross_entropy(net(x[i::2]), y[i::2]) / 2).backward()
            if i == 0:
                scaler.unscale_(opt)
        scaler.step(opt)
        scaler.update()


@broken("amp-step-skipped")
def every_step_is_skipped() -> None:
    """The loss is so large that no scale helps."""
    net, opt, x, y = classifier()
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(12):
        opt.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y) * 1e38).backward()
        scaler.step(opt)
        scaler.update()


@broken("amp-step-skipped", also=("nan-or-inf",))
def the_loss_is_nan() -> None:
    """From the fourth iteration on."""
    net, opt, x, y = regressor()
    scaler = _scaler()
    for i in range(8):
        opt.zero_grad()
        loss = F.mse_loss(net(x), y) * (float("nan") if i > 3 else 1.0)
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()


@healthy
def amp() -> None:
    """Autocast, scale, unscale, clip, step, update; the first steps overflow."""
    net, opt, x, y = classifier()
    scaler, schedule = torch.amp.GradScaler("cpu", init_scale=2.0**126), lr_scheduler.StepLR(opt, 5)
    for _ in range(8):
        opt.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(net(x), y) * 16
        scaler.scale(loss).backward()
        scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        schedule.step()


@healthy
def amp_that_is_disabled() -> None:
    """The same calls, of a scaler that does nothing."""
    net, opt, x, y = classifier()
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(4):
        opt.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()


@healthy
def amp_with_accumulation_and_two_optimizers() -> None:
    """One scaler, two optimizers, two micro-batches."""
    net, _, x, y = classifier()
    body, head = torch.optim.SGD(net[0].parameters(), lr=0.05), torch.optim.Adam(net[2].parameters())  # type: ignore[index]
    scaler = _scaler()
    for _ in range(4):
        for i in range(2):
            scaler.scale(F.cross_entropy(net(x[i::2]), y[i::2]) / 2).backward()
        for opt in (body, head):
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], 1.0)
            scaler.step(opt)
        scaler.update()
        body.zero_grad()
        head.zero_grad()


@healthy
def amp_of_one_model_of_two() -> None:
    """The other one is trained without the scaler."""
    net, opt, x, y = classifier()
    other, other_opt, _, _ = copy.deepcopy(net), None, x, y
    other_opt = torch.optim.SGD(other.parameters(), lr=0.05)
    scaler = _scaler()
    for _ in range(4):
        opt.zero_grad()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        scaler.step(opt)
        scaler.update()
        other_opt.zero_grad()
        F.cross_entropy(other(x), y).backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        other_opt.step()


@broken("stale-gradient-step")
def one_of_two_optimizers_steps_without_a_backward() -> None:
    """The head is trained in every other iteration, and steps in each."""
    body, head, x = nn.Linear(8, 8), nn.Linear(8, 1), torch.randn(16, 8)
    first, second = torch.optim.SGD(body.parameters(), lr=0.05), torch.optim.SGD(head.parameters(), lr=0.05)
    for i in range(8):
        first.zero_grad()
        body(x).pow(2).mean().backward()
        if i % 2 == 0:
            second.zero_grad()
            head(body(x).detach()).pow(2).mean().backward()
        first.step()
        second.step()


@broken("scaler-misuse")
def amp_with_a_penalty_that_is_not_scaled() -> None:
    """A second loss is added to the same gradients."""
    net, opt, x, y = classifier()
    scaler = _scaler()
    for _ in range(4):
        opt.zero_grad()
        sum(p.pow(2).sum() for p in net.parameters()).mul(1e-4).backward()
        scaler.scale(F.cross_entropy(net(x), y)).backward()
        scaler.step(opt)
        scaler.update()


@healthy
def amp_with_a_sum_of_scaled_losses() -> None:
    """Two losses are scaled and summed; micro-batches divide what is scaled."""
    net, opt, x, y = classifier()
    scaler = _scaler()
    for _ in range(4):
        opt.zero_grad()
        for i in range(2):
            out = net(x[i::2])
            ((scaler.scale(F.cross_entropy(out, y[i::2])) + scaler.scale(0.1 * out.pow(2).mean())) / 2).backward()
        scaler.step(opt)
        scaler.update()


@broken("clip-before-backward", source="Cranial-XIX/FAMO#4")
def clipped_before_there_are_gradients() -> None:
    """The call is one line too early."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        loss.backward()
        opt.step()


@broken("clip-before-backward")
def zeros_are_clipped() -> None:
    """The gradients were cleared to zeros."""
    net, opt, x, y = classifier()
    for _ in range(4):
        opt.zero_grad(set_to_none=False)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        F.cross_entropy(net(x), y).backward()
        opt.step()


@healthy
def clipped_before_and_after_each_micro_batch() -> None:
    """A hook of the loop clips in each micro-batch, also before the first backward."""
    net, opt, x, y = classifier()
    for i in range(12):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        (F.cross_entropy(net(x), y) / 2).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if i % 2:
            opt.step()
            opt.zero_grad()


@broken("plateau-wrong-mode", source="md-mohaiminul/ViS4mer#4")
def the_accuracy_is_to_fall() -> None:
    """mode='min' is the default."""
    net, opt, x, y = classifier()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=1)
    for _ in range(4):
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
        val_acc = float((net(x).argmax(1) == y).float().mean())
        scheduler.step(val_acc)


@broken("plateau-wrong-mode")
def the_loss_is_to_rise() -> None:
    """mode='max' with a dictionary of metrics."""
    net, opt, x, y = classifier()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, mode="max")
    for _ in range(4):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        metrics = {"val_loss": loss.item()}
        scheduler.step(metrics["val_loss"])


@healthy
def plateaus_in_the_right_modes() -> None:
    """A loss that is to fall, an accuracy that is to rise, and an error rate from an accuracy."""
    net, opt, x, y = classifier()
    falls = torch.optim.lr_scheduler.ReduceLROnPlateau(opt)
    rises = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, mode="max")
    for _ in range(4):
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        accuracy = float((net(x).argmax(1) == y).float().mean())
        falls.step(loss.item())
        rises.step(accuracy)
        falls.step(1 - accuracy)


@broken("optimizer-recreated", source="alan-turing-institute/deepsensor#47")
def an_optimizer_for_each_epoch() -> None:
    """SGD with momentum."""
    net, _, x, y = classifier()
    for _ in range(5):
        opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
        for _ in range(2):
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()


@healthy
def optimizers_take_turns() -> None:
    """Two optimizers of the same parameters, and one for each of five models."""
    net, _, x, y = classifier()
    fast, slow = torch.optim.Adam(net.parameters(), lr=0.01), torch.optim.Adam(net.parameters(), lr=0.001)
    for i in range(8):
        opt = fast if i % 2 else slow
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        opt.step()
    for _ in range(5):
        other, _, x, y = classifier()
        opt = torch.optim.Adam(other.parameters(), lr=0.01)
        for _ in range(2):
            opt.zero_grad()
            F.cross_entropy(other(x), y).backward()
            opt.step()
