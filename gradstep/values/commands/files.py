"""Commands that write the whole state to a file and read it back, and that write a program."""

from __future__ import annotations

from typing import ClassVar

from msgspec import Struct

from gradstep.values.commands.arguments import file
from gradstep.values.commands.syntax import Form, Syntax, Word


class Checkpoint(Struct, frozen=True, tag=True):
    """Write everything to a .safetensors file.

    `folder` is where a relative path begins, and with `over` a file that is there is overwritten. Neither is part of
    the line: a script may overwrite what it wrote when it ran before.
    """

    syntax: ClassVar = Syntax(
        Word(
            "checkpoint",
            "checkpoint here.safetensors",
            "Write the whole state to a file; `checkpoint!` overwrites.",
        ),
        Form(file("path", ".safetensors", "checkpoint")),
        role="tell",
        inside=False,
        needs="history",
    )
    path: str
    folder: str = ""
    over: bool = False


class Restore(Struct, frozen=True, tag=True):
    """Read everything back from a file that `checkpoint` wrote."""

    syntax: ClassVar = Syntax(
        Word("restore", "restore here.safetensors", "Read the whole state back from a file."),
        Form(file("path", ".safetensors", "restore")),
        role="edit",
        inside=False,
    )
    path: str
    folder: str = ""


class Export(Struct, frozen=True, tag=True):
    """Write what led here as a plain PyTorch program; `folder` and `over` as for `Checkpoint`."""

    syntax: ClassVar = Syntax(
        Word("export", "export plain.py", "Write what led here as plain PyTorch; `export!` overwrites."),
        Form(file("path", ".py", "export")),
        role="tell",
        inside=False,
        needs="history",
    )
    path: str
    folder: str = ""
    over: bool = False
