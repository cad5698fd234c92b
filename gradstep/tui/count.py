"""The number typed before a key, as in vim: `10 space`."""

from __future__ import annotations

PATIENCE = 0.7
"""Seconds after a digit in which the next key belongs to it: longer than it takes to type on, shorter than to look."""
_DIGITS = 6
"""Digits that are heeded: nobody means more."""


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
        """Tell whether a number has been begun and may still go on."""
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
