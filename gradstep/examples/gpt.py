"""A tiny transformer learns which letter comes next. The schedule moves AdamW's lr after every step: up, then down."""

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
    """Letter and place become one vector; a block attends, then thinks; a linear layer names the next letter."""

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
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)  # never the letters to come
        x = x + self.tell(seen.transpose(1, 2).flatten(2))
        return torch.transpose(self.head(x + self.think(x)), 1, 2)


def lr_factor(step: int, warm_up: int = 10, end: int = 300) -> float:
    """Return what lr is multiplied by: up in a line while it warms up, then down along half a cosine."""
    warm, late = (step + 1) / warm_up, (step - warm_up) / (end - warm_up)
    return warm if step < warm_up else 0.5 + 0.5 * math.cos(math.pi * min(1.0, late))


def workload() -> Workload:
    """Build the model; a batch is eight pieces of the text from anywhere, and the same pieces one letter on."""
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
