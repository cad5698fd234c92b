"""What the next phases record for the views: set by the session, from their requests."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.values.views import Request
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookSource
from gradstep.values.views.training import LookLayers


class Recording:
    """What phases record. Views only read it."""

    def __init__(self) -> None:
        self.zeros = False
        """True to count zero activations in a forward: Layers shows them."""
        self.lines = False
        """True to record the source line of each node in a forward: Graph and Source show it."""
        self._stop = -1

    def asked(self, stop: int, requests: Sequence[Request], quick: bool) -> bool:
        """Note what is requested at a stop; return whether this is the first request there.

        The first request at a stop has all panels on screen, a later one may add a panel. Lines stay on afterwards
        where they cost nothing noticeable: they are needed inside a phase.

        Args:
            stop: the number of the stop.
            requests: what is asked for.
            quick: True when the last forward was so short that recording lines is not noticeable.
        """
        first, self._stop = stop != self._stop, stop
        self.zeros = any(isinstance(each, LookLayers) for each in requests) or (self.zeros and not first)
        lines = any(isinstance(each, (LookGraph, LookSource)) for each in requests)
        self.lines = lines or (self.lines and (quick or not first))
        return first
