"""Counts the iterations of a loop, by call sites that come round again."""

from __future__ import annotations

from gradstep.engine.observe.loop_phases import Name, Phase
from gradstep.engine.script.frames import Site, call_site, callers, line_text


class CallSites:
    """Where each phase was called last."""

    def __init__(self) -> None:
        self._last: dict[Name, Site] = {}
        self._lines: dict[Site, str] = {}

    def note(self, phase: Phase) -> Site:
        """Note that a phase is called; return its call site."""
        site = self._last[phase.name] = call_site(phase.frame)
        if site not in self._lines:
            self._lines[site] = line_text(next(callers(phase.frame), None))
        return site

    def last(self, name: Name) -> Site:
        """Return the call site of the last phase of a name."""
        return self._last[name]

    def line(self, name: Name) -> str:
        """Return the text of the line that called the last phase of a name."""
        return self._lines[self._last[name]]


class Iterations:
    """Counts the iterations of the training loop: one begins where a call site comes again after an update."""

    def __init__(self) -> None:
        self.number = 0
        """Iterations begun before this one."""
        self.updates = 0
        """Updates of the weights so far; a step that was skipped counts too."""
        self._sites: dict[Site, int] = {}
        """The call sites of the phases of this iteration, each with the updates before it."""

    def begins(self, site: Site) -> bool:
        """Note a phase at a call site; return whether it begins another iteration."""
        seen = self._sites.setdefault(site, self.updates)
        if seen == self.updates:
            return False
        self._sites = {site: self.updates}
        self.number += 1
        return True
