"""Screen commands: they are not part of the steps language; controllers handle them (`commands()`)."""

from __future__ import annotations

from gradstep.steps.language.words import WORDS
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.render.tones import THEMES
from gradstep.values.commands.arguments import file, name, whole
from gradstep.values.commands.syntax import CommandForm, Syntax, Word
from gradstep.values.views.tensor import EXTREMES

_OWN = (
    Syntax(
        Word(
            "save",
            "save FILE.steps",
            "Save the session so far as a script that replays it; save! overwrites a file.",
        ),
        CommandForm(file("path")),
        role="output",
    ),
    Syntax(
        Word("layout", "layout NAME", f"Switch the layout: {', '.join(LAYOUTS)}."),
        CommandForm(name("name", tuple(LAYOUTS))),
        role="note",
    ),
    Syntax(
        Word("theme", "theme NAME", "Switch the theme: dark, light or high-contrast."),
        CommandForm(name("name", tuple(THEMES))),
        role="note",
    ),
    Syntax(
        Word(
            "element",
            "element 3, 17",
            "Go to an element in Tensor, or to max, min, abs, change, nan or inf; with grad, of .grad.",
        ),
        CommandForm(name("place", EXTREMES), name("grad", dict.fromkeys(EXTREMES, ("grad",)), optional=True)),
        role="note",
    ),
    Syntax(
        Word("dims", "dims 1 3", "Show these two dimensions as the rows and columns of Tensor."),
        CommandForm(whole("rows"), whole("columns")),
        role="note",
    ),
    Syntax(
        Word(
            "row",
            "row 3, 17",
            "In Jᵀ v, show the row of J of this output element, however large J is; without an index, the element "
            "where |v| is largest; row off: no row.",
        ),
        Word("column", "column 0, 5", "The same for the column of J of an input element."),
        CommandForm(name("element", ("off",))),
        role="note",
    ),
    Syntax(
        Word("help", "help break", "Show all keys and commands, scrolled to the one named."),
        CommandForm(name("topic", tuple(word.word for word in WORDS))),
        role="note",
    ),
    Syntax(Word("quit", "quit", "Quit, and save the session for gradstep --last."), CommandForm(), role="note"),
)
SCREEN_COMMANDS: dict[str, Syntax] = {word.word: syntax for syntax in _OWN for word in syntax.words}
"""The screen commands by word, in the order of the help."""
SCREEN_WORDS: tuple[Word, ...] = tuple(word for syntax in _OWN for word in syntax.words)
