"""Playing: phases, iterations or script lines run one after another, at a chosen rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from gradstep.tui.commands.jobs import Job

RATES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, math.inf)
"""Rates in units per second, from slow enough to read to as fast as possible."""
USUAL = 2.0


class Play(NamedTuple):
    """What is played, and how fast."""

    unit: Literal["phase", "iteration", "line"]
    job: Callable[[], Job | None]
    """Returns the job of the next unit; None when there is nothing left to play."""
    rate: float = USUAL
    """Units per second, one of `RATES`."""

    @property
    def seconds(self) -> float:
        """Seconds per unit."""
        return 1 / self.rate

    @property
    def words(self) -> str:
        """Return unit and rate, e.g. `▶ 2 phases/s`."""
        if self.rate == math.inf:
            return f"▶ {self.unit}s, full speed"
        return f"▶ {self.rate:g} {self.unit}{'' if self.rate == 1 else 's'}/s"

    def at(self, by: int) -> Play:
        """Return the same at a rate `by` places up in `RATES`; down when negative."""
        place = RATES.index(self.rate) + by
        return self._replace(rate=RATES[max(0, min(place, len(RATES) - 1))])
