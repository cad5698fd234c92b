"""Scripts that train generative models as their repositories do, and mistakes made in them."""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader

from checks.corpus import broken, healthy
from checks.made import pictures


def batches(size=16, count=96, channels=1):
    return DataLoader(pictures(count, side=8, channels=channels)[0], batch_size=size, shuffle=True, drop_last=True)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 48), nn.Linear(48, 8), nn.Linear(48, 8)
        self.fc3, self.fc4 = nn.Linear(8, 48), nn.Linear(48, 64)

    def forward(self, x):
        h1 = F.relu(self.fc1(x.view(-1, 64)))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar


@healthy
def vae():
    """pytorch/examples vae/main.py: BCE and KL summed over the batch, Adam 1e-3, test() with sampling."""
    model, train_loader = VAE(), batches()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for epoch in range(1, 9):
        model.train()
        train_loss = 0.0
        for data in train_loader:
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            BCE = F.binary_cross_entropy(recon_batch, data.view(-1, 64), reduction="sum")
            KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss = BCE + KLD
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        print(f"====> Epoch: {epoch} Average loss: {train_loss / 96:.4f}")
        model.eval()
        with torch.no_grad():
            torch.sigmoid(model.fc4(F.relu(model.fc3(torch.randn(16, 8)))))


class Generator(nn.Sequential):
    def __init__(self, nz=8, ngf=8):
        super().__init__(
            nn.ConvTranspose2d(nz, 2 * ngf, 2, 1, 0, bias=False), nn.BatchNorm2d(2 * ngf), nn.ReLU(True),
            nn.ConvTranspose2d(2 * ngf, ngf, 4, 2, 1, bias=False), nn.BatchNorm2d(ngf), nn.ReLU(True),
            nn.ConvTranspose2d(ngf, 1, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip


class Discriminator(nn.Sequential):
    def __init__(self, ndf=8):
        super().__init__(
            nn.Conv2d(1, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, 2 * ndf, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * ndf), nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * ndf, 1, 2, 1, 0, bias=False), nn.Sigmoid(), nn.Flatten(0),
        )  # fmt: skip


def weights_init(m):
    classname = m.__class__.__name__
    if classname.find("Conv") != -1:
        torch.nn.init.normal_(m.weight, 0.0, 0.02)
    elif classname.find("BatchNorm") != -1:
        torch.nn.init.normal_(m.weight, 1.0, 0.02)
        torch.nn.init.zeros_(m.bias)


@healthy
def dcgan():
    """pytorch/examples dcgan/main.py: two backwards of D before its step, weights of 0.02, Adam 2e-4 and 0.5."""
    netG, netD, criterion = Generator().apply(weights_init), Discriminator().apply(weights_init), nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=0.0002, betas=(0.5, 0.999))
    for _ in range(8):
        for data in batches():
            netD.zero_grad()
            label = torch.full((16,), 1.0)
            output = netD(2 * data - 1)
            errD_real = criterion(output, label)
            errD_real.backward()
            fake = netG(torch.randn(16, 8, 1, 1))
            label.fill_(0.0)
            errD_fake = criterion(netD(fake.detach()), label)
            errD_fake.backward()
            optimizerD.step()
            netG.zero_grad()
            label.fill_(1.0)
            errG = criterion(netD(fake), label)
            errG.backward()
            optimizerG.step()
        print(f"Loss_D: {(errD_real + errD_fake).item():.4f} Loss_G: {errG.item():.4f}")


