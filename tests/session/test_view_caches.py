"""At one stop, measurements are made once for a screen, however often it scrolls, and each time for a program."""

from __future__ import annotations

import pytest

from gradstep.session import inspector as room
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Forward, Load, Show
from gradstep.values.expressions import Name
from gradstep.values.views import LookModel, LookTensor, LookWhy
from gradstep.values.views.ledger import LookLedger


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grow by one whenever everything is compared with what it was before the last phase."""
    counted: list[int] = []
    real = room.compared
    monkeypatch.setattr(room, "compared", lambda held: counted.append(1) or real(held))
    return counted


def loaded() -> Session:
    session = Session()
    for command in (Load("linear", seed=0, device="cpu"), Forward(), Backward(), Show(Name("weight"))):
        assert session.execute(command).ok
    return session


def test_moving_the_cursor_compares_nothing_anew(compared: list[int]) -> None:
    session = loaded()
    session.can_pause(lambda _: None)
    first = session.look(LookModel(), LookWhy((0, 0)), LookLedger((0, 0)), LookTensor())
    assert len(compared) == 1
    again = session.look(LookModel(), LookWhy((0, 0)), LookLedger((0, 0)), LookTensor())
    assert len(compared) == 1
    assert again == first
    session.execute(Forward())
    session.look(LookWhy())
    assert len(compared) == 2
    assert session._inspector is not None
    session._inspector.held.parameters[0][1].detach().mul_(2.0)
    session.look(LookWhy())
    assert len(compared) == 3, "a write that torch counts is seen at once"


def test_a_program_that_writes_between_its_looks_sees_what_it_wrote(compared: list[int]) -> None:
    session = loaded()
    assert session._inspector is not None
    found = []
    for value in (1.0, 2.0):
        session._inspector.held.parameters[0][1].data.fill_(value)
        (view,) = session.look(LookTensor())
        found.append((view.statistics.minimum, view.statistics.maximum))
        session.look(LookWhy())
    assert found == [(1.0, 1.0), (2.0, 2.0)]
    assert len(compared) == 2
