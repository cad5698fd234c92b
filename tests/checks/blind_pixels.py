"""Scripts that segment, upscale, stylise, detect or distil, as their repositories do, and mistakes in them."""

from __future__ import annotations

import argparse
import copy
import math

import torch
from torch import nn, optim
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import loader, pictures


class DoubleConv(nn.Sequential):
    def __init__(self, inc, outc):
        super().__init__(
            nn.Conv2d(inc, outc, 3, padding=1, bias=False), nn.BatchNorm2d(outc), nn.ReLU(inplace=True),
            nn.Conv2d(outc, outc, 3, padding=1, bias=False), nn.BatchNorm2d(outc), nn.ReLU(inplace=True),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, n_channels=1, n_classes=1):
        super().__init__()
        self.n_classes = n_classes
        self.inc, self.down = DoubleConv(n_channels, 8), DoubleConv(8, 16)
        self.up, self.merge = nn.ConvTranspose2d(16, 8, 2, stride=2), DoubleConv(16, 8)
        self.outc = nn.Conv2d(8, n_classes, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down(F.max_pool2d(x1, 2))
        return self.outc(self.merge(torch.cat([x1, self.up(x2)], dim=1)))


def discs(count=64, side=12, value=1.0):
    """Return pictures of one disc each with noise, and masks that are `value` inside of it."""
    centre = torch.rand(count, 2, 1, 1) * side / 2 + side / 4
    rows = torch.arange(side).view(1, side, 1)
    columns = torch.arange(side).view(1, 1, side)
    inside = ((rows - centre[:, 0]) ** 2 + (columns - centre[:, 1]) ** 2 < (side / 3) ** 2).float()
    return (0.6 * inside + 0.4 * torch.rand(count, side, side)).unsqueeze(1), value * inside


def dice_coeff(pred, target, epsilon=1e-6):
    inter = 2 * (pred * target).sum(dim=(-1, -2))
    sets = pred.sum(dim=(-1, -2)) + target.sum(dim=(-1, -2))
    return ((inter + epsilon) / (torch.where(sets == 0, inter, sets) + epsilon)).mean()


@torch.inference_mode()
def evaluate(net, dataloader):
    net.eval()
    score = 0.0
    for image, mask in dataloader:
        score += dice_coeff((torch.sigmoid(net(image).squeeze(1)) > 0.5).float(), mask.float()).item()
    net.train()
    return score / len(dataloader)


@healthy
def unet():
    """milesial/Pytorch-UNet train.py: RMSprop 1e-5 with momentum 0.999, BCE and Dice, disabled scaler, plateau."""
    parser = argparse.ArgumentParser(description="Train the UNet on images and target masks")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--amp", action="store_true")
    args = parser.parse_args([])
    train_loader, val_loader = loader(*discs(), batch_size=8), loader(*discs(16), batch_size=8)
    model = UNet()
    optimizer = optim.RMSprop(model.parameters(), lr=args.learning_rate, weight_decay=1e-8, momentum=0.999)
    scheduler = optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    grad_scaler = torch.amp.GradScaler("cpu", enabled=args.amp)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(5):
        model.train()
        epoch_loss = 0.0
        for images, true_masks in train_loader:
            with torch.autocast("cpu", enabled=args.amp):
                masks_pred = model(images)
                loss = criterion(masks_pred.squeeze(1), true_masks.float())
                loss += 1 - dice_coeff(torch.sigmoid(masks_pred.squeeze(1)), true_masks.float())
            optimizer.zero_grad(set_to_none=True)
            grad_scaler.scale(loss).backward()
            grad_scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            grad_scaler.step(optimizer)
            grad_scaler.update()
            epoch_loss += loss.item()
        val_score = evaluate(model, val_loader)
        scheduler.step(val_score)
        print(f"epoch {epoch} loss {epoch_loss:.3f} Validation Dice score: {val_score}")


@broken("clip-scaled-gradients", source="github.com/milesial/Pytorch-UNet/issues/468")
def unet_clipped_before_unscaling():
    train_loader, val_loader = loader(*discs(), batch_size=8), loader(*discs(16), batch_size=8)
    model = UNet()
    optimizer = optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999)
    grad_scaler = torch.amp.GradScaler("cpu", enabled=True)
    criterion = nn.BCEWithLogitsLoss()
    for _ in range(4):
        model.train()
        for images, true_masks in train_loader:
            with torch.autocast("cpu", enabled=True):
                masks_pred = model(images)
                loss = criterion(masks_pred.squeeze(1), true_masks.float())
            optimizer.zero_grad(set_to_none=True)
            grad_scaler.scale(loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            grad_scaler.step(optimizer)
            grad_scaler.update()
        print(evaluate(model, val_loader))


@broken("labels-out-of-range", also=("loss-diverges",), source="github.com/milesial/Pytorch-UNet/issues/78")
def unet_masks_from_0_to_255():
    train_loader, val_loader = loader(*discs(value=255.0), batch_size=8), loader(*discs(16, value=255.0), batch_size=8)
    model = UNet()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(4):
        model.train()
        for images, true_masks in train_loader:
            loss = criterion(model(images).squeeze(1), true_masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"{epoch} --- loss: {loss.item():.6f} Validation Dice: {evaluate(model, val_loader)}")


@healthy
def super_resolution():
    """pytorch/examples super_resolution: orthogonal weights, pixel shuffle, MSE, Adam, PSNR."""
    sharp, _ = pictures(48, side=12)
    train_loader = loader(F.avg_pool2d(sharp, 2), sharp, 8)
    conv1, conv2, conv3 = nn.Conv2d(1, 16, 5, 1, 2), nn.Conv2d(16, 8, 3, 1, 1), nn.Conv2d(8, 4, 3, 1, 1)
    nn.init.orthogonal_(conv1.weight, nn.init.calculate_gain("relu"))
    nn.init.orthogonal_(conv2.weight, nn.init.calculate_gain("relu"))
    nn.init.orthogonal_(conv3.weight)
    model = nn.Sequential(conv1, nn.ReLU(), conv2, nn.ReLU(), conv3, nn.PixelShuffle(2))
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(1, 6):
        epoch_loss = 0.0
        for low, high in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(low), high)
            epoch_loss += loss.item()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            mse = criterion(model(F.avg_pool2d(sharp, 2)), sharp)
        print(f"Epoch {epoch}: {epoch_loss:.4f}, PSNR {10 * math.log10(1 / mse.item()):.4f} dB")


