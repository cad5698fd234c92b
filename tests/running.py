"""The runner of each held workload that a test makes: one for its whole life."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from gradstep.engine.held import Held
from gradstep.engine.runner import Runner

_RUNNERS: WeakKeyDictionary[Held, Runner] = WeakKeyDictionary()


def runner_of(held: Held) -> Runner:
    """Return the runner of a workload; made at the first call."""
    if held not in _RUNNERS:
        _RUNNERS[held] = Runner(held)
    return _RUNNERS[held]
