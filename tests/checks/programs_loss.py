"""Losses that get what they don't expect, and the same written right."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.corpus import broken, healthy
from gradstep.workload import Workload


def _classifier(*last: nn.Module, classes: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, classes), *last)


def _classes(classes: int = 4) -> tuple[Tensor, Tensor]:
    x = torch.randn(32, 8)
    return x, (x @ torch.randn(8, classes)).argmax(1)


def _train(net: nn.Module, loss: object, x: Tensor, y: Tensor, lr: float = 0.1, iterations: int = 6) -> None:
    opt = torch.optim.SGD(net.parameters(), lr=lr)
    for _ in range(iterations):
        opt.zero_grad()
        loss(net(x), y).backward()  # type: ignore[operator]
        opt.step()


def _held(net: nn.Module, loss: object, x: Tensor, y: Tensor, lr: float = 0.1) -> Workload:
    return Workload(net, loss, lambda parameters: torch.optim.SGD(parameters, lr=lr), [(x, y)])  # type: ignore[arg-type]


# -- softmax-before-cross-entropy
@broken("softmax-before-cross-entropy", source="llama-from-scratch#5")
def softmax_layer_before_cross_entropy() -> Workload:
    """The model ends with a softmax."""
    x, y = _classes()
    _train(_classifier(nn.Softmax(dim=1)), F.cross_entropy, x, y)
    return _held(_classifier(nn.Softmax(dim=1)), nn.CrossEntropyLoss(), x, y)


@broken("softmax-before-cross-entropy")
def softmax_of_tokens_reshaped() -> None:
    """A language model returns probabilities, which are flattened for the loss."""
    net = nn.Sequential(nn.Embedding(20, 16), nn.Linear(16, 20))
    opt = torch.optim.AdamW(net.parameters(), lr=0.01)
    text = torch.randint(0, 20, (4, 9))
    for _ in range(6):
        opt.zero_grad()
        probabilities = torch.softmax(net(text[:, :-1]), dim=-1)
        F.cross_entropy(probabilities.view(-1, 20), text[:, 1:].reshape(-1)).backward()
        opt.step()


@broken("softmax-before-cross-entropy")
def softmax_of_pixels() -> None:
    """A segmentation network applies softmax over its channels."""
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Softmax(dim=1))
    x = torch.randn(2, 1, 6, 6)
    _train(net, F.cross_entropy, x, (x[:, 0] > 0).long())


@healthy
def log_softmax_before_cross_entropy() -> Workload:
    """Redundant: log_softmax of log-probabilities is the same."""
    x, y = _classes()
    _train(_classifier(nn.LogSoftmax(dim=1)), F.cross_entropy, x, y)
    return _held(_classifier(nn.LogSoftmax(dim=1)), F.cross_entropy, x, y)


@healthy
def attention_inside() -> None:
    """Softmax inside the model, logits out."""
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    head = nn.Linear(8, 4)
    x, y = torch.randn(16, 5, 8), torch.randint(0, 4, (16,))
    opt = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        F.cross_entropy(head(net(x).mean(1)), y).backward()
        opt.step()


# -- sigmoid-before-bce-with-logits
def _binary(*last: nn.Module) -> tuple[nn.Sequential, Tensor, Tensor]:
    x = torch.randn(32, 8)
    return _classifier(*last, classes=1), x, (x[:, :1] > 0).float()


@broken("sigmoid-before-bce-with-logits", source="glue-factory#89")
def sigmoid_layer_before_bce() -> Workload:
    """The model ends with a sigmoid."""
    net, x, y = _binary(nn.Sigmoid())
    _train(net, F.binary_cross_entropy_with_logits, x, y)
    return _held(_binary(nn.Sigmoid())[0], nn.BCEWithLogitsLoss(), x, y)


@broken("sigmoid-before-bce-with-logits")
def sigmoid_squeezed_before_bce() -> None:
    """The sigmoid is in the training loop, and its output is squeezed."""
    net, x, y = _binary()
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(2.0))
    _train(net, lambda out, target: loss(torch.sigmoid(out).squeeze(1), target.squeeze(1)), x, y)


@broken("sigmoid-before-bce-with-logits")
def softmax_before_bce() -> None:
    """Labels of several classes: softmax, then a loss that expects logits."""
    x, y = _classes()
    _train(_classifier(nn.Softmax(dim=1)), F.binary_cross_entropy_with_logits, x, F.one_hot(y, 4).float())


@healthy
def sigmoid_before_bce_without_logits() -> Workload:
    """binary_cross_entropy takes probabilities."""
    net, x, y = _binary(nn.Sigmoid())
    _train(net, F.binary_cross_entropy, x, y)
    return _held(net, nn.BCELoss(), x, y)


@healthy
def sigmoid_gate_inside() -> None:
    """A gate in the model, logits out."""
    gate, net, head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)
    _, x, y = _binary()
    opt = torch.optim.SGD([*gate.parameters(), *net.parameters(), *head.parameters()], lr=0.1)
    for _ in range(6):
        opt.zero_grad()
        F.binary_cross_entropy_with_logits(head(torch.sigmoid(gate(x)) * net(x)), y).backward()
        opt.step()


# -- probabilities-to-nll
@broken("probabilities-to-nll", source="Text-Classification-Models-Pytorch#9")
def softmax_to_nll() -> Workload:
    """NLLLoss of a softmax."""
    x, y = _classes()
    _train(_classifier(nn.Softmax(dim=1)), F.nll_loss, x, y)
    return _held(_classifier(nn.Softmax(dim=1)), nn.NLLLoss(), x, y)


@broken("probabilities-to-nll")
def logits_to_nll() -> None:
    """NLLLoss of the last layer's output."""
    x, y = _classes()
    _train(_classifier(), nn.NLLLoss(), x, y, lr=0.01)


