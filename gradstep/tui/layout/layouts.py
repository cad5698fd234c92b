"""The panels there are, and where each stands in each layout and size class. How a plan is made of it: `places.py`.

To add a panel, write its class in `panels/`, add a line to `REGISTRY` and a key to `keys/table/panels.py`: it is then a
guest (`*` below) in every layout, seen when it is asked for. To give it a place that it keeps, or one that it shares
with others than the guests, add its name to a slot in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradstep.tui.panels.batch import BatchPanel
from gradstep.tui.panels.breakpoints import BreakpointsPanel
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.contributions import ContributionsPanel
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.inside import InsidePanel
from gradstep.tui.panels.jtv.panel import JtvPanel
from gradstep.tui.panels.layers import LayersPanel
from gradstep.tui.panels.ledger import LedgerPanel
from gradstep.tui.panels.log import LogPanel
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.optimizer import OptimizerPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.script import ScriptPanel
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.panels.tensor.panel import TensorPanel
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.tui.panels.why import WhyPanel

REGISTRY: dict[str, Callable[[], Panel[Any]]] = {
    "tensor": TensorPanel,
    "graph": GraphPanel,
    "loss": LossPanel,
    "log": LogPanel,
    "model": ModelPanel,
    "why": WhyPanel,
    "script": ScriptPanel,
    "layers": LayersPanel,
    "optimizer": OptimizerPanel,
    "batch": BatchPanel,
    "ledger": LedgerPanel,
    "inside": InsidePanel,
    "jtv": JtvPanel,
    "contributions": ContributionsPanel,
    "source": SourcePanel,
    "breakpoints": BreakpointsPanel,
    "timeline": TimelinePanel,
    "compare": ComparePanel,
}
"""Every panel by its name, which is also the id of the key that focuses it; `tab` goes through them in this order."""
PANELS: tuple[str, ...] = tuple(REGISTRY)

GUESTS = "*"
ABOUT_INSIDE: frozenset[str] = frozenset({"inside", "jtv", "contributions", "source", "breakpoints"})
"""Guests that are seen at a stop inside a phase; between phases only once they have been asked for."""
ABOUT_LOOPS: frozenset[str] = frozenset({"loss", "layers", "optimizer", "batch"})
"""The other way round: those that say nothing new before the phase has ended."""
ABOUT_TIME: frozenset[str] = frozenset({"timeline", "compare"})
"""Guests that are seen once they have been asked for, at any stop."""


class Slot(NamedTuple):
    """A place in a column: how much of the height it gets beside the others, and who takes turns in it."""

    weight: int
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """What its size is remembered by: its first panel that is always there."""
        return next((name for name in self.names if name != "script"), "script")


class Column(NamedTuple):
    """A column: its share of the width, the least and the most cells of it, and its slots from the top."""

    share: float
    least: int
    most: int
    slots: tuple[Slot, ...]


def column(share: float, least: int, most: int, *slots: str) -> Column:
    """Read a column, each slot written as its weight and the names of its panels, the one seen first in front."""
    rows = [slot.split() for slot in slots]
    return Column(share, least, most, tuple(Slot(int(weight), tuple(names)) for weight, *names in rows))


def rest(*slots: str) -> Column:
    """Read a column that takes the width that the others leave."""
    return column(1.0, 1, 1 << 20, *slots)


class Layout(NamedTuple):
    """One way to use the screen: its columns for each size class, and the panel that has the focus at first.

    *Narrow* is a screen below 70 columns, *slim* one below 100 columns or 34 rows, *wide* one of 170 columns or more.
    Why stands above the columns in all of them. A panel that no slot names takes turns with the others at `*`; a
    script that is open stands where `script` is, and without one that name, and a slot of it alone, is not there.
    """

    focus: str
    narrow: tuple[Column, ...]
    slim: tuple[Column, ...]
    roomy: tuple[Column, ...]
    wide: tuple[Column, ...]
    matrix: tuple[Column, ...] = ()
    """In place of `wide` where Tensor shows a matrix, which needs the room that others can spare."""


_GRAPHS, _TENSORS = "1 graph *", "1 tensor batch"
_RECORDS = ("16 script", "12 optimizer", "20 layers", "9 log")
_TREE = ("3 model", "2 loss", "1 ledger")

LAYOUTS: dict[str, Layout] = {
    "learn": Layout(
        focus="tensor",
        narrow=(rest("1 script tensor * model"),),
        slim=(column(0.385, 34, 46, "1 model"), rest("10 tensor *", "7 script ledger")),
        roomy=(column(0.385, 38, 60, "12 model", "16 script"), rest("16 tensor *", "11 ledger")),
        wide=(
            column(0.28, 38, 64, "3 model", "3 script", "2 loss"),
            column(0.42, 38, 96, "4 tensor *", "3 ledger"),
            rest("4 graph", "3 batch"),
        ),
        matrix=(
            column(0.28, 38, 64, "3 model", "3 script", "2 loss"),
            column(0.5, 38, 130, "4 tensor *", "3 ledger"),
            rest("4 graph", "3 batch"),
        ),
    ),
    "inspect": Layout(
        focus="tensor",
        narrow=(rest("1 script tensor * model"),),
        slim=(column(0.385, 34, 46, "1 model"), rest("1 script tensor *")),
        roomy=(
            column(0.385, 38, 60, "11 model", "9 loss", "6 ledger log"),
            rest("14 script graph *", "13 tensor batch"),
        ),
        wide=(column(0.28, 38, 64, *_TREE), column(0.42, 38, 96, _GRAPHS, _TENSORS), rest(*_RECORDS)),
        matrix=(column(0.28, 38, 64, *_TREE), column(0.5, 38, 130, _GRAPHS, _TENSORS), rest(*_RECORDS)),
    ),
    "train": Layout(
        focus="loss",
        narrow=(rest("1 script loss *"),),
        slim=(rest("8 loss", "9 script layers *"),),
        roomy=(column(0.45, 38, 80, "9 loss", "7 log"), rest("10 script layers *", "6 optimizer")),
        wide=(
            column(0.36, 38, 90, "3 loss", "2 log"),
            column(0.36, 38, 90, "3 layers", "2 optimizer batch"),
            rest("2 script model", "3 tensor *"),
        ),
    ),
}
"""The layouts in the order of their keys."""

INSIDE: dict[str, dict[str, Layout]] = {
    "forward": {
        "learn": Layout(
            focus="inside",
            narrow=(rest("1 script inside tensor * model"),),
            slim=(column(0.385, 34, 46, "1 model"), rest("7 source", "10 script inside tensor *")),
            roomy=(column(0.385, 38, 60, "12 model", "12 script"), rest("13 source *", "15 inside tensor")),
            wide=(
                column(0.28, 38, 64, "3 model", "2 script"),
                column(0.42, 38, 96, "3 source", "3 inside tensor"),
                rest("2 breakpoints *"),
            ),
        ),
        "inspect": Layout(
            focus="inside",
            narrow=(rest("1 script inside tensor * model"),),
            slim=(column(0.385, 34, 46, "1 model"), rest("7 source", "10 script inside tensor *")),
            roomy=(column(0.385, 38, 60, "18 model", "8 breakpoints *"), rest("13 script source", "14 inside tensor")),
            wide=(
                column(0.28, 38, 64, "3 model", "1 breakpoints *"),
                column(0.42, 38, 96, "1 source", "1 inside tensor"),
                rest("2 script", "1 ledger", "1 log"),
            ),
        ),
    },
    "backward": {
        "learn": Layout(
            focus="jtv",
            narrow=(rest("1 script jtv inside tensor * model"),),
            slim=(column(0.45, 34, 46, "1 graph model"), rest("1 script jtv inside tensor *")),
            roomy=(
                column(0.385, 38, 60, "12 model", "8 script", "8 source *"),
                rest("13 graph", "15 jtv inside tensor"),
            ),
            wide=(
                column(0.28, 38, 64, "3 model", "2 script", "2 source *"),
                column(0.42, 38, 96, "3 graph", "3 jtv tensor"),
                rest("3 inside", "3 ledger", "2 breakpoints"),
            ),
        ),
        "inspect": Layout(
            focus="jtv",
            narrow=(rest("1 script jtv inside tensor * model"),),
            slim=(column(0.45, 34, 46, "1 graph model"), rest("1 script jtv inside tensor *")),
            roomy=(
                column(0.385, 38, 60, "11 model", "9 source", "6 breakpoints *"),
                rest("14 script graph", "14 jtv inside tensor"),
            ),
            wide=(
                column(0.28, 38, 64, "3 model", "2 source", "1 breakpoints *"),
                column(0.42, 38, 96, "3 graph", "4 jtv tensor"),
                rest("3 script", "3 inside", "3 ledger", "2 log"),
            ),
        ),
    },
}
"""Layouts at a stop inside a phase, in place of those of the same name: what is there, and not how training goes."""


def layout_of(name: str, phase: str) -> Layout:
    """Return the layout of a name: between phases (empty), or at a stop inside one; *train* is then *inspect*."""
    inside = INSIDE.get(phase)
    return LAYOUTS[name] if inside is None else inside.get(name, inside["inspect"])


_ASKED = 3
"""How many of the panels that had the focus last keep a name in the titles, whatever they are about."""


def hidden_guests(inside: bool, recent: Sequence[str]) -> frozenset[str]:
    """Return the guests that have nothing to say here; those that were asked for last (`recent`) stay."""
    return (ABOUT_TIME | (ABOUT_LOOPS if inside else ABOUT_INSIDE)).difference(recent[:_ASKED])
