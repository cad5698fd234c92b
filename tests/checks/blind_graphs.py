"""Scripts over graphs as pytorch/examples and PyTorch Geometric have them, without the latter's package."""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import Adam

from checks.corpus import healthy


def citations(count=90, classes=3, words=24):
    """Return rows of words, classes, the adjacency matrix with loops, and a mask of the nodes to train on."""
    y = torch.arange(count) % classes
    same = y[:, None] == y[None]
    adj = (torch.rand(count, count) < torch.where(same, 0.15, 0.01)).float().triu(1)
    adj = adj + adj.t() + torch.eye(count)
    topics = torch.rand(classes, words) ** 3
    x = (torch.rand(count, words) < topics[y]).float()
    x = x / x.sum(1, keepdim=True).clamp(min=1)
    return x, y, adj, torch.rand(count) < 0.4


def normalised(adj):
    d = adj.sum(1).rsqrt()
    return d[:, None] * adj * d[None]


class GraphConv(nn.Module):
    def __init__(self, input_dim, output_dim, use_bias=False):
        super().__init__()
        self.kernel = nn.Parameter(torch.Tensor(input_dim, output_dim))
        nn.init.xavier_normal_(self.kernel)
        self.bias = None
        if use_bias:
            self.bias = nn.Parameter(torch.zeros(output_dim))

    def forward(self, input_tensor, adj_mat):
        output = torch.spmm(adj_mat, torch.mm(input_tensor, self.kernel))
        return output if self.bias is None else output + self.bias


class GCN(nn.Module):
    def __init__(self, input_dim, hidden_dim, output_dim, use_bias=True, dropout_p=0.1):
        super().__init__()
        self.gc1, self.gc2 = GraphConv(input_dim, hidden_dim, use_bias), GraphConv(hidden_dim, output_dim, use_bias)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input_tensor, adj_mat):
        x = self.dropout(F.relu(self.gc1(input_tensor, adj_mat)))
        return F.log_softmax(self.gc2(x, adj_mat), dim=1)


