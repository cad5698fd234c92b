"""Counts the iterations of a loop, by call sites that come round again."""

from __future__ import annotations


class Iterations:
    """Counts the turns of the training loop: one begins where a call site of a phase comes again after an update."""

    def __init__(self) -> None:
        self.number = 0
        """Iterations begun before this one."""
        self.updates = 0
        """Updates of the weights so far; a step that was skipped counts too."""
        self._sites: dict[tuple[object, ...], int] = {}
        """The call sites of the phases of this iteration, each with the updates before it."""

    def begins(self, site: tuple[object, ...]) -> bool:
        """Note a phase at a call site; return whether it begins another iteration."""
        seen = self._sites.setdefault(site, self.updates)
        if seen == self.updates:
            return False
        self._sites = {site: self.updates}
        self.number += 1
        return True
