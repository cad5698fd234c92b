"""A tiny transformer predicts the next letter. A schedule changes AdamW's lr after every step: warmup, then decay."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradstep.workload import Workload

TEXT = """Forward goes the number, layer by layer on;
backward comes the blame for it when the number's wrong.
Step moves every weight a little down the slope;
zero clears the slate, and so begins the next small hope."""
LETTERS = sorted(set(TEXT))
CONTEXT, WIDTH, HEADS = 16, 32, 4


class Gpt(nn.Module):
    """Letter and position embeddings, one block of attention and MLP, and a linear layer to logits."""

    def __init__(self) -> None:
        super().__init__()
        self.letter = nn.Embedding(len(LETTERS), WIDTH)
        self.place = nn.Embedding(CONTEXT, WIDTH)
        self.ask = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH))
        self.tell = nn.Linear(WIDTH, WIDTH)
        self.think = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH))
        self.head = nn.Linear(WIDTH, len(LETTERS))

    def forward(self, letters: Tensor) -> Tensor:
        """Map letters (batch, context) to logits of each one's successor (batch, alphabet, context)."""
        x = self.letter(letters) + self.place.weight
        query, key, value = self.ask(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.tell(attended.transpose(1, 2).flatten(2))
        return torch.transpose(self.head(x + self.think(x)), 1, 2)


def lr_factor(step: int, warm_up: int = 10, end: int = 300) -> float:
    """Return the factor that lr is multiplied by: a linear warmup, then half a cosine down to 0."""
    warm, late = (step + 1) / warm_up, (step - warm_up) / (end - warm_up)
    return warm if step < warm_up else 0.5 + 0.5 * math.cos(math.pi * min(1.0, late))


def workload() -> Workload:
    """Build the model; a batch is eight random windows of the text, and the same windows shifted by one letter."""
    text = torch.tensor([LETTERS.index(letter) for letter in TEXT])

    def batch() -> tuple[Tensor, Tensor]:
        pieces = torch.stack([text[i : i + CONTEXT + 1] for i in torch.randint(len(text) - CONTEXT, (8,)).tolist()])
        return pieces[:, :-1], pieces[:, 1:]

    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lr_factor)
    return Workload(
        model, functional.cross_entropy, optimizer, batch, schedulers=schedule, show="ask.1.weight[0:8, 0:8]"
    )
