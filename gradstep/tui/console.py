"""Commands of the screen's own, typed at `:`; they are no part of a script."""

from __future__ import annotations

import shlex
from typing import Protocol

from gradstep.values.errors import wrong


class Screenful(Protocol):
    """What these commands do to the screen."""

    def save(self, path: str, over: bool = False) -> None:
        """Write the session so far as a script; `over` a file that is there."""
        ...

    def action_help(self) -> None:
        """Show the help."""
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
        screen.action_help()
    elif word in {"save", "save!"}:
        try:
            paths = shlex.split(rest)
        except ValueError as error:
            raise wrong("The path is not readable", str(error), "Write: save FILE.steps") from None
        if len(paths) != 1:
            raise wrong("save takes one path", "It writes the session so far as a script.", "Write: save FILE.steps")
        screen.save(paths[0], over=word == "save!")
    else:
        return False
    return True
