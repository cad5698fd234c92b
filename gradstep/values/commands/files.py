"""Commands that write the whole state to a file, read it back, and export a program."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from gradstep.values.commands.arguments import file
from gradstep.values.commands.syntax import CommandForm, Syntax, Word


class Checkpoint(Struct, frozen=True, tag=True):
    """Write the whole state to a .safetensors file.

    `folder` is the base of a relative path; with `over` an existing file is overwritten. Neither is part of the line:
    a script may overwrite its files when it runs again.
    """

    syntax: ClassVar = Syntax(
        Word(
            "checkpoint",
            "checkpoint here.safetensors",
            "Write the whole state to a file; `checkpoint!` overwrites.",
        ),
        CommandForm(file("path", ".safetensors", "checkpoint")),
        role="output",
        inside=False,
        needs="history",
    )
    path: str
    folder: str = ""
    over: bool = False


class Restore(Struct, frozen=True, tag=True):
    """Restore the whole state from a file of `checkpoint`."""

    syntax: ClassVar = Syntax(
        Word("restore", "restore here.safetensors", "Restore the whole state from a file."),
        CommandForm(file("path", ".safetensors", "restore")),
        role="edit",
        inside=False,
    )
    path: str
    folder: str = ""


class Export(Struct, frozen=True, tag=True):
    """Write the commands that led here as a plain PyTorch program; `folder` and `over` as for `Checkpoint`."""

    syntax: ClassVar = Syntax(
        Word("export", "export plain.py", "Write what led here as plain PyTorch; `export!` overwrites."),
        CommandForm(file("path", ".py", "export")),
        role="output",
        inside=False,
        needs="history",
    )
    path: str
    folder: str = ""
    over: bool = False
