"""A debugger that is opened by a line of a script that runs already."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd
from gradstep.values.views import GraphView, LookGraph, LookWhy, WhyView

torch.manual_seed(0)
X, NET = torch.randn(8, 3), nn.Linear(3, 1)


def freed() -> object:
    loss = NET(X).pow(2).mean()
    loss.backward()
    return loss


def number() -> object:
    return float(freed().detach())


def alive() -> object:
    return NET(X).pow(2).mean()


CASES: dict[Callable[[], object], str] = {
    freed: "was computed before this line, where gradstep begins to watch; a backward has freed its graph.",
    number: "was computed before this line, where gradstep begins to watch; it has no graph.",
    alive: "forward computed the loss and built its graph. What else it wrote is unknown: nothing was recorded then.",
    lambda: None: "gradstep watches the script from this line on.",
}


@pytest.mark.parametrize("before", CASES)
def test_the_loss_from_before_it_was_opened_is_shown_with_what_became_of_its_graph(
    before: Callable[[], object],
) -> None:
    session = ScriptSession()

    def script() -> None:
        loss = before()
        frame = sys._getframe()
        watching = session.attach("train.py", frame)
        session.show_loss(None, frame)
        watching.stops.stop_here("set_trace")
        NET(X).sum().backward()
        del loss

    thread = threading.Thread(target=script, daemon=True)
    thread.start()
    session.joined()
    why, graph = session.look(LookWhy(), LookGraph())
    assert isinstance(why, WhyView)
    assert why.sentence.endswith(CASES[before])
    assert (session.stop.loss is None) == (before() is None)
    assert (isinstance(graph, GraphView) and bool(graph.rows)) == (before in (freed, alive))
    session.execute(cmd.Forward())
    (why,) = session.look(LookWhy())
    assert isinstance(why, WhyView)
    assert why.sentence.startswith("forward computed the loss")
    session.close()
    thread.join(30)