@healthy
def gcn():
    """pytorch/examples gcn/main.py: the whole graph a step, a sparse adjacency, masks, tested every epoch."""
    parser = argparse.ArgumentParser(description="PyTorch Graph Convolutional Network")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--l2", type=float, default=5e-4)
    args = parser.parse_args([])
    x, y, adj, train_mask = citations()
    adj = normalised(adj).to_sparse()
    model = GCN(24, 16, 3, dropout_p=0.5)
    optimizer, criterion = Adam(model.parameters(), lr=args.lr, weight_decay=args.l2), nn.NLLLoss()
    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        output = model(x, adj)
        loss = criterion(output[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            output = model(x, adj)
            acc = (output[~train_mask].argmax(dim=1) == y[~train_mask]).float().mean()
        if epoch % 20 == 0:
            print(f"Epoch: {epoch:04d} loss_train: {loss:.4f} acc_val: {acc:.4f}")


@healthy
def gat():
    """PyTorch Geometric examples/gat.py: two attention layers, dropout 0.6 on inputs and weights, Adam 0.005."""

    class GATConv(nn.Module):
        def __init__(self, in_channels, out_channels, heads):
            super().__init__()
            self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
            self.att_src = nn.Parameter(torch.empty(heads, out_channels))
            self.att_dst = nn.Parameter(torch.empty(heads, out_channels))
            self.bias = nn.Parameter(torch.zeros(heads * out_channels))
            for p in (self.lin.weight, self.att_src, self.att_dst):
                nn.init.xavier_uniform_(p)
            self.heads = heads

        def forward(self, x, adj):
            h = self.lin(x).view(len(x), self.heads, -1)
            scores = (h * self.att_src).sum(-1)[None] + (h * self.att_dst).sum(-1)[:, None]
            scores = F.leaky_relu(scores, 0.2).masked_fill(adj[:, :, None] == 0, float("-inf"))
            alpha = F.dropout(F.softmax(scores, dim=1), 0.6, training=self.training)
            return torch.einsum("ijh,jhc->ihc", alpha, h).flatten(1) + self.bias

    x, y, adj, train_mask = citations()
    conv1, conv2 = GATConv(24, 8, heads=4), GATConv(32, 3, heads=1)
    model = nn.ModuleList([conv1, conv2])
    optimizer = Adam(model.parameters(), lr=0.005, weight_decay=5e-4)
    best_val_acc = 0.0
    for epoch in range(50):
        model.train()
        optimizer.zero_grad()
        h = F.elu(conv1(F.dropout(x, p=0.6, training=True), adj))
        out = conv2(F.dropout(h, p=0.6, training=True), adj)
        loss = F.cross_entropy(out[train_mask], y[train_mask])
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            pred = conv2(F.elu(conv1(x, adj)), adj).argmax(-1)
        best_val_acc = max(best_val_acc, (pred == y)[~train_mask].float().mean().item())
        if epoch % 10 == 0:
            print(epoch, loss.item(), best_val_acc)


@healthy
def variational_graph_autoencoder():
    """PyTorch Geometric examples/autoencoder.py --variational: inner products, sampled non-edges, KL over N."""
    x, _, adj, _ = citations()
    a = normalised(adj)
    conv1, conv_mu, conv_logstd = GraphConv(24, 16, True), GraphConv(16, 8, True), GraphConv(16, 8, True)
    model = nn.ModuleList([conv1, conv_mu, conv_logstd])
    optimizer, n = Adam(model.parameters(), lr=0.01), len(x)
    row, col = (adj - torch.eye(n)).nonzero(as_tuple=True)
    for epoch in range(50):
        model.train()
        optimizer.zero_grad()
        h = conv1(x, a).relu()
        mu, logstd = conv_mu(h, a), conv_logstd(h, a).clamp(max=10)
        z = mu + torch.randn_like(logstd) * torch.exp(logstd)
        negative = torch.randint(0, n, (2, len(row)))
        pos_loss = -torch.log(torch.sigmoid((z[row] * z[col]).sum(1)) + 1e-15).mean()
        neg_loss = -torch.log(1 - torch.sigmoid((z[negative[0]] * z[negative[1]]).sum(1)) + 1e-15).mean()
        kl_loss = -0.5 * torch.mean(torch.sum(1 + 2 * logstd - mu**2 - logstd.exp() ** 2, dim=1))
        loss = pos_loss + neg_loss + (1 / n) * kl_loss
        loss.backward()
        optimizer.step()
        if epoch % 10 == 0:
            print(f"Epoch: {epoch:03d}, loss {loss.item():.4f}")


@healthy
def deep_graph_infomax():
    """PyTorch Geometric examples/infomax_transductive.py: real against shuffled nodes by a bilinear form, PReLU."""
    x, _, adj, _ = citations()
    a = normalised(adj)
    conv, prelu = GraphConv(24, 32, True), nn.PReLU(32)
    weight = nn.Parameter(torch.empty(32, 32).uniform_(-1 / 32**0.5, 1 / 32**0.5))
    optimizer = Adam([*conv.parameters(), *prelu.parameters(), weight], lr=0.001)
    for epoch in range(50):
        optimizer.zero_grad()
        pos_z = prelu(conv(x, a))
        neg_z = prelu(conv(x[torch.randperm(len(x))], a))
        summary = torch.sigmoid(pos_z.mean(dim=0))
        pos_loss = -torch.log(torch.sigmoid(pos_z @ (weight @ summary)) + 1e-15).mean()
        neg_loss = -torch.log(1 - torch.sigmoid(neg_z @ (weight @ summary)) + 1e-15).mean()
        loss = pos_loss + neg_loss
        loss.backward()
        optimizer.step()
        if epoch % 10 == 0:
            print(f"Epoch: {epoch:02d}, Loss: {loss.item():.4f}")
