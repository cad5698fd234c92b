"""How `.grad` became what it is: backwards added up since it was last cleared, and how many a step has used."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Entry(NamedTuple):
    """The account of one parameter's `.grad`."""

    added: int = 0
    """Backwards that added to it since it was last None or zeroed."""
    used: int = 0
    """How many of those an optimizer step has already used."""
    zeroed: bool = False
    """True when it was last cleared to zeros."""


_NEW = Entry()


class Ledger:
    """One entry for each parameter, by its name."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def backward(self, name: str, fresh: bool) -> None:
        """Note that a backward wrote `.grad`; `fresh` when it was None before."""
        added, used, zeroed = _NEW if fresh else self._entries.get(name, _NEW)
        self._entries[name] = Entry(added + 1, used, zeroed)

    def step(self, name: str) -> None:
        """Note that an optimizer step used all that had been added."""
        added, _, zeroed = self._entries.get(name, _NEW)
        self._entries[name] = Entry(added, added, zeroed)

    def cleared(self, name: str, to_none: bool) -> None:
        """Note that `.grad` was cleared."""
        self._entries[name] = Entry(zeroed=not to_none)

    def entry(self, name: str) -> Entry:
        """Return the account of a parameter."""
        return self._entries.get(name, _NEW)

    def state(self, name: str, parameter: Tensor) -> str:
        """Say the state of `.grad` in a word or two: none, zero, fresh, stale, x3, `x6, 1 used`, frozen, given."""
        if parameter.grad is None:
            return "none" if parameter.requires_grad else "frozen"
        entry = self.entry(name)
        if not entry.added:
            return "zero" if entry.zeroed else "given"
        if entry.added == 1:
            return "stale" if entry.used else "fresh"
        return f"x{entry.added}, {entry.used} used" if entry.used else f"x{entry.added}"

    def copy(self) -> dict[str, Entry]:
        """Return the accounts as they are now, to restore them later."""
        return dict(self._entries)

    def restore(self, entries: dict[str, Entry]) -> None:
        """Put the accounts back."""
        self._entries = dict(entries)
