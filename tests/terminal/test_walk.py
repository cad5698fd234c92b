"""The whole backward of `mlp` walked by keys in a real terminal: every node, and the gradients of an unstepped run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from emulator import Terminal

from gradstep.steps.replay import replay

pytestmark = pytest.mark.terminal

NODES = [
    "SumBackward0",
    "PowBackward0",
    "SubBackward0",
    "AddmmBackward0",
    "2.bias.grad",
    "TBackward0",
    "2.weight.grad",
    "ReluBackward0",
    "AddmmBackward0",
    "0.bias.grad",
    "TBackward0",
    "0.weight.grad",
]
WHOLE = "load mlp seed=0\nforward\nbackward\n"


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """Return gradstep on `mlp` in a terminal, its session recorded, with a home of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    command = [sys.executable, "-m", "gradstep", "mlp", "--seed", "0", "--record", "walked.steps"]
    started = Terminal(command, (120, 40))
    yield started
    started.close()


def test_a_backward_walked_by_keys_stops_at_every_node_and_ends_with_the_same_bits(
    terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    def replayed(path: str) -> list[dict[str, object]]:
        assert replay([path], json=True) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    terminal.wait("203,530 parameters")
    terminal.press("f")
    terminal.wait("127.7652")
    for number, name in enumerate(NODES):
        for edge in ("before", "after"):
            terminal.press("i")
            terminal.wait(f"▸ {edge} #{number} {name}")
            assert f"b backward ▶ #{number} of 12" in terminal.text
    terminal.press("i")
    terminal.wait("backward() wrote .grad and nothing else")
    terminal.wait("b backward ●")
    terminal.wait("fresh")
    terminal.press("q")
    assert terminal.end() == 0

    walked = replayed("walked.steps")
    Path("whole.steps").write_text(WHOLE)
    whole = replayed("whole.steps")
    assert [row["command"] for row in walked].count("into") == 25
    assert walked[-1]["digest"] == whole[-1]["digest"] != whole[-2]["digest"]
