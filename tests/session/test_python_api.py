"""The views by name, as shown at a prompt and in a notebook."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradstep.session.local import Session
from gradstep.values.commands import Show
from gradstep.values.expressions import Index, Name, Number, Span
from gradstep.values.views import (
    LookTensor,
    LookWhy,
    LossView,
    ModelView,
    NoView,
    TensorView,
    WhyView,
)
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.ledger import LedgerView, LookLedger
from gradstep.values.views.training import BatchView, LayersView, OptimizerView
from gradstep.workload import Workload


@pytest.fixture
def session() -> Session:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    return Session(
        Workload(
            model,
            loss=lambda out, target: (target - out).pow(2).sum(),
            optimizer=torch.optim.SGD(model.parameters(), 0.01),
            batches=[(torch.randn(4, 6), torch.randn(4, 3))],
            show="2.weight[0, 0:4]",
        )
    )


def test_show_selects_and_returns_the_view_that_a_look_gives(session: Session) -> None:
    view = session.show("2.weight[1, 0:3]", columns=4)
    assert isinstance(view, TensorView)
    row = Index(Name("2.weight"), (Number(1), Span(Number(0), Number(3))))
    assert session.log == [Show(row)]
    assert (view,) == session.look(LookTensor(16, 4))
    assert view.row_labels == ("0", "1", "2")
    lines = repr(view).splitlines()
    assert lines[0] == "Tensor   2.weight[1, 0:3]  of 3×5, float32"
    assert lines[1].split() == ["weight", ".grad"]
    assert "none" in lines[2]


def test_show_without_a_name_is_about_what_is_selected_or_what_the_workload_asks_for(session: Session) -> None:
    opening = session.show()
    assert isinstance(opening, TensorView)
    assert opening.name == "2.weight[0, 0:4]"
    assert session.log == []
    session.show("0.weight")
    scrolled = session.show(rows=2, columns=3, top=1, left=2)
    assert isinstance(scrolled, TensorView)
    assert (scrolled.row_labels, scrolled.column_labels) == (("1", "2"), ("2", "3", "4"))


@pytest.mark.parametrize(
    ("what", "word"), [("3.weight", "Did you mean `2.weight`"), ("2.weight[", "is not the name"), ("2", "")]
)
def test_what_cannot_be_shown_is_reported_and_selects_nothing(session: Session, what: str, word: str) -> None:
    refused = session.show(what)
    assert isinstance(refused, NoView)
    assert word in refused.why
    assert repr(refused).startswith("nothing to show\n  ")
    assert session.log == []


def test_each_view_has_a_method(session: Session) -> None:
    session.forward()
    session.backward()
    made = {
        GraphView: session.graph(),
        WhyView: session.why(),
        LedgerView: session.ledger(),
        ModelView: session.model(),
        LayersView: session.layers(),
        LossView: session.loss(),
        OptimizerView: session.optimizer(),
        BatchView: session.batch(),
    }
    assert all(isinstance(view, kind) for kind, view in made.items())
    assert (made[GraphView],) == session.look(LookGraph())
    assert (made[WhyView],) == session.look(LookWhy())
    assert (made[LedgerView],) == session.look(LookLedger())
    assert session.log[-1].__class__.__name__ == "Backward"


def test_the_ledger_has_every_backward_though_nobody_looked_before(session: Session) -> None:
    for _ in range(3):
        session.forward()
        session.backward()
    view = session.ledger((0, 2))
    assert isinstance(view, LedgerView)
    assert [row.text for row in view.rows if row.kind == "backward"] == ["backward 1", "backward 2", "backward 3"]
    assert all(row.amount is not None for row in view.rows if row.kind == "backward")
    assert repr(view).splitlines()[-1].split()[:2] == ["=", ".grad"]


def test_zeros_and_updates_are_known_though_nobody_looked_before(session: Session) -> None:
    for act in (session.forward, session.backward, session.step, session.zero_grad):
        assert act().ok
    view = session.layers()
    assert isinstance(view, LayersView)
    assert [row.zeros is not None for row in view.rows if row.type == "ReLU"] == [True]
    assert all(row.ratio for row in view.rows if row.type == "Linear")


def test_why_is_about_an_element_and_shows_its_formulas(session: Session) -> None:
    session.forward()
    session.backward()
    view = session.why((2, 1))
    assert isinstance(view, WhyView)
    assert view.element == "2.weight.grad[2, 1]"
    assert "w − lr · .grad" in repr(view)
    assert view.lines[-1].result in view._repr_html_()


def test_before_anything_is_loaded_every_view_says_so() -> None:
    empty = Session()
    for view in (empty.show(), empty.graph(), empty.why(), empty.model(), empty.loss(), empty.batch()):
        assert view == NoView(0, "nothing is loaded yet")


def test_a_workload_whose_opening_is_not_a_selection_can_still_be_shown() -> None:
    model = nn.Linear(2, 1)
    session = Session(
        Workload(
            model,
            nn.functional.mse_loss,
            torch.optim.SGD(model.parameters(), 0.1),
            [(torch.ones(1, 2), torch.ones(1, 1))],
            show="1 + 2",
        )
    )
    assert isinstance(session.model(), ModelView)
