"""Commands that look: what is shown, kept, expected, printed, explained, watched and said. Nothing trained changes."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, expression, file, whole, word
from gradstep.values.commands.misfit import MisfitError, place
from gradstep.values.commands.syntax import Form, Syntax, Word
from gradstep.values.expressions import Expression, is_word


class Show(Struct, frozen=True, tag=True):
    """Select what the panels are about: a parameter, buffer or slice."""

    syntax: ClassVar = Syntax(
        Word("show", "show 2.weight[0, 0:10]", "Select what the panels show."), Form(expression("what")), role="note"
    )
    what: Expression


def _fresh_name(name: str) -> str:
    if not is_word(name):
        raise MisfitError(f"`{name}` cannot be a name", "It means something already.", "Choose another.", *place(name))
    return str(name)


class Let(Struct, frozen=True, tag=True):
    """Keep a copy of a value under a new name."""

    syntax: ClassVar = Syntax(
        Word("let", "let w0 = 2.weight[0, 0:10]", "Keep a copy of a value under a new name."),
        Form(Argument("WORD", "name", read=_fresh_name), word("="), expression("value")),
        role="note",
    )
    name: str
    value: Expression


class Expect(Struct, frozen=True, tag=True):
    """State that a condition holds, for every element of it."""

    syntax: ClassVar = Syntax(
        Word("expect", "expect 2.weight.grad == 0", "State what must hold, for every element."),
        Form(expression("condition")),
        role="tell",
    )
    condition: Expression


class Print(Struct, frozen=True, tag=True):
    """Show a value once."""

    syntax: ClassVar = Syntax(
        Word("print", "print norm(2.weight.grad)", "Show a value once."), Form(expression("value")), role="tell"
    )
    value: Expression


class Check(Struct, frozen=True, tag=True):
    """Compare the derivatives of nodes with finite differences; of a custom Function also its double backward.

    `what` is a node's number as `#12`, its name, operation or module, or a glob; empty for the node that is stopped at,
    else for every custom Function of the graph.
    """

    syntax: ClassVar = Syntax(
        Word("check", "check #12", "Compare a node, or every custom Function, with finite differences."),
        Form(Argument("PLACE", "what", optional=True, offers=("@nodes",))),
        role="tell",
        needs="graph",
    )
    what: str = ""


class WhyNone(Struct, frozen=True, tag=True):
    """Explain why the `.grad` of a parameter is None: where the path from it to the loss ends."""

    syntax: ClassVar = Syntax(
        Word("why", "why 0.weight.grad", "Explain why a .grad is none or zeros: where its path to the loss ends."),
        Form(expression("what")),
        role="tell",
        needs="history",
    )
    what: Expression


class Watch(Struct, frozen=True, tag=True):
    """Report, and pause what is queued, whenever the value changes; as gdb's watch."""

    syntax: ClassVar = Syntax(
        Word(
            "watch",
            "watch norm(2.weight)",
            "Pauses a running repeat or script at a change; a replay prints it and goes on.",
        ),
        Form(expression("value")),
        role="note",
    )
    value: Expression


class Unwatch(Struct, frozen=True, tag=True):
    """Remove a watchpoint by its number, or all of them (0)."""

    syntax: ClassVar = Syntax(
        Word("unwatch", "unwatch 1", "Remove watchpoint 1, or without a number all of them."),
        Form(whole("number", optional=True)),
        role="note",
    )
    number: int = 0


class Say(Struct, frozen=True, tag=True):
    """Narrate, in Markdown. What follows the word is text to the end of the line, so that it has no form."""

    syntax: ClassVar = Syntax(
        Word("say", "say What it *means*.", "Narrate, in Markdown, to the end of the line."),
        role="tell",
        line=lambda say: f"say {say.text}",
    )
    text: str


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}", text):
        raise MisfitError(f"`{text}` is no size", "", "Write columns and rows: size=120x40.", *place(text))
    return str(text)


class Screenshot(Struct, frozen=True, tag=True):
    """Draw the screen to an SVG file; carried out by the front end.

    `size` is columns and rows, such as 80x24; empty for the size that the front end has, or was told. `over` is no
    part of the line, as for `Checkpoint`.
    """

    syntax: ClassVar = Syntax(
        Word(
            "screenshot",
            "screenshot after.svg size=80x24",
            "Draw the screen to an SVG file; `screenshot!` overwrites.",
        ),
        Form(file("path"), Option("size", _size, offers=("80x24", "120x40", "200x60"))),
        role="tell",
        needs="history",
    )
    path: str
    size: str = ""
    over: bool = False
