"""The command palette: keys and commands, searched by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider

if TYPE_CHECKING:
    from gradstep.tui.screen import StepScreen


class PaletteEntry(NamedTuple):
    """An entry of the palette: a name, a help line, an action, and the word that matches it exactly."""

    name: str
    text: str
    act: Callable[[], object]
    word: str


def entries(screen: StepScreen) -> list[PaletteEntry]:
    """Return the entries that apply now: each key, and each command without a key."""
    from gradstep.steps.language.words import WORDS
    from gradstep.tui.commands.screen_commands import SCREEN_WORDS

    keys = [key for key in screen.keyboard.keys if key.in_palette and screen.applies(key.id)]
    names = [f"{key.label}  ({key.shown})" if key.shown else key.label for key in keys]
    offered = [
        PaletteEntry(name, key.help, partial(screen.action_press, key.id), key.label)
        for name, key in zip(names, keys, strict=True)
    ]
    # a key with another label does less than the command: `break` sets any breakpoint, its key one here
    has_key = {key.label.replace(" ", "_") for key in screen.keyboard.keys}
    commands = [*(word for word in WORDS if screen.showing.takes(word.word)), *SCREEN_WORDS]
    return offered + [
        PaletteEntry(f":{word.word}", word.help, partial(screen.typing.begin, f"{word.word} "), word.word)
        for word in commands
        if word.word not in has_key
    ]


def rank(entry: PaletteEntry, query: str, match: Callable[[str], float]) -> float:
    """Return how well an entry matches: the exact word first, then a prefix, then the rest; 0 for no match."""
    typed, word = query.strip().lstrip(":").lower(), entry.word.lower()
    fit = max(match(entry.name), match(entry.text) * 0.5)
    return fit + (200.0 if word == typed else 100.0 if typed and word.startswith(typed) else 0.0)


class Commands(Provider):
    """Offers keys and command words."""

    @property
    def _entries(self) -> list[PaletteEntry]:
        return entries(self.screen)  # type: ignore[arg-type]

    async def discover(self) -> Hits:
        """Yield everything that applies now."""
        for entry in self._entries:
            yield DiscoveryHit(entry.name, entry.act, help=entry.text)

    async def search(self, query: str) -> Hits:
        """Yield the matches."""
        matcher = self.matcher(query)
        for entry in self._entries:
            if (score := rank(entry, query, matcher.match)) > 0:
                yield Hit(score, matcher.highlight(entry.name), entry.act, help=entry.text)