@broken("probabilities-to-nll")
def softmax_to_nll_of_pixels_and_a_penalty() -> None:
    """A sum of a per-pixel NLLLoss of probabilities and an L2 penalty."""
    net = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Softmax(dim=1))
    x = torch.randn(2, 1, 6, 6)
    y = (x[:, 0] > 0).long()
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        (F.nll_loss(net(x), y) + 1e-3 * sum(p.pow(2).sum() for p in net.parameters())).backward()
        opt.step()


@broken("probabilities-to-nll", source="matchmaker#18")
def kl_div_of_probabilities() -> None:
    """kl_div gets probabilities, where it expects their logarithms."""
    x, y = _classes()
    target = 0.9 * F.one_hot(y, 4).float() + 0.025
    _train(_classifier(nn.Softmax(dim=1)), lambda out, t: F.kl_div(out, t, reduction="batchmean"), x, target)


@healthy
def log_probabilities_to_nll() -> Workload:
    """log_softmax, then NLLLoss."""
    x, y = _classes()
    _train(_classifier(nn.LogSoftmax(dim=1)), F.nll_loss, x, y)
    return _held(_classifier(nn.LogSoftmax(dim=1)), nn.NLLLoss(), x, y)


@healthy
def distillation() -> None:
    """kl_div of log-probabilities to a teacher's probabilities."""
    x, _ = _classes()
    teacher, net = _classifier(), _classifier()
    with torch.no_grad():
        target = teacher(x).softmax(1)
    _train(net, lambda out, t: F.kl_div(out.log_softmax(1), t, reduction="batchmean"), x, target)


@healthy
def log_of_probabilities_written_out() -> None:
    """log(softmax) with an epsilon."""
    x, y = _classes()
    _train(_classifier(nn.Softmax(dim=1)), lambda out, t: F.nll_loss((out + 1e-9).log(), t), x, y)


# -- softmax-over-batch
@broken("softmax-over-batch", source="world-models#10")
def log_softmax_over_the_batch() -> Workload:
    """dim=0 in place of dim=1."""
    x, y = _classes()
    _train(_classifier(nn.LogSoftmax(dim=0)), F.nll_loss, x, y)
    return _held(_classifier(nn.LogSoftmax(dim=0)), nn.NLLLoss(), x, y)


@broken("softmax-over-batch", also=("probabilities-to-nll",))
def softmax_over_the_batch_to_nll() -> None:
    """A log of a softmax over the batch."""
    x, y = _classes()
    _train(_classifier(), lambda out, t: F.nll_loss(torch.log(F.softmax(out, 0)), t), x, y)