@broken("zero-grad-missing", source="github.com/Hsintien-Ng/idinvert_pytorch-reproduced/issues/1")
def dcgan_discriminator_never_cleared():
    netG, netD, criterion = Generator().apply(weights_init), Discriminator().apply(weights_init), nn.BCELoss()
    optimizerD = optim.Adam(netD.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizerG = optim.Adam(netG.parameters(), lr=0.0002, betas=(0.5, 0.999))
    for _ in range(8):
        for data in batches():
            fake = netG(torch.randn(16, 8, 1, 1))
            errD = criterion(netD(2 * data - 1), torch.ones(16)) + criterion(netD(fake.detach()), torch.zeros(16))
            errD.backward()
            optimizerD.step()
            optimizerG.zero_grad()
            errG = criterion(netD(fake), torch.ones(16))
            errG.backward()
            optimizerG.step()
        print(f"Loss_D: {errD.item():.4f} Loss_G: {errG.item():.4f}")


@healthy
def wgan_gp():
    """eriklindernoren/PyTorch-GAN wgan_gp.py: penalty on the norm of a gradient of the input, G every fifth batch."""
    generator = nn.Sequential(
        nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))
    )
    discriminator = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    optimizer_G = optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    optimizer_D = optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    for _ in range(10):
        for i, imgs in enumerate(batches()):
            real_imgs = 2 * imgs - 1
            optimizer_D.zero_grad()
            fake_imgs = generator(torch.randn(16, 8))
            alpha = torch.rand(16, 1, 1, 1)
            interpolates = (alpha * real_imgs + (1 - alpha) * fake_imgs.detach()).requires_grad_(True)
            d_interpolates = discriminator(interpolates)
            gradients = torch.autograd.grad(
                d_interpolates, interpolates, torch.ones(16, 1), create_graph=True, retain_graph=True, only_inputs=True
            )[0]
            gradient_penalty = ((gradients.view(16, -1).norm(2, dim=1) - 1) ** 2).mean()
            d_loss = -discriminator(real_imgs).mean() + discriminator(fake_imgs).mean() + 10 * gradient_penalty
            d_loss.backward()
            optimizer_D.step()
            optimizer_G.zero_grad()
            if i % 5 == 0:
                g_loss = -torch.mean(discriminator(generator(torch.randn(16, 8))))
                g_loss.backward()
                optimizer_G.step()
        print(f"[D loss: {d_loss.item():f}] [G loss: {g_loss.item():f}]")


class ReplayBuffer:
    def __init__(self, max_size=20):
        self.max_size, self.data = max_size, []

    def push_and_pop(self, data):
        if len(self.data) < self.max_size:
            self.data.append(data.detach())
            return data
        i = int(torch.randint(0, self.max_size, ()))
        old, self.data[i] = self.data[i], data.detach()
        return old


def cyclegan_parts():
    def translator():
        return nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(1, 8, 3),
            nn.InstanceNorm2d(8),
            nn.ReLU(True),
            nn.Conv2d(8, 1, 1),
            nn.Tanh(),
        )

    def judge():
        return nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(8, 1, 3, padding=1))

    return translator(), translator(), judge(), judge()


def cyclegan_loop(G_AB, G_BA, D_A, D_B, optimizer_G, optimizers_D):
    criterion_GAN, criterion_cycle, criterion_identity = nn.MSELoss(), nn.L1Loss(), nn.L1Loss()
    fake_A_buffer, fake_B_buffer = ReplayBuffer(), ReplayBuffer()
    valid, fake = torch.ones(4, 1, 4, 4), torch.zeros(4, 1, 4, 4)
    for batch in batches(size=4):
        real_A, real_B = 2 * batch - 1, 1 - 2 * batch.flip(-1)
        optimizer_G.zero_grad()
        loss_identity = (criterion_identity(G_BA(real_A), real_A) + criterion_identity(G_AB(real_B), real_B)) / 2
        fake_B, fake_A = G_AB(real_A), G_BA(real_B)
        loss_GAN = (criterion_GAN(D_B(fake_B), valid) + criterion_GAN(D_A(fake_A), valid)) / 2
        loss_cycle = (criterion_cycle(G_BA(fake_B), real_A) + criterion_cycle(G_AB(fake_A), real_B)) / 2
        loss_G = loss_GAN + 10.0 * loss_cycle + 5.0 * loss_identity
        loss_G.backward()
        optimizer_G.step()
        for optimizer in optimizers_D:
            optimizer.zero_grad()
        fake_A_, fake_B_ = fake_A_buffer.push_and_pop(fake_A), fake_B_buffer.push_and_pop(fake_B)
        loss_D_A = (criterion_GAN(D_A(real_A), valid) + criterion_GAN(D_A(fake_A_.detach()), fake)) / 2
        loss_D_B = (criterion_GAN(D_B(real_B), valid) + criterion_GAN(D_B(fake_B_.detach()), fake)) / 2
        loss_D_A.backward()
        loss_D_B.backward()
        for optimizer in optimizers_D:
            optimizer.step()
    print(f"[D loss: {(loss_D_A + loss_D_B).item():f}] [G loss: {loss_G.item():f}]")


