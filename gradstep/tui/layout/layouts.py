"""The registry of panels, and the layouts for each size class; `plan.py` turns one into placements.

To add a panel, write its class in `panels/`, add a line to `REGISTRY` and a key to `keys/table/panels.py`. It is then a
guest (`*` below) in every layout, visible once it is focused. To give it a slot, or tabs other than the guests, add its
name to a slot in `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradstep.tui.layout.columns import Layout, column, rest
from gradstep.tui.layout.script_layouts import SCRIPT, SCRIPT_INSIDE
from gradstep.tui.panels.batch import BatchPanel
from gradstep.tui.panels.breakpoints import BreakpointsPanel
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.contributions import ContributionsPanel
from gradstep.tui.panels.findings import FindingsPanel
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.inside import InsidePanel
from gradstep.tui.panels.jtv.panel import JtvPanel
from gradstep.tui.panels.layers import LayersPanel
from gradstep.tui.panels.ledger import LedgerPanel
from gradstep.tui.panels.log import LogPanel
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.optimizer import OptimizerPanel
from gradstep.tui.panels.output import OutputPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.script import ScriptPanel
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.panels.stack import StackPanel
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
    "stack": StackPanel,
    "output": OutputPanel,
    "findings": FindingsPanel,
}
"""Every panel by name, which is also the id of the key that focuses it; `tab` cycles through them in this order."""
PANELS: tuple[str, ...] = tuple(REGISTRY)

GUESTS = "*"
ABOUT_INSIDE: frozenset[str] = frozenset({"inside", "jtv", "contributions", "source", "breakpoints"})
"""Guests with a tab at a stop inside a phase; between phases only after they had the focus."""
ABOUT_LOOPS: frozenset[str] = frozenset({"loss", "layers", "optimizer", "batch"})
"""The converse: guests with a tab between phases, which show nothing new before a phase ends."""
ABOUT_TIME: frozenset[str] = frozenset({"timeline", "compare", "findings"})
"""Guests with a tab only after they had the focus."""


_GRAPHS, _TENSORS = "1 graph *", "1 tensor batch"
_RECORDS = ("16 script", "12 optimizer", "20 layers", "9 output log")
_TREE = ("3 model", "2 loss", "1 ledger")

LAYOUTS: dict[str, Layout] = {
    "learn": Layout(
        focus="tensor",
        narrow=(rest("1 script tensor * model"),),
        slim=(column(0.385, 34, 46, "1 model"), rest("10 tensor *", "7 script output ledger")),
        roomy=(column(0.385, 38, 60, "12 model", "16 script"), rest("16 tensor *", "11 output ledger")),
        wide=(
            column(0.28, 38, 64, "3 model", "3 script", "2 loss"),
            column(0.42, 38, 96, "4 tensor *", "3 output ledger"),
            rest("4 graph", "3 batch"),
        ),
        matrix=(
            column(0.28, 38, 64, "3 model", "3 script", "2 loss"),
            column(0.5, 38, 130, "4 tensor *", "3 output ledger"),
            rest("4 graph", "3 batch"),
        ),
    ),
    "inspect": Layout(
        focus="tensor",
        narrow=(rest("1 script tensor * model"),),
        slim=(column(0.385, 34, 46, "1 model"), rest("1 script tensor *")),
        roomy=(
            column(0.385, 38, 60, "11 model", "9 loss", "6 output ledger log"),
            rest("14 script graph *", "13 tensor batch"),
        ),
        wide=(column(0.28, 38, 64, *_TREE), column(0.42, 38, 96, _GRAPHS, _TENSORS), rest(*_RECORDS)),
        matrix=(column(0.28, 38, 64, *_TREE), column(0.5, 38, 130, _GRAPHS, _TENSORS), rest(*_RECORDS)),
    ),
    "train": Layout(
        focus="loss",
        narrow=(rest("1 script loss *"),),
        slim=(rest("8 loss", "9 script layers *"),),
        roomy=(
            column(0.45, 38, 80, "9 loss", "4 findings", "6 output log"),
            rest("10 script layers *", "6 optimizer"),
        ),
        wide=(
            column(0.36, 38, 90, "3 loss", "2 output log"),
            column(0.36, 38, 90, "3 layers", "2 optimizer batch"),
            rest("2 script model", "3 tensor *", "2 findings"),
        ),
    ),
}
"""The layouts, in the order of their keys."""

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
                rest("2 script", "1 ledger", "1 output log"),
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
                rest("3 inside", "3 output ledger", "2 breakpoints"),
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
                rest("3 script", "3 inside", "3 ledger", "2 output log"),
            ),
        ),
    },
}
"""Layouts at a stop inside a phase, which replace those of the same name."""


def layout_of(name: str, phase: str, training_script: bool = False) -> Layout:
    """Return a layout by name.

    Args:
        name: the name; inside a phase *train* becomes *inspect*.
        phase: the phase that the stop is inside; empty between phases.
        training_script: True for those of a training script.
    """
    if training_script:
        return SCRIPT_INSIDE.get(phase, SCRIPT[name])
    inside = INSIDE.get(phase)
    return LAYOUTS[name] if inside is None else inside.get(name, inside["inspect"])


_ASKED = 3
"""How many recently focused panels keep their tab, whatever they are about."""


def hidden_guests(inside: bool, recent: Sequence[str], training_script: bool = False) -> frozenset[str]:
    """Return the guests without a tab here; recently focused ones keep theirs."""
    about = ABOUT_TIME | (ABOUT_LOOPS if inside else ABOUT_INSIDE)
    return (about - {"source"} if training_script else about).difference(recent[:_ASKED])
