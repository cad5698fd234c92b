"""Showing what a workload opens on selects nothing."""

from __future__ import annotations

from gradstep.session.local import Session
from gradstep.values.commands import Load
from gradstep.values.expressions import Name
from gradstep.values.views import LookModel, LookTensor


def test_an_opening_is_seen_until_something_is_selected_and_leaves_no_trace():
    session = Session()
    session.execute(Load("mlp", seed=0))
    assert session.look(LookTensor())[0].name == ""
    assert session.look(LookTensor(opening=Name("2.bias")))[0].name == "2.bias"
    view, model = session.look(LookTensor(), LookModel())
    assert view.name == ""
    assert not any(row.selected for row in model.rows)
    assert session.log == [Load("mlp", seed=0)]
