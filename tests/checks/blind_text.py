"""Scripts that model, classify or translate text as pytorch/examples and bentrevett do, and mistakes in them."""

from __future__ import annotations

import argparse
import math
import random

import torch
from torch import nn, optim
from torch.nn import functional as F

from checks.corpus import broken, healthy
from checks.made import loader, tokens


class RNNModel(nn.Module):
    def __init__(self, ntoken=20, ninp=16, nhid=16, nlayers=2, dropout=0.2, tie_weights=True):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers = ntoken, nhid, nlayers
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = nn.LSTM(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, source, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(source)), hidden)
        decoded = self.decoder(self.drop(output)).view(-1, self.ntoken)
        return F.log_softmax(decoded, dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        shape = (self.nlayers, bsz, self.nhid)
        return weight.new_zeros(shape), weight.new_zeros(shape)


def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


def batchify(bsz, length=241):
    return tokens(bsz, length).t().contiguous()


def get_batch(source, i, bptt=12):
    seq_len = min(bptt, len(source) - 1 - i)
    return source[i : i + seq_len], source[i + 1 : i + 1 + seq_len].reshape(-1)


def evaluate(model, data_source, criterion):
    model.eval()
    total_loss, hidden = 0.0, model.init_hidden(data_source.size(1))
    with torch.no_grad():
        for i in range(0, data_source.size(0) - 1, 12):
            data, targets = get_batch(data_source, i)
            output, hidden = model(data, hidden)
            hidden = repackage_hidden(hidden)
            total_loss += len(data) * criterion(output, targets).item()
    return total_loss / (len(data_source) - 1)


@healthy
def word_language_model():
    """pytorch/examples word_language_model: SGD written out at lr 20, clip 0.25, lr quartered when nothing improves."""
    parser = argparse.ArgumentParser(description="PyTorch RNN Language Model")
    parser.add_argument("--lr", type=float, default=20)
    parser.add_argument("--clip", type=float, default=0.25)
    args = parser.parse_args([])
    train_data, val_data = batchify(16), batchify(8, 61)
    model, criterion = RNNModel(), nn.NLLLoss()
    lr, best_val_loss = args.lr, None
    for epoch in range(1, 4):
        model.train()
        total_loss, hidden = 0.0, model.init_hidden(16)
        for batch, i in enumerate(range(0, train_data.size(0) - 1, 12)):
            data, targets = get_batch(train_data, i)
            model.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
            for p in model.parameters():
                p.data.add_(p.grad, alpha=-lr)
            total_loss += loss.item()
            if batch % 10 == 0 and batch > 0:
                print(f"| epoch {epoch} | {batch} batches | lr {lr:.2f} | ppl {math.exp(total_loss / 10):8.2f}")
                total_loss = 0.0
        val_loss = evaluate(model, val_data, criterion)
        if not best_val_loss or val_loss < best_val_loss:
            best_val_loss = val_loss
        else:
            lr /= 4.0


@broken("clip-after-step", source="theneuralbase.com/pytorch/learn/intermediate/gradient-exploding-gradient-clipping")
def word_language_model_clipped_after_the_step():
    train_data, val_data = batchify(16), batchify(8, 61)
    model, criterion = RNNModel(), nn.NLLLoss()
    optimizer = optim.SGD(model.parameters(), lr=1.0)
    for _ in range(2):
        model.train()
        hidden = model.init_hidden(16)
        for i in range(0, train_data.size(0) - 1, 12):
            data, targets = get_batch(train_data, i)
            optimizer.zero_grad()
            hidden = repackage_hidden(hidden)
            output, hidden = model(data, hidden)
            loss = criterion(output, targets)
            loss.backward()
            optimizer.step()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        print(evaluate(model, val_data, criterion))


@broken(
    "graph-kept-across-iterations", source="github.com/GBLin5566/toward-controlled-generation-of-text-pytorch/issues/9"
)
def word_language_model_hidden_retained():
    train_data = batchify(16)
    model, criterion = RNNModel(), nn.NLLLoss()
    lr = 5.0
    model.train()
    hidden = model.init_hidden(16)
    for i in range(0, train_data.size(0) - 1, 12):
        data, targets = get_batch(train_data, i)
        model.zero_grad()
        output, hidden = model(data, hidden)
        loss = criterion(output, targets)
        loss.backward(retain_graph=True)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        for p in model.parameters():
            p.data.add_(p.grad, alpha=-lr)
        print(f"loss {loss.item():.3f}")


def reviews(count=192, length=10, vocabulary=30):
    """Return (count, length) tokens of which those below ten are of good reviews, and (count,) labels."""
    text = torch.randint(20, vocabulary, (count, length))
    label = torch.randint(0, 2, (count,))
    text[:, ::3] = torch.randint(0, 10, (count, len(range(0, length, 3)))) + 10 * (1 - label[:, None])
    return text, label.float()


def binary_accuracy(preds, y):
    return (torch.round(torch.sigmoid(preds)) == y).float().mean()


@healthy
def sentiment_cnn():
    """bentrevett/pytorch-sentiment-analysis, convolutional: filters of three sizes, max over time, Adam, BCE."""
    train_iterator, valid_iterator = loader(*reviews(), batch_size=32), loader(*reviews(64), batch_size=32)

    class CNN(nn.Module):
        def __init__(self, vocab_size, embedding_dim, n_filters, filter_sizes, pad_idx):
            super().__init__()
            self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_idx)
            self.convs = nn.ModuleList(nn.Conv2d(1, n_filters, (fs, embedding_dim)) for fs in filter_sizes)
            self.fc = nn.Linear(len(filter_sizes) * n_filters, 1)
            self.dropout = nn.Dropout(0.5)

        def forward(self, text):
            embedded = self.embedding(text).unsqueeze(1)
            conved = [F.relu(conv(embedded)).squeeze(3) for conv in self.convs]
            pooled = [F.max_pool1d(conv, conv.shape[2]).squeeze(2) for conv in conved]
            return self.fc(self.dropout(torch.cat(pooled, dim=1)))

    model = CNN(30, 20, 16, [2, 3, 4], 29)
    model.embedding.weight.data[29] = torch.zeros(20)
    optimizer, criterion = optim.Adam(model.parameters()), nn.BCEWithLogitsLoss()
    best_valid_loss = float("inf")
    for epoch in range(6):
        model.train()
        for text, label in train_iterator:
            optimizer.zero_grad()
            predictions = model(text).squeeze(1)
            loss = criterion(predictions, label)
            acc = binary_accuracy(predictions, label)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            valid_loss = sum(criterion(model(t).squeeze(1), y).item() for t, y in valid_iterator)
        best_valid_loss = min(best_valid_loss, valid_loss)
        print(f"Epoch: {epoch + 1:02} | Train Acc: {acc.item() * 100:.2f}% | Val. Loss: {valid_loss:.3f}")