@broken("softmax-over-batch")
def softmax_over_the_batch_to_mse() -> None:
    """Probabilities compared with one-hot targets."""
    x, y = _classes()
    _train(_classifier(nn.Softmax(0)), F.mse_loss, x, F.one_hot(y, 4).float())


@healthy
def contrastive() -> None:
    """CLIP's loss takes both the rows and the columns of one matrix of similarities."""
    a, b = nn.Linear(8, 8), nn.Linear(8, 8)
    x = torch.randn(16, 8)
    opt = torch.optim.Adam([*a.parameters(), *b.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        scores = F.normalize(a(x), dim=1) @ F.normalize(b(x), dim=1).T / 0.1
        same = torch.arange(16)
        ((F.cross_entropy(scores, same) + F.cross_entropy(scores.T, same)) / 2).backward()
        opt.step()


@healthy
def attention_over_time_first() -> None:
    """Softmax over dimension 0 inside the model, which is time."""
    score, head = nn.Linear(8, 1), nn.Linear(8, 4)
    x, y = torch.randn(5, 16, 8), torch.randint(0, 4, (16,))
    opt = torch.optim.Adam([*score.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        F.cross_entropy(head((score(x).softmax(0) * x).sum(0)), y).backward()
        opt.step()


# -- loss-broadcast
def _regression() -> tuple[nn.Sequential, Tensor, Tensor]:
    x = torch.randn(16, 8)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1)), x, x[:, 0] * 2 - x[:, 1]


@broken("loss-broadcast", source="FARM#229")
def mse_of_a_column_and_a_row() -> Workload:
    """The model returns (N, 1), the targets are (N,)."""
    net, x, y = _regression()
    _train(net, F.mse_loss, x, y)
    return _held(net, nn.MSELoss(), x, y)


@broken("loss-broadcast")
def squared_error_written_out() -> Workload:
    """The same by hand, where torch does not warn."""
    net, x, y = _regression()
    _train(net, lambda out, target: ((out - target) ** 2).mean(), x, y)
    return _held(net, lambda out, target: ((target - out) ** 2).mean(), x, y)


@broken("loss-broadcast")
def l1_the_other_way_round() -> None:
    """The model's output is squeezed, the targets are not."""
    net, x, y = _regression()
    _train(net, lambda out, target: F.l1_loss(out.view(-1), target), x, y[:, None])


@broken("loss-broadcast")
def huber_in_q_learning() -> None:
    """Q-values gathered as (N, 1), targets (N,)."""
    net, x = _classifier(), torch.randn(16, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.001)
    reward, action = torch.randn(16), torch.randint(0, 4, (16, 1))
    for _ in range(6):
        with torch.no_grad():
            target = reward + 0.9 * net(x).max(1).values
        opt.zero_grad()
        F.huber_loss(net(x).gather(1, action), target).backward()
        opt.step()


@healthy
def one_target_for_all() -> None:
    """Every sample is compared with one row of targets, on purpose."""
    net, x = _classifier(), torch.randn(16, 8)
    _train(net, lambda out, target: ((out - target) ** 2).mean(), x, torch.randn(4), lr=0.01)


@healthy
def pairwise_ranking() -> None:
    """All pairs of predictions are compared, on purpose."""
    net, x, y = _regression()
    sign = (y[:, None] - y[None]).sign()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return F.softplus(-target * (out - out.T)).mean()

    _train(net, loss, x, sign)


@healthy
def quantiles() -> None:
    """Pinball loss: each prediction of 16 quantiles with each target, written with unsqueeze."""
    net = nn.Linear(8, 16)
    _, x, y = _regression()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return (target.unsqueeze(1) - out).abs().mean()

    _train(net, loss, x, y)


@healthy
def a_learned_mean() -> None:
    """A parameter is compared with every row of a square batch."""
    mean, x = nn.Parameter(torch.zeros(8)), torch.randn(8, 8)
    opt = torch.optim.SGD([mean], lr=0.1)
    for _ in range(6):
        opt.zero_grad()
        ((mean - x) ** 2).mean().backward()
        opt.step()


# -- labels-out-of-range
@broken("labels-out-of-range")
def mask_of_0_and_255() -> Workload:
    """A mask that was loaded as an image."""
    net, x, y = _binary()
    _train(net, F.binary_cross_entropy_with_logits, x, y * 255, lr=0.001)
    return _held(net, nn.BCEWithLogitsLoss(), x, y * 255, lr=0.001)


@broken("labels-out-of-range")
def labels_of_minus_one_and_one() -> None:
    """Labels of a support vector machine."""
    net, x, y = _binary()
    _train(net, nn.BCEWithLogitsLoss(), x, y * 2 - 1, lr=0.01)


@broken("labels-out-of-range")
def numbers_of_classes_to_bce() -> None:
    """Numbers of classes in a loss for two."""
    net = _classifier(classes=1)
    x, y = _classes()
    _train(net, lambda out, t: F.binary_cross_entropy_with_logits(out.squeeze(1), t.float()), x, y, lr=0.01)


@broken("labels-out-of-range", also=("nan-or-inf",))
def every_label_ignored() -> None:
    """A batch of padding only."""
    x, _ = _classes()
    _train(_classifier(), F.cross_entropy, x, torch.full((32,), -100), iterations=2)


@healthy
def some_labels_ignored() -> None:
    """Padding among the labels."""
    x, y = _classes()
    y[::2] = -100
    _train(_classifier(), F.cross_entropy, x, y)


@healthy
def smooth_and_noisy_labels() -> None:
    """Soft labels from 0.7 to 1.2, as GANs use."""
    net, x, y = _binary()
    _train(net, F.binary_cross_entropy_with_logits, x, y * (0.7 + 0.5 * torch.rand(32, 1)))


# -- target-dtype
@broken("target-dtype")
def classes_to_mse() -> Workload:
    """Numbers of classes are regressed."""
    net = _classifier(classes=1)
    x, y = _classes()
    _train(net, F.mse_loss, x, y[:, None], lr=0.01)
    return _held(net, nn.MSELoss(), x, y[:, None], lr=0.01)


@broken("target-dtype")
def doubles_from_numpy() -> None:
    """The target comes from numpy."""
    net, x, y = _regression()
    _train(net, F.mse_loss, x, torch.from_numpy(y.double().numpy())[:, None])


@broken("target-dtype")
def whole_amounts_to_smooth_l1() -> None:
    """Amounts that were rounded to integers."""
    net, x, y = _regression()
    _train(net, F.smooth_l1_loss, x, y.round().int()[:, None])


@broken("sigmoid-before-bce-with-logits", source="argusswift/YOLOv4-pytorch#89")
def a_part_of_the_output_is_a_sigmoid() -> None:
    """Boxes as they are, beside a sigmoid of the confidence."""
    net, x = nn.Linear(8, 3), torch.randn(32, 8)
    opt, there = torch.optim.SGD(net.parameters(), lr=0.05), (x[:, :1] > 0).float()
    for _ in range(6):
        raw = net(x)
        out = torch.cat([raw[:, :2], raw[:, 2:].sigmoid()], dim=1)
        opt.zero_grad()
        (F.binary_cross_entropy_with_logits(out[:, 2:], there) + 0.1 * out[:, :2].pow(2).mean()).backward()
        opt.step()


@healthy
def the_other_part_of_the_output_is_a_sigmoid() -> None:
    """The sigmoid is of the boxes."""
    net, x = nn.Linear(8, 3), torch.randn(32, 8)
    opt, there = torch.optim.SGD(net.parameters(), lr=0.05), (x[:, :1] > 0).float()
    for _ in range(6):
        raw = net(x)
        out = torch.cat([raw[:, :2].sigmoid(), raw[:, 2:]], dim=1)
        opt.zero_grad()
        (F.binary_cross_entropy_with_logits(out[:, 2:], there) + 0.1 * out[:, :2].pow(2).mean()).backward()
        opt.step()


@broken("softmax-over-batch", source="ctallec/world-models#10")
def mixture_weights_over_the_batch() -> None:
    """The density of each sample depends on the others."""
    net, x = nn.Linear(8, 6), torch.randn(32, 8)
    opt = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(6):
        weight, mean = net(x).chunk(2, dim=1)
        density = F.softmax(weight, dim=0) * torch.exp(-((x[:, :1] - mean) ** 2))
        opt.zero_grad()
        (-density.sum(1).add(1e-8).log().mean()).backward()
        opt.step()


@healthy
def attention_pools_the_samples() -> None:
    """Multiple instance learning: the instances are dimension 0, and are summed."""
    score, head, x = nn.Linear(8, 2), nn.Linear(16, 3), torch.randn(32, 8)
    opt = torch.optim.Adam([*score.parameters(), *head.parameters()], lr=0.01)
    for i in range(6):
        pooled = (F.softmax(score(x), dim=0)[:, :, None] * x[:, None]).sum(0).flatten()
        opt.zero_grad()
        F.cross_entropy(head(pooled)[None], torch.tensor([i % 3])).backward()
        opt.step()


# -- view-for-permute --------------------------------------------------------------------------------------------------


def _attention(how: str) -> None:
    heads, head = nn.Linear(8, 8), nn.Linear(8, 5)
    opt = torch.optim.Adam([*heads.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        x, y = torch.randn(4, 6, 8), torch.randint(0, 5, (4, 6))
        q = heads(x)
        q = q.view(4, 2, 6, 4) if how == "split" else q.view(4, 6, 2, 4).transpose(1, 2)
        out = (q @ q.transpose(2, 3)).softmax(3) @ q
        out = out.reshape(4, 6, 8) if how == "merged" else out.transpose(1, 2).reshape(4, 6, 8)
        opt.zero_grad()
        F.cross_entropy(head(out).flatten(0, 1), y.flatten()).backward()
        opt.step()


@broken("view-for-permute", source="zhouhaoyi/Informer2020#59")
def heads_are_merged_without_a_transpose() -> None:
    """(batch, heads, time, size) becomes (batch, time, heads * size)."""
    _attention("merged")


@broken("view-for-permute")
def heads_are_split_without_a_transpose() -> None:
    """(batch, time, heads * size) becomes (batch, heads, time, size)."""
    _attention("split")


@broken("view-for-permute")
def channels_are_moved_by_a_view() -> None:
    """(batch, height, width, channels) becomes (batch, channels, height, width)."""
    embed, conv = nn.Linear(1, 3), nn.Conv2d(3, 4, 3)
    opt = torch.optim.Adam([*embed.parameters(), *conv.parameters()], lr=0.01)
    for _ in range(6):
        x, y = torch.randn(8, 6, 5, 1), torch.randint(0, 4, (8,))
        opt.zero_grad()
        F.cross_entropy(conv(embed(x).view(8, 3, 6, 5)).mean((2, 3)), y).backward()
        opt.step()


@healthy
def heads_are_transposed() -> None:
    """As it should be."""
    _attention("")


def _attend(width: int, weights: Callable[[Tensor], Tensor]) -> None:
    """Train attention over 5 steps of 16 samples whose scores are turned into weights."""
    q, k, head = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 3)
    x, y = torch.randn(16, 5, width), torch.randint(0, 3, (16,))
    opt = torch.optim.Adam([*q.parameters(), *k.parameters(), *head.parameters()], lr=0.01)
    for _ in range(6):
        opt.zero_grad()
        mixed = weights(q(x) @ k(x).transpose(1, 2) / width**0.5) @ x
        F.cross_entropy(head(mixed.mean(1)), y).backward()
        opt.step()


@broken("softmax-over-batch", source="PetrochukM/PyTorch-NLP#2")
def attention_over_the_samples() -> None:
    """Scores of samples, queries and keys, and dim=0, which torch takes without dim= too."""
    _attend(8, lambda scores: F.dropout(F.softmax(scores, dim=0), 0.1))


@healthy
def attention_over_the_keys() -> None:
    """The same with dim=-1."""
    _attend(8, lambda scores: F.dropout(F.softmax(scores, dim=-1), 0.1))


@healthy
def attention_over_the_keys_first() -> None:
    """Scores with the keys first: what is normalised over dimension 0 is moved before the product sums over it."""
    _attend(8, lambda scores: F.softmax(scores.permute(2, 0, 1), dim=0).permute(1, 2, 0))
