"""What further phases record beyond what a command needs: set by the session, from what is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.values.views import Request
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookSource
from gradstep.values.views.training import LookLayers


class Recording:
    """What is recorded while phases run. A view only reads what was."""

    def __init__(self) -> None:
        self.zeros = False
        """True while a forward counts how many activations are zero: Layers shows it."""
        self.lines = False
        """True while a forward notes the source line of each node: Graph and Source show it."""
        self._stop = -1

    def asked(self, stop: int, requests: Sequence[Request], quick: bool) -> bool:
        """Note what is asked for at a stop; return whether this is the first look there.

        The first look at a stop says which panels are on screen, a later one may open one more. Lines go on being
        noted after that where nobody feels it: they are asked for inside a phase.

        Args:
            stop: the number of the stop.
            requests: what is asked for.
            quick: True when the last forward was short enough for lines to cost nothing that is felt.
        """
        first, self._stop = stop != self._stop, stop
        self.zeros = any(isinstance(each, LookLayers) for each in requests) or (self.zeros and not first)
        lines = any(isinstance(each, (LookGraph, LookSource)) for each in requests)
        self.lines = lines or (self.lines and (quick or not first))
        return first
