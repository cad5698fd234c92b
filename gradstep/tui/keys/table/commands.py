"""The keys of command line, search, palette and help."""

from __future__ import annotations

from gradstep.tui.keys.table.key import Footer, Key

COMMANDS: tuple[Key, ...] = (
    Key(
        "command",
        "colon",
        "command",
        "type a command; tab completes, up recalls earlier ones",
        "Commands",
        footer=Footer(11, 4),
    ),
    Key(
        "find",
        "slash",
        "find",
        "find a module, parameter or node as you type its name",
        "Commands",
        footer=Footer(12, 15),
    ),
    Key("palette", "ctrl+p", "palette", "find a command by its name", "Commands", in_palette=False),
    Key(
        "help",
        "question_mark,f1",
        "help",
        "help on the focused panel, every key and every command",
        "Commands",
        footer=Footer(13, 3),
    ),
)
