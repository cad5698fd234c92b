"""The number typed before a key, as in vim: `10 space`."""

from __future__ import annotations

from gradstep.tui.desk import Controller
from gradstep.tui.layout.layouts import PANELS

PATIENCE = 0.7
"""Seconds after a digit in which the next key belongs to it: longer than it takes to type on, shorter than to look."""
_DIGITS = 6
"""Digits of a number at most: nobody means more."""


class Count:
    """Digits, for as long as they wait for what they count.

    A digit is the key of a panel too, and goes there at once; what follows within `PATIENCE` says what it was. The
    time is that at which a key was pressed, not that at which its turn came: a busy screen changes no meaning.
    """

    def __init__(self) -> None:
        self.digits = ""
        self.home = ""
        """The panel that had the focus before the first digit."""
        self._at = 0.0

    def waits(self, now: float) -> bool:
        """Return whether a number has been begun and may still go on."""
        return bool(self.digits) and now - self._at <= PATIENCE

    def add(self, digit: str, now: float, home: str) -> None:
        """Take a digit; `home` is the panel in focus."""
        if not self.waits(now):
            self.digits, self.home = "", home
        self.digits = (self.digits + digit)[:_DIGITS]
        self._at = now

    def take(self, now: float) -> int:
        """Return the number, and forget it; 0 when there is none."""
        number = int(self.digits) if self.waits(now) else 0
        self.digits = ""
        return number


class Counting(Controller):
    """Takes digits, and has the key that follows do what it does as often as they say."""

    def start(self) -> None:
        """Prepare the timer that runs while a digit waits for what it counts."""
        self._count = Count()
        self._counting = self.screen.set_interval(PATIENCE, self.over, pause=True)

    def counts(self, pressed: str, now: float) -> bool:
        """Take note of a key that was pressed at the time `now`; return whether it is a digit and no key."""
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
                # the digits were none of the panels that they have gone to
                self.screen.go_to(self._count.home)
        return False

    def over(self) -> None:
        """Let go of a number that nothing was counted with."""
        self._counting.pause()
        self._show_count("")

    def _show_count(self, digits: str) -> None:
        if self.screen.prompt.count != digits:
            self.screen.prompt.count = digits
            self.screen.prompt.redraw()