@broken("sigmoid-before-bce-with-logits", source="github.com/yudi-mars/daisyRec/pull/15")
def sentiment_lstm_with_two_sigmoids():
    train_iterator = loader(*reviews(), batch_size=32)

    class RNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(30, 20)
            self.rnn = nn.LSTM(20, 16, batch_first=True, bidirectional=True)
            self.fc, self.act = nn.Linear(32, 1), nn.Sigmoid()

        def forward(self, text):
            _, (hidden, _) = self.rnn(self.embedding(text))
            return self.act(self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1)))

    model = RNN()
    optimizer, criterion = optim.Adam(model.parameters(), lr=0.005), nn.BCEWithLogitsLoss()
    for _ in range(6):
        model.train()
        for text, label in train_iterator:
            optimizer.zero_grad()
            loss = criterion(model(text).squeeze(1), label)
            loss.backward()
            optimizer.step()
        print(loss.item())


class Attention(nn.Module):
    def __init__(self, hid_dim, dim=1):
        super().__init__()
        self.attn, self.v, self.dim = nn.Linear(2 * hid_dim, hid_dim), nn.Linear(hid_dim, 1, bias=False), dim

    def forward(self, hidden, encoder_outputs):
        hidden = hidden.unsqueeze(1).expand(-1, encoder_outputs.shape[0], -1)
        outputs = encoder_outputs.permute(1, 0, 2)
        energy = torch.tanh(self.attn(torch.cat((hidden, outputs), dim=2)))
        return F.softmax(self.v(energy).squeeze(2), dim=self.dim)


class Seq2Seq(nn.Module):
    def __init__(self, vocab=20, emb=12, hid=24, dim=1):
        super().__init__()
        self.src_embedding, self.trg_embedding = nn.Embedding(vocab, emb), nn.Embedding(vocab, emb)
        self.encoder, self.decoder = nn.GRU(emb, hid), nn.GRU(emb + hid, hid)
        self.attention, self.fc_out = Attention(hid, dim), nn.Linear(2 * hid + emb, vocab)
        self.dropout = nn.Dropout(0.1)

    def forward(self, src, trg, teacher_forcing_ratio=0.5):
        outputs, hidden = self.encoder(self.dropout(self.src_embedding(src)))
        input, results = trg[0], []
        for t in range(1, trg.shape[0]):
            embedded = self.dropout(self.trg_embedding(input.unsqueeze(0)))
            a = self.attention(hidden[0], outputs).unsqueeze(1)
            weighted = torch.bmm(a, outputs.permute(1, 0, 2)).permute(1, 0, 2)
            output, hidden = self.decoder(torch.cat((embedded, weighted), dim=2), hidden)
            prediction = self.fc_out(torch.cat((output, weighted, embedded), dim=2)).squeeze(0)
            results.append(prediction)
            input = trg[t] if random.random() < teacher_forcing_ratio else prediction.argmax(1)
        return torch.stack(results)


def translate(model, iterations=48):
    for m in model.parameters():
        nn.init.uniform_(m.data, -0.08, 0.08)
    optimizer, criterion = optim.Adam(model.parameters()), nn.CrossEntropyLoss(ignore_index=0)
    model.train()
    epoch_loss = 0.0
    for _ in range(iterations):
        src = tokens(16, 7).t()
        trg = torch.cat([torch.zeros(1, 16, dtype=torch.long), src.flip(0)])
        optimizer.zero_grad()
        output = model(src, trg)
        loss = criterion(output.view(-1, 20), trg[1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        epoch_loss += loss.item()
    print(f"Train Loss: {epoch_loss / iterations:.3f}")


@healthy
def seq2seq_with_attention():
    """bentrevett/pytorch-seq2seq 3: uniform weights of 0.08, teacher forcing, clip 1, padding ignored."""
    translate(Seq2Seq())


@broken("softmax-over-batch", source="github.com/PetrochukM/PyTorch-NLP/issues/2")
def seq2seq_attention_over_the_batch():
    translate(Seq2Seq(dim=0))
