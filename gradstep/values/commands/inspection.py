"""Commands that show, keep, expect, print, explain, watch and narrate; they change nothing that is trained."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, count, expression, file, whole, word
from gradstep.values.commands.statement_error import StatementError, place
from gradstep.values.commands.syntax import CommandForm, Syntax, Word
from gradstep.values.expressions import Expression, is_word


class Show(Struct, frozen=True, tag=True):
    """Select what the panels show: a parameter, buffer or slice."""

    syntax: ClassVar = Syntax(
        Word("show", "show 2.weight[0, 0:10]", "Select what the panels show."),
        CommandForm(expression("what")),
        role="note",
    )
    what: Expression


def _fresh_name(name: str) -> str:
    if not is_word(name):
        raise StatementError(f"`{name}` cannot be a name", "It is a reserved word.", "Choose another.", *place(name))
    return str(name)


class SelectFrame(Struct, frozen=True, tag=True):
    """Select a frame of a script's stack by its number; None prints the selected one."""

    syntax: ClassVar = Syntax(
        Word("frame", "frame 1", "Select a frame of a script's stack, whose variables expressions then read."),
        CommandForm(whole("number", optional=True)),
        role="note",
    )
    number: int | None = None


class FrameUp(Struct, frozen=True, tag=True):
    """Select the frame that called the selected one, or one further out; as gdb's up."""

    syntax: ClassVar = Syntax(
        Word("up", "up", "Select the frame of the caller; `up 2`: of its caller."),
        CommandForm(count("frames", optional=True)),
        role="note",
    )
    frames: int = 1


class FrameDown(Struct, frozen=True, tag=True):
    """Select the frame that the selected one called, or one further in; as gdb's down."""

    syntax: ClassVar = Syntax(
        Word("down", "down", "Select the frame that the selected one called."),
        CommandForm(count("frames", optional=True)),
        role="note",
    )
    frames: int = 1


class Let(Struct, frozen=True, tag=True):
    """Keep a copy of a value under a new name."""

    syntax: ClassVar = Syntax(
        Word("let", "let w0 = 2.weight[0, 0:10]", "Keep a copy of a value under a new name."),
        CommandForm(Argument("WORD", "name", read=_fresh_name), word("="), expression("value")),
        role="note",
    )
    name: str
    value: Expression


_FINDING = r"no[^\S\n]+finding(?![\w.])|finding[^\S\n]+[a-z][\w-]*"


def _finding(text: str) -> str:
    return "none" if text.startswith("no") else text.split()[1]


def _finding_words(rule: str) -> str:
    return "no finding" if rule == "none" else f"finding {rule}"


class Expect(Struct, frozen=True, tag=True):
    """Expect a condition to hold, for every element."""

    syntax: ClassVar = Syntax(
        Word("expect", "expect 2.weight.grad == 0", "Fail unless a condition holds, for every element."),
        CommandForm(expression("condition")),
        CommandForm(Argument("FINDING", "finding", _FINDING, _finding, _finding_words)),
        role="output",
    )
    condition: Expression | None = None
    finding: str = ""
    """In place of a condition, the rule of a finding that the checks must have made; `none` for no finding at all."""


class Print(Struct, frozen=True, tag=True):
    """Print a value once."""

    syntax: ClassVar = Syntax(
        Word("print", "print norm(2.weight.grad)", "Print a value once."),
        CommandForm(expression("value")),
        role="output",
    )
    value: Expression


class Check(Struct, frozen=True, tag=True):
    """Compare the derivatives of nodes with finite differences; for a custom Function also its double backward.

    `what` is a node's number as `#12`, its name, operation or module, or a glob; empty for the node stopped at, or
    between nodes for every custom Function of the graph. `off RULE` and `on RULE` switch a check of the
    loop, and `threshold RULE NUMBER` sets its threshold.
    """

    syntax: ClassVar = Syntax(
        Word("check", "check #12", "Compare a node, or every custom Function, with finite differences."),
        CommandForm(Argument("PLACE", "what", optional=True, offers=("@nodes",))),
        CommandForm(
            Argument(
                "SWITCH",
                "what",
                r"(?:off|on)[^\S\n]+[a-z][\w-]*|threshold[^\S\n]+[a-z][\w-]*[^\S\n]+[-+.\deE]+",
                lambda text: " ".join(text.split()),
            )
        ),
        role="output",
        needs="graph",
    )
    what: str = ""


class WhyNone(Struct, frozen=True, tag=True):
    """Explain why the `.grad` of a parameter is None: where the path from it to the loss ends."""

    syntax: ClassVar = Syntax(
        Word("why", "why 0.weight.grad", "Explain why a .grad is none or zeros: where its path to the loss ends."),
        CommandForm(expression("what")),
        role="output",
        needs="history",
    )
    what: Expression


class Watch(Struct, frozen=True, tag=True):
    """Report, and pause the queue, whenever the value changes; as gdb's watch."""

    syntax: ClassVar = Syntax(
        Word(
            "watch",
            "watch norm(2.weight)",
            "Pause a running repeat or script when a value changes; a replay prints the change and continues.",
        ),
        CommandForm(expression("value")),
        role="note",
    )
    value: Expression


class Unwatch(Struct, frozen=True, tag=True):
    """Remove a watchpoint by its number, or all of them (0)."""

    syntax: ClassVar = Syntax(
        Word("unwatch", "unwatch 1", "Remove watchpoint 1, or without a number all of them."),
        CommandForm(whole("number", optional=True)),
        role="note",
    )
    number: int = 0


class Say(Struct, frozen=True, tag=True):
    """Narrate in Markdown. The text is the rest of the line, so that it has no form."""

    syntax: ClassVar = Syntax(
        Word("say", "say What it *means*.", "Narrate in Markdown, to the end of the line."),
        role="output",
        line=lambda say: f"say {say.text}",
    )
    text: str


def _size(text: str) -> str:
    if not re.fullmatch(r"[1-9]\d{0,2}x[1-9]\d{0,2}", text):
        raise StatementError(f"`{text}` is not a size", "", "Write columns and rows: size=120x40.", *place(text))
    return str(text)


class Screenshot(Struct, frozen=True, tag=True):
    """Draw the screen to an SVG file; executed by the front end.

    `size` is columns and rows, such as 80x24; empty for the front end's size. `over` is as for `Checkpoint`.
    """

    syntax: ClassVar = Syntax(
        Word(
            "screenshot",
            "screenshot after.svg size=80x24",
            "Draw the screen to an SVG file; `screenshot!` overwrites.",
        ),
        CommandForm(file("path"), Option("size", _size, offers=("80x24", "120x40", "200x60"))),
        role="output",
        needs="history",
    )
    path: str
    size: str = ""
    over: bool = False
