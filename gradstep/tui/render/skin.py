"""Textual themes for its own widgets, the command line and the command palette."""

from __future__ import annotations

from textual.theme import Theme

from gradstep.tui.render.tones import PLAIN, THEMES

CSS = """
CommandPalette > .command-palette--help-text { color: $text-muted; text-style: not bold not dim; }
CommandPalette > Vertical, CommandPalette > Vertical:dark { background: $surface; }
CommandPalette #--input, CommandPalette #--input.--list-visible { border: none; }
CommandPalette CommandList { border: none; }
CommandPalette CommandList:nocolor > .option-list--option-highlighted { text-style: underline; }
CommandPalette SearchIcon { display: none; }
"""
"""The palette without its double-width icon, whose width depends on the terminal, and with readable text.

Without colours the highlighted option is underlined: Textual drops `reverse` from the styles of options.
"""


def themes() -> list[Theme]:
    """Return all themes, the one for NO_COLOR last."""
    coloured = [
        Theme(
            name=name,
            primary=theme.block,
            secondary=theme.grounds["title"],
            accent=theme.hues["now"],
            foreground=theme.hues["text"],
            background=theme.grounds["screen"],
            surface=theme.grounds["panel"],
            panel=theme.grounds["title"],
            dark=theme.dark,
            variables={
                "text-muted": theme.hues["dim"],
                "block-cursor-foreground": theme.hues["bright"],
                "block-cursor-background": theme.grounds["here"],
                "block-cursor-blurred-foreground": theme.hues["bright"],
                "block-cursor-blurred-background": theme.grounds["here"],
                "block-cursor-blurred-text-style": "bold",
                "scrollbar": theme.hues["line"],
                "scrollbar-background": theme.grounds["title"],
            },
        )
        for name, theme in THEMES.items()
    ]
    return [*coloured, _plain()]


def _plain() -> Theme:
    """Return the theme without colours: left to itself Textual would use greys, and NO_COLOR asks for none."""
    none = "ansi_default"
    named = (
        "ansi-background",
        "ansi-foreground",
        "text-muted",
        "border-blurred",
        "input-cursor-background",
        "input-cursor-foreground",
    )
    return Theme(
        name=PLAIN,
        primary=none,
        foreground=none,
        background=none,
        surface=none,
        panel=none,
        boost=none,
        ansi=True,
        variables=dict.fromkeys(named, none),
    )
