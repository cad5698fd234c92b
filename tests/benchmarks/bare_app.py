"""The yardstick of the keys: a Textual app that makes the torch call itself and paints a screen given to it.

    python bare_app.py FRAMES.json (text | colour) (notebook | gpt2)

FRAMES.json holds a list of screens; each key makes its call and shows the next of them: f, b, s and z a phase, o one
node of a backward that i began and c ends.
"""

from __future__ import annotations

import heapq
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App, ComposeResult
from textual.strip import Strip
from textual.widget import Widget
from torch import nn

Loss = Callable[[], torch.Tensor]


def notebook() -> tuple[Loss, torch.optim.Optimizer]:
    """Build the network of the course notebook, as the example `mlp` does."""
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x, ideal_output = torch.randn(16, 784), torch.randn(16, 10)
    return lambda: (ideal_output - model(x)).pow(2).sum(), torch.optim.SGD(model.parameters(), lr=0.001)


def gpt2() -> tuple[Loss, torch.optim.Optimizer]:
    """Build GPT-2 as the benchmark's workload does."""
    from gpt2_workload import RATE, build, loss_of

    model, tokens = build()
    return lambda: loss_of(model, tokens), torch.optim.SGD(model.parameters(), lr=RATE)


class Walk:
    """Has the nodes of a graph compute one by one, in the order in which torch's engine would."""

    def __init__(self, root: torch.autograd.graph.Node, gradient: torch.Tensor) -> None:
        self._arrived = {root: [gradient]}
        self._waits: dict[torch.autograd.graph.Node, int] = {}
        met, rest = {root}, [root]
        while rest:
            for node, _ in rest.pop().next_functions:
                if node is not None:
                    self._waits[node] = self._waits.get(node, 0) + 1
                    if node not in met:
                        met.add(node)
                        rest.append(node)
        self._ready = [(0, 0, root)]

    def step(self) -> None:
        """Have the next node compute, and hand on what comes out."""
        _, _, node = heapq.heappop(self._ready)
        came = node(*self._arrived.pop(node))
        leaves = came if isinstance(came, tuple) else (came,)
        for (following, place), gradient in zip(node.next_functions, leaves, strict=False):
            if following is None:
                continue
            # a node may give the gradient of a broadcast; the engine sums it to what was broadcast
            gradient = gradient.sum_to_size(following._input_metadata[place].shape)
            inputs = self._arrived.setdefault(following, [])
            inputs += [None] * (place + 1 - len(inputs))
            inputs[place] = gradient if inputs[place] is None else inputs[place] + gradient
            self._waits[following] -= 1
            if not self._waits[following]:
                heapq.heappush(self._ready, (-following._sequence_nr(), id(following), following))


Line = list[tuple[str, Style]]
"""Words and their style, one after the other."""


class Painting(Widget):
    """Paints lines that it is given, by Textual's line API: the words are known, the strips are made when painted."""

    DEFAULT_CSS = "Painting { width: 100%; height: 100%; }"
    lines: list[Line]

    def render_line(self, y: int) -> Strip:
        """Return a line as it is to be painted."""
        return Strip([Segment(words, style) for words, style in self.lines[y]])


class BareApp(App[None]):
    """One widget as large as the screen."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, screens: list[list[Line]], compute: Loss, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.screens = iter(screens)
        self.compute, self.optimizer = compute, optimizer
        self.loss = torch.tensor(0.0)

    def compose(self) -> ComposeResult:
        """Show the first screen."""
        painting = Painting()
        painting.lines = next(self.screens)
        yield painting

    def on_key(self, event: events.Key) -> None:
        """Make the key's call in this very process, then show the next screen."""
        match event.key:
            case "f":
                self.loss = self.compute()
                self.loss.item()
            case "b":
                self.loss.backward()
            case "s":
                self.optimizer.step()
            case "z":
                self.optimizer.zero_grad()
            case "i":
                self.walk = Walk(self.loss.grad_fn, torch.ones_like(self.loss))
            case "o":
                self.walk.step()
            case "c":
                pass
            case _:
                return
        painting = self.query_one(Painting)
        painting.lines = next(self.screens)
        painting.refresh()


def painted(lines: list[list[list[object]]], colour: bool) -> list[Line]:
    """Return a screen line by line, with its colours or without; no style is parsed while a key is measured."""
    if not colour:
        return [[("".join(str(run[0]) for run in runs), Style())] for runs in lines]
    return [[(str(words), Style.parse(style(*looks))) for words, *looks in runs] for runs in lines]


def style(foreground: object, background: object, bold: object) -> str:
    """Write a run's looks as a Rich style."""
    words = ["bold"] if bold else []
    words += [f"#{foreground}"] if is_hex(foreground) else []
    words += [f"on #{background}"] if is_hex(background) else []
    return " ".join(words) or "none"


def is_hex(colour: object) -> bool:
    """Tell a colour in hexadecimal from a name such as `default`."""
    return len(str(colour)) == 6 and all(c in "0123456789abcdef" for c in str(colour))


if __name__ == "__main__":
    frames = json.loads(Path(sys.argv[1]).read_text())
    torch.manual_seed(0)
    made = {"notebook": notebook, "gpt2": gpt2}[sys.argv[3]]()
    BareApp([painted(lines, colour=sys.argv[2] == "colour") for lines in frames], *made).run()