def gram_matrix(y):
    b, ch, h, w = y.size()
    features = y.view(b, ch, w * h)
    return features.bmm(features.transpose(1, 2)) / (ch * h * w)


@healthy
def fast_neural_style():
    """pytorch/examples fast_neural_style: a transformer trained through a frozen network of features."""
    content, _ = pictures(48, side=12, channels=3)
    style, _ = pictures(1, side=12, channels=3)
    vgg = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    for param in vgg.parameters():
        param.requires_grad = False
    transformer = nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 3, 1)
    )
    optimizer = optim.Adam(transformer.parameters(), 1e-3)
    mse_loss = nn.MSELoss()
    gram_style = gram_matrix(vgg(style.repeat(8, 1, 1, 1)))
    transformer.train()
    agg_content_loss, agg_style_loss = 0.0, 0.0
    for epoch in range(5):
        for (x,) in torch.utils.data.DataLoader(torch.utils.data.TensorDataset(content), batch_size=8, shuffle=True):
            optimizer.zero_grad()
            y = transformer(x)
            content_loss = 1e5 * mse_loss(vgg(y), vgg(x))
            style_loss = 1e10 * mse_loss(gram_matrix(vgg(y)), gram_style)
            total_loss = content_loss + style_loss
            total_loss.backward()
            optimizer.step()
            agg_content_loss += content_loss.item()
            agg_style_loss += style_loss.item()
        print(f"Epoch {epoch}: content {agg_content_loss:.2f} style {agg_style_loss:.2f}")


