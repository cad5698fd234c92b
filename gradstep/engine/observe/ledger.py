"""The ledger: how many backwards added to each `.grad` since it was last cleared, and how many a step has used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.observe.account import AccountLine, Amount, folded, standing
from gradstep.engine.observe.addends import BackwardAddends


class LedgerEntry(Struct, frozen=True, gc=False):
    """The account of one parameter's `.grad`.

    Kept with each point of the history, as `Accounts` are: the garbage collector would go through all of them in vain.
    """

    added: int = 0
    """Backwards that added to it since it was last None or zeroed."""
    used: int = 0
    """How many of those an optimizer step has already used."""
    zeroed: bool = False
    """True when it was last cleared to zeros."""


_NONE: Mapping[str, tuple[Amount, ...]] = {}
_NEW, _FIRST, _FIRST_USED = LedgerEntry(), LedgerEntry(1), LedgerEntry(1, 1)


class Accounts(Struct, frozen=True, gc=False):
    """A copy of the ledger; entries and lines are immutable."""

    entries: dict[str, LedgerEntry]
    lines: dict[str, tuple[AccountLine, ...]]
    arrived: Mapping[str, tuple[Amount, ...]] = _NONE
    forgotten: bool = False
    """True where the account of a `.grad` without an entry is unknown."""


class Ledger:
    """An entry for each parameter by name, and its lines where they are recorded."""

    def __init__(self) -> None:
        self._entries: dict[str, LedgerEntry] = {}
        self._lines: dict[str, tuple[AccountLine, ...]] = {}
        self._forgotten = False
        """True after `forget`: what has no entry is unknown."""
        self._arrived: dict[str, tuple[Amount, ...]] = {}
        """The parameters that the running backward has already added to, with its addends where they are recorded."""

    def forget(self) -> None:
        """Forget every account: until a `.grad` is cleared, or is None before a backward, its account is unknown."""
        self._entries, self._lines, self._forgotten = {}, {}, True
        self._arrived.clear()

    def arrived(self, name: str, addends: tuple[Amount, ...] = ()) -> None:
        """Note that the running backward has added to `.grad`."""
        self._arrived[name] = addends

    def running(self, name: str) -> int:
        """Return 1 where the running backward has added to `.grad`, else 0: the entry does not count it yet."""
        return name in self._arrived

    def backward(
        self,
        name: str,
        fresh: bool,
        recorded: BackwardAddends | None = None,
        forward: int = 0,
        loss: float | None = None,
    ) -> None:
        """Note that a backward wrote `.grad`.

        Args:
            name: the parameter.
            fresh: True when `.grad` was None before.
            recorded: its addends; without them the lines are dropped, for they no longer add up to `.grad`.
            forward: the number of the forward whose loss it came from.
            loss: the value of that loss.
        """
        self._arrived.pop(name, None)
        if not fresh and self.is_unknown(name):
            self._lines.pop(name, None)
            return
        entry = _NEW if fresh else self._entries.get(name, _NEW)
        added, used = entry.added, entry.used
        self._entries[name] = replace(entry, added=added + 1)
        if recorded is None:
            self._lines.pop(name, None)
            return
        lines = self._lines.get(name, ())
        if fresh and lines and lines[-1].kind != "cleared":
            lines = ()  # set to None by other code
        if recorded.found is not None and not _add_up(lines, recorded.found):
            lines = (*lines, AccountLine("changed" if lines else "earlier", (recorded.found,), added, used=bool(used)))
        line = AccountLine("backward", recorded.parts or (Amount(),), added + 1, forward, loss)
        self._lines[name] = folded((*lines, line), recorded.most)

    def began(self, names: Sequence[str]) -> None:
        """Note that a backward wrote the `.grad` of several that had none, and that its addends are not recorded."""
        self._entries.update(dict.fromkeys(names, _FIRST))
        for name in names if self._arrived else ():
            self._arrived.pop(name, None)
        self._drop_lines(names)

    def step(self, names: Sequence[str]) -> None:
        """Note that an optimizer step used all that had been added to several."""
        known = [name for name in names if not self.is_unknown(name)] if self._forgotten else names
        for name, entry in [(name, self._entries.get(name, _NEW)) for name in known]:
            self._entries[name] = _FIRST_USED if entry is _FIRST else replace(entry, used=entry.added)
        for name in names if self._lines else ():
            if name in self._lines:
                self._lines[name] = (*self._lines[name], AccountLine("step"))

    def used_up(self, names: Sequence[str]) -> bool:
        """Return whether an earlier step has used all that was added to each of several."""
        return all(0 < entry.added == entry.used for entry in map(self.entry, names))

    def cleared_to_none(self, names: Sequence[str]) -> None:
        """Note that several were set to None, where no lines are recorded."""
        self._entries.update(dict.fromkeys(names, _NEW))
        self._drop_lines(names)

    def _drop_lines(self, names: Sequence[str]) -> None:
        for name in names if self._lines else ():
            self._lines.pop(name, None)

    def cleared(self, name: str, to_none: bool, recorded: Tensor | None = None) -> None:
        """Note that `.grad` was cleared; `recorded` is the parameter, when lines are kept."""
        self._entries[name] = LedgerEntry(zeroed=not to_none)
        self._lines.pop(name, None)
        if recorded is not None:
            self._lines[name] = (AccountLine("cleared", () if to_none else (Amount.zeros(recorded),)),)

    def is_unknown(self, name: str) -> bool:
        """Return whether the account of a parameter is unknown."""
        return self._forgotten and name not in self._entries

    def lines(self, name: str) -> tuple[AccountLine, ...]:
        """Return the lines of a parameter since its `.grad` was last cleared; empty where they were not recorded.

        What the running backward has added comes last.
        """
        lines, addends = self._lines.get(name, ()), self._arrived.get(name, ())
        entry = self.entry(name)
        if not addends or (not lines and (entry.added or entry.zeroed or self.is_unknown(name))):
            return lines
        return (*lines, AccountLine("backward", addends, entry.added + 1))

    def entry(self, name: str) -> LedgerEntry:
        """Return the entry of a parameter."""
        return self._entries.get(name, _NEW)

    def state(self, name: str, parameter: Tensor) -> str:
        """Return the state of `.grad` in a word or two: none, zero, fresh, stale, x3, `x6, 1 used`, frozen, given.

        It is `unknown` after `forget`. A frozen parameter that still has a `.grad` has both: `frozen, x3`.
        """
        if not parameter.requires_grad:
            return "frozen" if parameter.grad is None else f"frozen, {self._amount(name)}"
        return "none" if parameter.grad is None else self._amount(name)

    def _amount(self, name: str) -> str:
        """Return how many backwards a `.grad` holds, and how many of them a step has used."""
        if self.is_unknown(name):
            return "unknown"
        entry = self.entry(name)
        added, used = entry.added + self.running(name), entry.used
        if not added:
            return "zero" if entry.zeroed else "given"
        if added == 1:
            return "stale" if used else "fresh"
        return f"x{added}, {used} used" if used else f"x{added}"

    def copy(self) -> Accounts:
        """Return a copy, for `restore`."""
        arrived = dict(self._arrived) if self._arrived else _NONE
        return Accounts(dict(self._entries), dict(self._lines), arrived, self._forgotten)

    def restore(self, accounts: Accounts) -> None:
        """Restore a copy."""
        self._entries, self._lines = dict(accounts.entries), dict(accounts.lines)
        self._arrived, self._forgotten = dict(accounts.arrived), accounts.forgotten


def _add_up(lines: tuple[AccountLine, ...], found: Amount) -> bool:
    """Return whether the lines add up to `found`, bit for bit."""
    if found.whole is not None:
        whole = standing(lines, lambda amount: amount.whole).value
        return whole is not None and same_bits(whole, found.whole)
    one = standing(lines, lambda amount: amount.at(found.element)).value
    return one is not None and found.value is not None and same_bits(one, found.value)
