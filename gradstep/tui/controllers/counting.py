"""The count typed before a key, as in vim: `10 space`."""

from __future__ import annotations

from gradstep.tui.desk import Controller
from gradstep.tui.layout.layouts import PANELS

PATIENCE = 0.7
"""Seconds after a digit in which the next key is counted: longer than a typing pause, shorter than a look."""
_DIGITS = 6
"""Most digits of a count."""


class Count:
    """The digits typed so far, while they wait for the key to count.

    A digit is also the key of a panel, and focuses it at once; the next key within `PATIENCE` decides what it was.
    Times are those of key presses, not of their handling, so that a busy screen does not change the meaning.
    """

    def __init__(self) -> None:
        self.digits = ""
        self.home = ""
        """The panel in focus before the first digit."""
        self._at = 0.0

    def waits(self, now: float) -> bool:
        """Return whether a count is being typed."""
        return bool(self.digits) and now - self._at <= PATIENCE

    def add(self, digit: str, now: float, home: str) -> None:
        """Add a digit; `home` is the panel in focus."""
        if not self.waits(now):
            self.digits, self.home = "", home
        self.digits = (self.digits + digit)[:_DIGITS]
        self._at = now

    def take(self, now: float) -> int:
        """Return the count and reset it; 0 when there is none."""
        number = int(self.digits) if self.waits(now) else 0
        self.digits = ""
        return number


class Counting(Controller):
    """Collects digits, and repeats the key that follows that often."""

    def start(self) -> None:
        """Prepare the timer that ends a count."""
        self._count = Count()
        self._counting = self.screen.set_interval(PATIENCE, self.over, pause=True)

    def counts(self, pressed: str, now: float) -> bool:
        """Handle a key pressed at time `now`; return whether it is a digit that is not bound to a key."""
        key = self.keyboard.of(pressed)
        self.screen.times = 1
        panel = key is not None and key.id in PANELS
        if pressed in tuple("0123456789") and (key is None or panel) and (pressed != "0" or self._count.waits(now)):
            self._count.add(pressed, now, self.screen.recent[0])
            self._show_count(self._count.digits)
            self._counting.reset()
            self._counting.resume()
            return key is None
        number = self._count.take(now)
        self._show_count("")
        if number and self.keyboard.takes_count(pressed):
            self.screen.times = number
            if number > 1:
                # the digits were a count: undo their change of focus
                self.screen.go_to(self._count.home)
        return False

    def over(self) -> None:
        """Drop a count that no key followed."""
        self._counting.pause()
        self._show_count("")

    def _show_count(self, digits: str) -> None:
        if self.screen.prompt.count != digits:
            self.screen.prompt.count = digits
            self.screen.prompt.redraw()
