"""Commands of the screen's own, typed at `:`; they are no part of a script."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Protocol

from gradstep.tui.layout import LAYOUTS
from gradstep.tui.tones import THEMES
from gradstep.values.errors import wrong
from gradstep.values.nearest import did_you_mean
from gradstep.values.nodes import Direction


class Screenful(Protocol):
    """What these commands do to the screen."""

    def save(self, path: str, over: bool = False) -> None:
        """Write the session so far as a script; `over` a file that is there."""
        ...

    def choose_layout(self, name: str) -> None:
        """Lay the panels out in another way."""
        ...

    def choose_theme(self, name: str) -> None:
        """Show other colours."""
        ...

    def go_to_element(self, text: str) -> None:
        """Go to an element of the selected tensor."""
        ...

    def choose_dims(self, text: str) -> None:
        """See two of its dimensions as rows and columns."""
        ...

    def choose_strip(self, direction: Direction, text: str) -> None:
        """See a row or a column of J."""
        ...

    def try_again(self, text: str) -> None:
        """Do the same again with something changed."""
        ...

    def action_help(self, topic: str = "") -> None:
        """Show the help, from a command on."""
        ...

    def action_leave(self) -> None:
        """Quit."""
        ...


def console(text: str, screen: Screenful) -> bool:
    """Carry out a line of the screen's own; False when it is none.

    Raises:
        GradstepError: it is one, and wrong.
    """
    word, _, rest = text.strip().partition(" ")
    if word in {"q", "quit"}:
        screen.action_leave()
    elif word in {"?", "help"}:
        screen.action_help(_topic(rest))
    elif word in {"save", "save!"}:
        try:
            paths = shlex.split(rest)
        except ValueError as error:
            raise wrong("The path is not readable", str(error), "Write: save FILE.steps") from None
        if len(paths) != 1:
            raise wrong("save takes one path", "It writes the session so far as a script.", "Write: save FILE.steps")
        screen.save(paths[0], over=word == "save!")
    elif word == "layout":
        screen.choose_layout(_one_of("layout", rest, LAYOUTS))
    elif word == "theme":
        screen.choose_theme(_one_of("theme", rest, THEMES))
    elif word == "element":
        screen.go_to_element(rest)
    elif word == "row":
        screen.choose_strip("row", rest)
    elif word == "column":
        screen.choose_strip("column", rest)
    elif word == "try":
        screen.try_again(rest)
    elif word == "dims":
        screen.choose_dims(rest)
    else:
        return False
    return True


def _topic(given: str) -> str:
    from gradstep.steps.words import WORDS
    from gradstep.tui.helps import CONSOLE

    word = given.strip().removeprefix(":").partition(" ")[0]
    words = [*(each.word for each in WORDS), *(usage.split()[0] for usage, _ in CONSOLE)]
    return _one_of("help on", word, words) if word else ""


def _one_of(word: str, given: str, names: Iterable[str]) -> str:
    """Return the name that was given.

    Raises:
        GradstepError: it is none of `names`.
    """
    name, known = given.strip(), tuple(names)
    if name in known:
        return name
    remedy = did_you_mean(name, known) or f"Write: {word} {' or '.join(known)}"
    raise wrong(
        f"There is no {word} {name}" if name else f"{word} takes a name", f"There are {', '.join(known)}.", remedy
    )
