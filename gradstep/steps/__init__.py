"""The .steps language: parsing, running, recording."""

from __future__ import annotations


def help_text() -> str:
    """Return the page that documents the language, as Markdown."""
    from importlib.resources import files

    return files(__name__).joinpath("help_steps.md").read_text(encoding="utf-8")
