"""The words of the steps language, in the order of the help; what each is stands with its command."""

from __future__ import annotations

from gradstep.values.commands import COMMANDS, Syntax, Word

REPEAT = Word("repeat", "repeat 5 { forward; backward }", "Carry out a block several times.")
"""The one word that is no command: it only takes a block."""
SYNTAX: dict[str, Syntax] = {word.word: kind.syntax for kind in COMMANDS for word in kind.syntax.words}
"""The declaration of the command that a word begins."""
WORDS: tuple[Word, ...] = (*(word for kind in COMMANDS for word in kind.syntax.words), REPEAT)
BY_WORD: dict[str, Word] = {each.word: each for each in WORDS}
