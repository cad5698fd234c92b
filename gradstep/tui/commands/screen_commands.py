"""The commands of the screen's own, which are no lines of a script; controllers carry them out (`commands()`)."""

from __future__ import annotations

from gradstep.steps.language.words import WORDS
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.render.tones import THEMES
from gradstep.values.commands.arguments import file, name, whole
from gradstep.values.commands.syntax import Form, Syntax, Word
from gradstep.values.views.tensor import EXTREMES

_OWN = (
    Syntax(
        Word(
            "save",
            "save FILE.steps",
            "Write the session so far as a script that replays it; save! overwrites a file.",
        ),
        Form(file("path")),
        role="tell",
    ),
    Syntax(
        Word("layout", "layout NAME", f"Lay the panels out in another way: {', '.join(LAYOUTS)}."),
        Form(name("name", tuple(LAYOUTS))),
        role="note",
    ),
    Syntax(
        Word("theme", "theme NAME", "Show other colours: dark, light or high-contrast."),
        Form(name("name", tuple(THEMES))),
        role="note",
    ),
    Syntax(
        Word(
            "element",
            "element 3, 17",
            "Go to an element in Tensor; max, min, abs, change, nan or inf finds one, of .grad with grad.",
        ),
        Form(name("place", EXTREMES), name("grad", dict.fromkeys(EXTREMES, ("grad",)), optional=True)),
        role="note",
    ),
    Syntax(
        Word("dims", "dims 1 3", "See these two dimensions as the rows and the columns of Tensor."),
        Form(whole("rows"), whole("columns")),
        role="note",
    ),
    Syntax(
        Word(
            "row",
            "row 3, 17",
            "In Jᵀ v, see the row of J for that element of the output, by itself: of a J too large to be computed "
            "whole; without an index, of the one where v is farthest from 0; row off: no more.",
        ),
        Word("column", "column 0, 5", "In the same way the column of J for that element of the input."),
        Form(name("element", ("off",))),
        role="note",
    ),
    Syntax(
        Word("help", "help break", "Show every key and every command, from the one that is named on."),
        Form(name("topic", tuple(word.word for word in WORDS))),
        role="note",
    ),
    Syntax(Word("quit", "quit", "Quit, and keep the session for gradstep --last."), Form(), role="note"),
)
SCREEN_COMMANDS: dict[str, Syntax] = {word.word: syntax for syntax in _OWN for word in syntax.words}
"""Each by its word, in the order of the help."""
SCREEN_WORDS: tuple[Word, ...] = tuple(word for syntax in _OWN for word in syntax.words)
