"""The command palette: the keys and the commands, found by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from textual.command import DiscoveryHit, Hit, Hits, Provider

from gradstep.tui.keymap import KEYMAP

if TYPE_CHECKING:
    from gradstep.tui.screen import StepScreen


class Commands(Provider):
    """Offers what a key does, and every command word for the command line."""

    @property
    def _entries(self) -> list[tuple[str, str, Callable[[], object]]]:
        from gradstep.steps.words import WORDS

        screen: StepScreen = self.screen  # type: ignore[assignment]
        skipped = {"palette", "pause_too", "panel", "panel_back"}
        keys = [
            (f"{key.label}  ({key.shown})", key.help, partial(screen.run_action, key.action))
            for key in KEYMAP
            if key.id not in skipped and screen.applies(key.id)
        ]
        words = [(f":{word.word}", word.help, partial(screen.type_command, f"{word.word} ")) for word in WORDS]
        return [*keys, *words]

    async def discover(self) -> Hits:
        """Offer everything that applies now."""
        for name, text, act in self._entries:
            yield DiscoveryHit(name, act, help=text)

    async def search(self, query: str) -> Hits:
        """Offer what matches."""
        matcher = self.matcher(query)
        for name, text, act in self._entries:
            if (score := max(matcher.match(name), matcher.match(text) * 0.5)) > 0:
                yield Hit(score, matcher.highlight(name), act, help=text)
