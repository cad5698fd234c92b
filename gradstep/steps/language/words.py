"""The command words of the steps language, in the order of the help."""

from __future__ import annotations

from gradstep.values.commands import COMMANDS, Syntax, Word

REPEAT = Word("repeat", "repeat 5 { forward; backward }", "Run a block several times.")
"""The only word that is not a command: it takes a block."""
SYNTAX: dict[str, Syntax] = {word.word: kind.syntax for kind in COMMANDS for word in kind.syntax.words}
"""The declaration of the command with a given word."""
WORDS: tuple[Word, ...] = (*(word for kind in COMMANDS for word in kind.syntax.words), REPEAT)
BY_WORD: dict[str, Word] = {each.word: each for each in WORDS}
