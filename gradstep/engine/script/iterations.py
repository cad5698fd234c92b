"""Counts the iterations of a loop, by call sites that come round again."""

from __future__ import annotations

from dataclasses import dataclass
from types import CodeType, FrameType

from gradstep.engine.observe.loop_phases import Name
from gradstep.engine.script.frames import call_site, callers, line_text


@dataclass(eq=False)
class CallSite:
    """A place in the script's loop that calls a phase; another object for each."""

    line: str
    """The text of its line."""


class CallSites:
    """Where each phase was called last."""

    def __init__(self) -> None:
        self.caller: CodeType | None = None
        """What called the script; its frame and those around it are gradstep's."""
        self.last: dict[Name, CallSite] = {}
        self._known: dict[tuple[object, ...], CallSite] = {}

    def note(self, name: Name, frame: FrameType | None) -> CallSite:
        """Note that a phase is called at a frame; return where."""
        key = call_site(frame, self.caller)
        site = self._known.get(key)
        if site is None:
            site = self._known[key] = CallSite(line_text(next(callers(frame), None)))
        self.last[name] = site
        return site


class Iterations:
    """Counts the iterations of the training loop: one begins where a call site comes again after an update."""

    def __init__(self) -> None:
        self.number = 0
        """Iterations begun before this one."""
        self.updates = 0
        """Updates of the weights so far; a step that was skipped counts too."""
        self._sites: dict[CallSite, int] = {}
        """The call sites of the phases of this iteration, each with the updates before it."""

    def begins(self, site: CallSite) -> bool:
        """Note a phase at a call site; return whether it begins another iteration."""
        seen = self._sites.setdefault(site, self.updates)
        if seen == self.updates:
            return False
        self._sites = {site: self.updates}
        self.number += 1
        return True
