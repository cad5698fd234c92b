"""Held out, healthy: generative and self-supervised recipes."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from checks.corpus import healthy
from checks.made import blobs, loader, mlp, pictures, tokens


def ring(count):
    angle = 6.28 * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * torch.randn(count, 2)


@healthy
def vae_with_a_summed_loss():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.mu, self.logvar = nn.Linear(64, 32), nn.Linear(32, 4), nn.Linear(32, 4)
            self.fc3, self.fc4 = nn.Linear(4, 32), nn.Linear(32, 64)

        def forward(self, x):
            h = F.relu(self.fc1(x))
            mu, logvar = self.mu(h), self.logvar(h)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mu, logvar

    model = VAE()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        train_loss = 0.0
        for x, _ in loader(*pictures()):
            x = x.view(-1, 64)
            recon, mu, logvar = model(x)
            bce = F.binary_cross_entropy(recon, x, reduction="sum")
            loss = bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            opt.zero_grad()
            loss.backward()
            train_loss += loss.item()
            opt.step()


@healthy
def dcgan_as_in_the_tutorial():
    g = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh())
    d = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())
    opt_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    opt_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCELoss()
    for _ in range(12):
        for x, _ in loader(*pictures()):
            real = 2 * x.flatten(1) - 1
            d.zero_grad()
            label = torch.full((len(real),), 1.0)
            err_real = criterion(d(real).view(-1), label)
            err_real.backward()
            fake = g(torch.randn(len(real), 8))
            label.fill_(0.0)
            err_fake = criterion(d(fake.detach()).view(-1), label)
            err_fake.backward()
            opt_d.step()
            g.zero_grad()
            label.fill_(1.0)
            criterion(d(fake).view(-1), label).backward()
            opt_g.step()


@healthy
def wgan_gp():
    g, d = mlp(4, 32, 2), mlp(2, 32, 1, act=nn.LeakyReLU)
    opt_g = torch.optim.Adam(g.parameters(), lr=1e-3, betas=(0.0, 0.9))
    opt_d = torch.optim.Adam(d.parameters(), lr=1e-3, betas=(0.0, 0.9))
    for i in range(50):
        real, fake = ring(32), g(torch.randn(32, 4)).detach()
        alpha = torch.rand(32, 1)
        mixed = (alpha * real + (1 - alpha) * fake).requires_grad_()
        gradient = torch.autograd.grad(d(mixed).sum(), mixed, create_graph=True)[0]
        penalty = ((gradient.norm(2, dim=1) - 1) ** 2).mean()
        loss = d(fake).mean() - d(real).mean() + 10 * penalty
        opt_d.zero_grad()
        loss.backward()
        opt_d.step()
        if i % 5 == 4:
            opt_g.zero_grad()
            (-d(g(torch.randn(32, 4))).mean()).backward()
            opt_g.step()


@healthy
def wgan_with_weight_clipping():
    g, d = mlp(4, 32, 2), mlp(2, 32, 1)
    opt_g = torch.optim.RMSprop(g.parameters(), lr=5e-4)
    opt_d = torch.optim.RMSprop(d.parameters(), lr=5e-4)
    for _ in range(12):
        for _ in range(3):
            opt_d.zero_grad()
            (d(g(torch.randn(32, 4)).detach()).mean() - d(ring(32)).mean()).backward()
            opt_d.step()
            for p in d.parameters():
                p.data.clamp_(-0.1, 0.1)
        opt_g.zero_grad()
        (-d(g(torch.randn(32, 4))).mean()).backward()
        opt_g.step()


@healthy
def diffusion_step():
    model = mlp(3, 64, 64, 2, act=nn.SiLU)
    ema = copy.deepcopy(model).requires_grad_(False)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.2, 50), 0)
    for _ in range(60):
        x0, t = ring(64), torch.randint(0, 50, (64,))
        noise = torch.randn_like(x0)
        a = alpha_bar[t, None]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * noise
        loss = F.mse_loss(model(torch.cat([xt, t[:, None] / 50], dim=1)), noise)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            for slow, fast in zip(ema.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.01)


@healthy
def simclr_contrastive():
    encoder, projector = mlp(10, 64, 32), mlp(32, 32, 16)
    opt = torch.optim.SGD([*encoder.parameters(), *projector.parameters()], lr=0.1, momentum=0.9)
    x, _ = blobs(256)
    for _ in range(5):
        for batch in x[torch.randperm(256)].split(32):
            views = torch.cat([batch + 0.3 * torch.randn_like(batch), batch + 0.3 * torch.randn_like(batch)])
            z = F.normalize(projector(F.relu(encoder(views))), dim=1)
            similarity = z @ z.T / 0.5
            similarity = similarity.masked_fill(torch.eye(64, dtype=torch.bool), -1e9)
            target = torch.cat([torch.arange(32, 64), torch.arange(32)])
            opt.zero_grad()
            F.cross_entropy(similarity, target).backward()
            opt.step()


@healthy
def clip_style_two_towers():
    image, text = mlp(64, 32, 16), mlp(8, 32, 16)
    scale = nn.Parameter(torch.tensor(2.66))
    opt = torch.optim.AdamW([*image.parameters(), *text.parameters(), scale], lr=1e-3, weight_decay=0.0)
    x, _ = pictures(128, classes=16)
    caption = x.flatten(1) @ torch.randn(64, 8) / 8
    for _ in range(6):
        for xb, cb in loader(x, caption, drop_last=True):
            a, b = F.normalize(image(xb.flatten(1)), dim=-1), F.normalize(text(cb), dim=-1)
            logits = scale.exp() * a @ b.T
            labels = torch.arange(len(xb))
            loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def triplet_embedding():
    x, y = blobs()
    net = mlp(10, 32, 8)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = nn.TripletMarginLoss(margin=1.0)
    for _ in range(40):
        anchor = torch.randint(0, 128, (32,))
        positive = torch.stack([torch.nonzero(y == y[i])[torch.randint(0, 32, ())].squeeze() for i in anchor])
        negative = torch.stack([torch.nonzero(y != y[i])[torch.randint(0, 96, ())].squeeze() for i in anchor])
        loss = criterion(net(x[anchor]), net(x[positive]), net(x[negative]))
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def byol_with_a_target_network():
    online, predictor = mlp(10, 32, 16), mlp(16, 16, 16)
    target = copy.deepcopy(online)
    for p in target.parameters():
        p.requires_grad = False
    opt = torch.optim.Adam([*online.parameters(), *predictor.parameters()], lr=1e-3)
    x, _ = blobs()
    for _ in range(40):
        a, b = x + 0.2 * torch.randn_like(x), x + 0.2 * torch.randn_like(x)
        with torch.no_grad():
            goal = F.normalize(target(b), dim=1)
        loss = 2 - 2 * (F.normalize(predictor(online(a)), dim=1) * goal).sum(1).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.data = 0.99 * slow.data + 0.01 * fast.data


@healthy
def denoising_autoencoder():
    model = nn.Sequential(
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 8),
        nn.ReLU(),
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, 64),
        nn.Sigmoid(),
    )
    opt = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    for _ in range(12):
        for x, _ in loader(*pictures()):
            x = x.view(len(x), -1)
            noisy = (x + 0.1 * torch.randn_like(x)).clamp(0, 1)
            opt.zero_grad()
            F.mse_loss(model(noisy), x).backward()
            opt.step()


@healthy
def vector_quantised_autoencoder():
    encoder, decoder, codes = mlp(64, 32, 8), mlp(8, 32, 64), nn.Embedding(32, 8)
    nn.init.uniform_(codes.weight, -1 / 32, 1 / 32)
    opt = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), *codes.parameters()], lr=2e-3)
    for _ in range(12):
        for x, _ in loader(*pictures()):
            x = x.flatten(1)
            z = encoder(x)
            q = codes(torch.cdist(z, codes.weight).argmin(1))
            loss = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
            straight = z + (q - z).detach()
            loss = loss + F.mse_loss(decoder(straight), x)
            opt.zero_grad()
            loss.backward()
            opt.step()


@healthy
def normalising_flow():
    scale_net, shift_net = mlp(1, 16, 1, act=nn.Tanh), mlp(1, 16, 1, act=nn.Tanh)
    opt = torch.optim.Adam([*scale_net.parameters(), *shift_net.parameters()], lr=5e-3)
    for _ in range(50):
        x = ring(64)
        a, b = x[:, :1], x[:, 1:]
        log_s = scale_net(a)
        z = torch.cat([a, (b - shift_net(a)) * torch.exp(-log_s)], dim=1)
        loss = 0.5 * (z**2).sum(1).mean() + log_s.mean()
        opt.zero_grad()
        loss.backward()
        opt.step()


@healthy
def masked_language_model():
    embed = nn.Embedding(21, 32)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    out = nn.Linear(32, 20)
    model = nn.ModuleList([embed, encoder, out])
    opt = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.0)
    data = tokens()
    for _ in range(10):
        for ids in data.split(16):
            hidden = torch.rand(ids.shape) < 0.3
            labels = ids.masked_fill(~hidden, -100)
            logits = out(encoder(embed(ids.masked_fill(hidden, 20))))
            opt.zero_grad()
            F.cross_entropy(logits.view(-1, 20), labels.view(-1)).backward()
            opt.step()


@healthy
def sequence_to_sequence_with_padding():
    enc, dec = nn.GRU(16, 32, batch_first=True), nn.GRU(16, 32, batch_first=True)
    embed, out = nn.Embedding(20, 16, padding_idx=0), nn.Linear(32, 20)
    model = nn.ModuleList([enc, dec, embed, out])
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    data = tokens().clamp(min=1)
    for row, length in enumerate(torch.randint(6, 13, (64,))):
        data[row, length:] = 0
    for _ in range(8):
        for ids in data.split(16):
            _, state = enc(embed(ids))
            logits = out(dec(embed(ids[:, :-1]), state)[0])
            opt.zero_grad()
            criterion(logits.transpose(1, 2), ids[:, 1:]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()


@healthy
def cycle_gan_with_an_identity_loss():
    ab, ba = mlp(2, 24, 2), mlp(2, 24, 2)
    da, db = mlp(2, 16, 1, act=nn.LeakyReLU), mlp(2, 16, 1, act=nn.LeakyReLU)
    opt_g = torch.optim.Adam([*ab.parameters(), *ba.parameters()], lr=2e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam([*da.parameters(), *db.parameters()], lr=1e-3, betas=(0.5, 0.999))
    for _ in range(40):
        a, b = ring(32), ring(32) * 0.5 + 1
        for p in [*da.parameters(), *db.parameters()]:
            p.requires_grad_(False)
        opt_g.zero_grad()
        fake_b, fake_a = ab(a), ba(b)
        loss_g = F.mse_loss(db(fake_b), torch.ones(32, 1)) + F.mse_loss(da(fake_a), torch.ones(32, 1))
        loss_g = loss_g + 10 * (F.l1_loss(ba(fake_b), a) + F.l1_loss(ab(fake_a), b))
        loss_g.backward()
        opt_g.step()
        for p in [*da.parameters(), *db.parameters()]:
            p.requires_grad_(True)
        opt_d.zero_grad()
        for judge, real, fake in ((da, a, fake_a), (db, b, fake_b)):
            loss = F.mse_loss(judge(real), torch.ones(32, 1)) + F.mse_loss(judge(fake.detach()), torch.zeros(32, 1))
            (0.5 * loss).backward()
        opt_d.step()