class ModelEMA:
    def __init__(self, model, decay=0.9999, tau=2000):
        self.ema, self.updates = copy.deepcopy(model).eval(), 0
        self.decay = lambda x: decay * (1 - math.exp(-x / tau))
        for p in self.ema.parameters():
            p.requires_grad_(False)

    def update(self, model):
        self.updates += 1
        d = self.decay(self.updates)
        msd = model.state_dict()
        for k, v in self.ema.state_dict().items():
            if v.dtype.is_floating_point:
                v *= d
                v += (1 - d) * msd[k].detach()


class Detector(nn.Module):
    def __init__(self, nc=3):
        super().__init__()
        self.backbone = nn.Sequential(DoubleConv(3, 16), nn.MaxPool2d(2), DoubleConv(16, 16), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(16, 5 + nc)

    def forward(self, x):
        return self.head(self.backbone(x).flatten(1))


def compute_loss(pred, boxes, obj, classes):
    lbox = ((torch.sigmoid(pred[:, :4]) - boxes) ** 2).sum(1)[obj > 0].mean() * 0.05
    lobj = F.binary_cross_entropy_with_logits(pred[:, 4], obj)
    lcls = F.cross_entropy(pred[:, 5:][obj > 0], classes[obj > 0]) * 0.5
    return (lbox + lobj + lcls) * pred.size(0), torch.stack((lbox, lobj, lcls)).detach()


@healthy
def detector():
    """ultralytics/yolov5 train.py: three groups, warm-up of lr and momentum by `np.interp`, nominal batch, EMA."""
    x, cls = pictures(64, side=8, classes=3, channels=3)
    boxes, obj = torch.rand(64, 4), (torch.arange(64) % 4 > 0).float()
    dataset = torch.utils.data.TensorDataset(x, boxes, obj, cls)
    train_loader = torch.utils.data.DataLoader(dataset, batch_size=16, shuffle=True)
    model = Detector()
    norms = tuple(v for k, v in nn.__dict__.items() if "Norm" in k)
    g = [], [], []
    for v in model.modules():
        for p_name, p in v.named_parameters(recurse=False):
            if p_name == "bias":
                g[2].append(p)
            elif p_name == "weight" and isinstance(v, norms):
                g[1].append(p)
            else:
                g[0].append(p)
    optimizer = optim.SGD(g[2], lr=0.01, momentum=0.937, nesterov=True)
    optimizer.add_param_group({"params": g[0], "weight_decay": 5e-4})
    optimizer.add_param_group({"params": g[1], "weight_decay": 0.0})
    epochs, nw, nbs, batch_size = 12, 24, 32, 16
    scheduler = optim.lr_scheduler.LambdaLR(optimizer, lambda x: (1 - x / epochs) * (1 - 0.01) + 0.01)
    scheduler.last_epoch = -1
    ema, last_opt_step, nb = ModelEMA(model), -1, len(train_loader)
    for epoch in range(epochs):
        model.train()
        mloss = torch.zeros(3)
        optimizer.zero_grad()
        for i, batch in enumerate(train_loader):
            ni = i + nb * epoch
            accumulate = round(nbs / batch_size) if ni > nw else max(1, round(1 + ni / nw * (nbs / batch_size - 1)))
            for j, group in enumerate(optimizer.param_groups if ni <= nw else ()):
                start = 0.1 if j == 0 else 0.0
                group["lr"] = start + (0.01 - start) * ni / nw
                group["momentum"] = 0.8 + (0.937 - 0.8) * ni / nw
            loss, loss_items = compute_loss(model(batch[0]), *batch[1:])
            loss.backward()
            if ni - last_opt_step >= accumulate:
                torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=10.0)
                optimizer.step()
                optimizer.zero_grad()
                ema.update(model)
                last_opt_step = ni
            mloss = (mloss * i + loss_items) / (i + 1)
        scheduler.step()
        print(epoch, mloss)
