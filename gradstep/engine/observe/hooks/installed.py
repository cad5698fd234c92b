"""What may be installed in torch, for as long as the events that it emits are subscribed to."""

from __future__ import annotations

from typing import Any

from torch.utils.hooks import RemovableHandle


class Hook:
    """A hook in a table of torch's. Whether it is there is read from the table: an interrupt may come at any line."""

    def __init__(self, kinds: frozenset[type], table: Any, hook: Any, always: Any = None) -> None:
        self.kinds, self._table, self._hook, self._always = kinds, table, hook, {} if always is None else always
        self._id = RemovableHandle(table).id
        """As torch's `register_...` numbers hooks; here once, for that takes longer than the rest."""

    def install(self) -> None:
        """Install it where it is not there."""
        self._always[self._id] = True
        self._table[self._id] = self._hook

    def remove(self) -> None:
        """Remove it where it is there."""
        self._table.pop(self._id, None)
        self._always.pop(self._id, None)


class Replacement:
    """A replaced function; where the owner had inherited it, it is deleted again.

    What a script puts in its place meanwhile stays there: it may call ours.
    """

    def __init__(self, kinds: frozenset[type], owner: Any, name: str, ours: Any) -> None:
        self.kinds, self._owner, self._name, self._ours = kinds, owner, name, ours
        self._names = vars(owner)
        self.own: Any = None
        """Torch's."""
        self._installed = False

    def install(self) -> None:
        """Install it where it is not there."""
        now = self._names.get(self._name)
        if now is not self._ours and (not self._installed or now is self.own):
            self.own, self._installed = now, True
            setattr(self._owner, self._name, self._ours)

    def remove(self) -> None:
        """Restore torch's, where ours is there."""
        if self._names.get(self._name) is self._ours:
            self._installed = False
            if self.own is None:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self.own)