@healthy
def cyclegan():
    """eriklindernoren/PyTorch-GAN cyclegan.py: three optimizers, a buffer of fakes, least-squares losses."""
    G_AB, G_BA, D_A, D_B = cyclegan_parts()
    betas = (0.5, 0.999)
    optimizer_G = optim.Adam(itertools.chain(G_AB.parameters(), G_BA.parameters()), lr=0.0002, betas=betas)
    optimizers_D = [optim.Adam(D.parameters(), lr=0.0002, betas=betas) for D in (D_A, D_B)]
    cyclegan_loop(G_AB, G_BA, D_A, D_B, optimizer_G, optimizers_D)
    cyclegan_loop(G_AB, G_BA, D_A, D_B, optimizer_G, optimizers_D)


@broken("parameter-not-optimized", source="github.com/line/open-universe/issues/5")
def cyclegan_one_discriminator_twice():
    G_AB, G_BA, D_A, D_B = cyclegan_parts()
    optimizer_G = optim.Adam(itertools.chain(G_AB.parameters(), G_BA.parameters()), lr=0.0002, betas=(0.5, 0.999))
    optimizers_D = [optim.Adam(D.parameters(), lr=0.0002, betas=(0.5, 0.999)) for D in (D_A, D_A)]
    cyclegan_loop(G_AB, G_BA, D_A, D_B, optimizer_G, optimizers_D)
    cyclegan_loop(G_AB, G_BA, D_A, D_B, optimizer_G, optimizers_D)


@healthy
def ddpm():
    """lucidrains/denoising-diffusion-pytorch: noise predicted by a U-Net with time, EMA, micro-batches, clip at 1."""

    class Unet(nn.Module):
        def __init__(self, dim=16):
            super().__init__()
            self.time_mlp = nn.Sequential(nn.Linear(8, dim), nn.GELU(), nn.Linear(dim, dim))
            self.init_conv, self.mid = nn.Conv2d(1, dim, 3, padding=1), nn.Conv2d(dim, dim, 3, padding=1)
            self.norm, self.final_conv = nn.GroupNorm(4, dim), nn.Conv2d(dim, 1, 1)

        def forward(self, x, time):
            frequencies = torch.exp(-math.log(10000) * torch.arange(4) / 3)
            angles = time[:, None] * frequencies
            t = self.time_mlp(torch.cat((angles.sin(), angles.cos()), dim=-1))
            h = F.silu(self.init_conv(x))
            return self.final_conv(h + F.silu(self.norm(self.mid(h) + t[:, :, None, None])))

    model, timesteps, gradient_accumulate_every = Unet(), 100, 2
    ema = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    alphas_cumprod = torch.cumprod(1.0 - torch.linspace(1e-3, 0.1, timesteps), dim=0)
    opt = optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99))
    dl = itertools.cycle(batches())
    for step in range(36):
        total_loss = 0.0
        for _ in range(gradient_accumulate_every):
            x_start = 2 * next(dl) - 1
            t, noise = torch.randint(0, timesteps, (16,)), torch.randn_like(x_start)
            signal = alphas_cumprod[t].view(-1, 1, 1, 1)
            loss = F.mse_loss(model(signal.sqrt() * x_start + (1 - signal).sqrt() * noise, t), noise)
            loss = loss / gradient_accumulate_every
            total_loss += loss.item()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad()
        ema.update_parameters(model)
        print(f"{step} loss: {total_loss:.4f}")
