"""Commands that step inside a phase, and breakpoints."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from gradstep.values.commands.arguments import Argument, choice, count, expression, flag, integer_option, whole
from gradstep.values.commands.statement_error import StatementError, place
from gradstep.values.commands.syntax import CommandForm, Syntax, Word
from gradstep.values.expressions import Expression

BreakKind: TypeAlias = Literal["phase", "module", "node", "grad", "iteration", "when", "nan", "inf", "line", "finding"]
Edge: TypeAlias = Literal["enter", "exit", "before", "after", ""]
_STEPPED = ("forward", "backward")
_PHASES = ("forward", "backward", "step", "zero_grad")
_EVERY = ("@breakpoints",)


def _stepped(phase: str) -> str:
    if phase not in _STEPPED:
        what = "It is a single torch call, with no stops inside."
        raise StatementError(f"`{phase}` can't be stepped into", what, "Write `into forward`.", *place(phase))
    return str(phase)


class Into(Struct, frozen=True, tag=True):
    """Step into a phase, by default the natural next one; inside a phase, one level deeper."""

    syntax: ClassVar = Syntax(
        Word("into", "into backward", "Step into a phase; inside one, one level deeper."),
        CommandForm(choice("phase", (*_PHASES, "next_batch"), optional=True, offers=_STEPPED)._replace(read=_stepped)),
        role="step",
        needs="inside",
    )
    phase: Literal["", "forward", "backward"] = ""


class Over(Struct, frozen=True, tag=True):
    """Run the next module, op or node as a whole."""

    syntax: ClassVar = Syntax(
        Word("over", "over", "Run the next module, op or node as a whole."), CommandForm(), role="step"
    )


class NextIteration(Struct, frozen=True, tag=True):
    """Run a training script to its next iteration; with `same`, to the same phase of it."""

    syntax: ClassVar = Syntax(
        Word(
            "next_iteration",
            "next_iteration",
            "Run a training script to its next iteration, or the `same` phase of it.",
        ),
        CommandForm(flag("same", "same", optional=True)),
        role="step",
    )
    same: bool = False


class Out(Struct, frozen=True, tag=True):
    """Run to the end of the running module, or with `phase` to the end of the phase, ignoring breakpoints."""

    syntax: ClassVar = Syntax(
        Word("out", "out phase", "Run to the end of the module, or with `phase` of the phase."),
        CommandForm(flag("phase", "phase", optional=True)),
        role="step",
    )
    phase: bool = False


class Continue(Struct, frozen=True, tag=True):
    """Run to the next breakpoint, or to the end of the phase."""

    syntax: ClassVar = Syntax(
        Word("continue", "continue", "Run to the next breakpoint, or to the end of the phase."),
        CommandForm(),
        role="step",
    )


class Until(Struct, frozen=True, tag=True):
    """Run until a condition holds: checked after each phase, or at each stop of the stepped level."""

    syntax: ClassVar = Syntax(
        Word(
            "until", "until loss < 1", "Run until a condition holds: after a phase, or at a stop of the stepped level."
        ),
        CommandForm(expression("condition")),
        role="step",
    )
    condition: Expression


class Pause(Struct, frozen=True, tag=True):
    """Have the next phase stop at a place inside it, where a pause by key had stopped it.

    Places count from 1, as `Position.place`; with `modules` ops do not count, as when a phase was paused that was not
    being stepped.
    """

    syntax: ClassVar = Syntax(
        Word("pause", "pause 57", "Have the next phase pause at its 57th stop inside; recorded for a pause by key."),
        CommandForm(count("place"), flag("modules", "modules", optional=True)),
        role="note",
    )
    place: int
    modules: bool = False


def _break(first: str, fields: dict[str, Any]) -> Break:
    if "log" in fields and first != "log":
        raise StatementError("a breakpoint does not print", "", "Write `log` instead of `break`.", *place(first))
    what = fields.get("what", "")
    if "kind" not in fields:
        fields = {**fields, "kind": "line"}
    if what.startswith("#") and fields["kind"] != "node":
        raise StatementError("`#` is the number of a node", "", f"Write `break node {what}`.", *place(what))
    return Break(**{**fields, "what": str(what)})


def _break_line(command: Break) -> str:
    if command.kind != "line":
        return Break.syntax.by_form(command)
    return Break.syntax.by_form(replace(command, kind="phase")).replace(" phase ", " ", 1)


_REST = (expression("condition", "if"), expression("log", "print"), integer_option("ignore"))
_PLACES = {"phase": _PHASES, "module": ("@modules",), "node": ("@nodes",), "grad": ("@parameters",)}
_EDGES = {"module": ("enter", "exit"), "node": ("before", "after"), "grad": ("before", "after")}


class Break(Struct, frozen=True, tag=True):
    """Set a breakpoint, or with `passing` a logpoint, which prints `log` and continues; see `inside.Breakpoint`."""

    syntax: ClassVar[Syntax] = Syntax(
        Word(
            "break",
            "break node Relu* if norm(node.in) > 5",
            "Stop at a phase, module, node, grad or iteration, `when` a condition holds, or at a new `nan` or `inf`.",
            {"passing": False},
        ),
        Word(
            "log",
            "log node Relu* print norm(node.in)",
            "Print instead of stopping; otherwise as `break`.",
            {"passing": True},
        ),
        CommandForm(
            choice("kind", ("phase", "module", "node", "grad", "iteration")),
            Argument("PLACE", "what", read=lambda what: what, offers=_PLACES),
            choice("edge", ("enter", "exit", "before", "after"), optional=True)._replace(offers=_EDGES),
            *_REST,
        ),
        CommandForm(choice("kind", ("when",)), expression("condition"), *_REST[1:]),
        CommandForm(choice("kind", ("nan", "inf"))),
        CommandForm(choice("kind", ("finding",)), Argument("PLACE", "what", optional=True)),
        CommandForm(Argument("FILE_LINE", "what", r"[^\s\"{};#=]+:[0-9]+"), *_REST),
        role="note",
        needs="inside",
        make=_break,
        line=_break_line,
    )
    kind: BreakKind
    what: str = ""
    edge: Edge = ""
    condition: Expression | None = None
    log: Expression | None = None
    ignore: int = 0
    passing: bool = False


class Delete(Struct, frozen=True, tag=True):
    """Delete a breakpoint by its number, or all of them (0)."""

    syntax: ClassVar = Syntax(
        Word("delete", "delete 2", "Delete breakpoint 2, or without a number all of them."),
        CommandForm(whole("number", optional=True, offers=_EVERY)),
        role="note",
    )
    number: int = 0


class Enable(Struct, frozen=True, tag=True):
    """Enable or disable a breakpoint by its number, or all of them (0)."""

    syntax: ClassVar = Syntax(
        Word("enable", "enable 2", "Enable breakpoint 2, or all of them.", {"on": True}),
        Word("disable", "disable 2", "Disable breakpoint 2, or all of them.", {"on": False}),
        CommandForm(whole("number", optional=True, offers=_EVERY)),
        role="note",
    )
    number: int = 0
    on: bool = True


class Ignore(Struct, frozen=True, tag=True):
    """Skip the next hits of a breakpoint."""

    syntax: ClassVar = Syntax(
        Word("ignore", "ignore 2 10", "Skip the next 10 hits of breakpoint 2."),
        CommandForm(whole("number", offers=_EVERY), whole("count")),
        role="note",
    )
    number: int
    count: int


StepCommand: TypeAlias = NextIteration | Into | Over | Out | Continue | Until | Pause | Break | Delete | Enable | Ignore
