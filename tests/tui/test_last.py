"""Which sessions are kept as the last one."""

from __future__ import annotations

import pytest

from gradstep.steps.language.parse import parse_line
from gradstep.steps.record import last_path
from gradstep.tui.commands.last import keep
from gradstep.tui.controllers.training import parse_commands


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def session(*lines):
    return [command for line in lines for command in parse_commands(line)]


def test_a_quick_look_takes_no_place():
    keep(session("load mlp seed=0", "forward", "backward"))
    keep(session("load gpt seed=0", "show head.weight"))
    assert last_path().read_text().splitlines()[-3:] == ["load mlp seed=0", "forward", "backward"]


def test_a_quick_look_is_better_than_nothing():
    keep(session("load gpt seed=0"))
    assert parse_line(last_path().read_text().splitlines()[-1]) == parse_line("load gpt seed=0")


def test_what_no_line_can_load_is_not_kept():
    keep(session("forward", "backward"))
    assert not last_path().exists()
