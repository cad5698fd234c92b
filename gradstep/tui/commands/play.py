"""Playing: one kind of act after another by itself, at a chosen speed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

from gradstep.tui.commands.jobs import Job

RATES = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, math.inf)
"""Acts a second to choose from: from slow enough to read what each did, to as fast as they can be shown."""
USUAL = 2.0


class Play(NamedTuple):
    """What is played."""

    unit: Literal["phase", "iteration", "line"]
    job: Callable[[], Job | None]
    """Makes the job of the next act; None when there is nothing left to play."""
    rate: float = USUAL
    """Acts a second, one of `RATES`."""

    @property
    def seconds(self) -> float:
        """Seconds from one act to the next."""
        return 1 / self.rate

    @property
    def words(self) -> str:
        """Return what is played, and how fast: `▶ 2 phases/s`."""
        if self.rate == math.inf:
            return f"▶ {self.unit}s, full speed"
        return f"▶ {self.rate:g} {self.unit}{'' if self.rate == 1 else 's'}/s"

    def at(self, by: int) -> Play:
        """Return the same `by` places faster, slower below zero."""
        place = RATES.index(self.rate) + by
        return self._replace(rate=RATES[max(0, min(place, len(RATES) - 1))])
