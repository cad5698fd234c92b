"""An outcome, and the changes of a command, as a sheet."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.sheets.sheet import Cell, Preformatted, Sheet, Table, Words
from gradstep.values import numbers
from gradstep.values.commands import Command, line_of
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Changes

_FEW = 6
"""Maximum number of commands that are listed."""
_HEAD = ("changed", "before", "after", "norm of change")


def changes_sheet(changes: Changes) -> Sheet:
    """Return the changes of a phase as a table."""
    loss = "" if changes.loss is None else f"loss {numbers.loss(changes.loss)}"
    rows = tuple(
        (Cell(c.name), Cell(c.before, "dim"), Cell(c.after), Cell(numbers.norm(c.norm_of_change))) for c in changes.rows
    )
    body = Table(_HEAD, rows) if rows else Words("no weight and no .grad changed")
    return Sheet(changes.phase or "loaded", loss, (body,))


def outcome_sheet(outcome: Outcome) -> Sheet:
    """Return an outcome: an error with its remedy, or the commands, their output, the changes and the stop."""
    problem, changes, stop = outcome.problem, outcome.changes, outcome.stop
    if problem is not None:
        before = (Words(f"ran before it: {_commands(outcome.carried_out)}"),) if outcome.carried_out else ()
        return Sheet(problem.title, "", (*(Words(text) for text in (problem.what, problem.remedy) if text), *before))
    printed = (Preformatted(tuple(outcome.text.splitlines())),) if outcome.text else ()
    position = stop.position
    if position is not None:
        source = position.source
        line = (Words(f"{source.file}:{source.line}  {source.text}"),) if source.file else ()
        return Sheet(position.words, position.reason, (*printed, *line))
    if changes is not None:
        sheet = changes_sheet(changes)
        return sheet._replace(blocks=(*printed, *sheet.blocks))
    hit = (Words(stop.hit),) if stop.hit else ()
    loss = f"loss {numbers.loss(stop.loss)}   " if stop.loss is not None else ""
    about = f"{loss}iteration {stop.iteration}   stop {stop.number}"
    return Sheet(_commands(outcome.carried_out) or "nothing was run", about, (*printed, *hit))


def _commands(commands: Sequence[Command]) -> str:
    """Return commands as one line: the first few, or one iteration of a repeated block."""
    count = len(commands)
    period = next((n for n in range(1, count // 2 + 1) if count % n == 0 and commands[n:] == commands[:-n]), count)
    lines = [line_of(command) for command in commands[: min(period, _FEW)]]
    lines += [f"… {count} commands"] if period > _FEW else []
    return f"repeat {count // period} {{ {'; '.join(lines)} }}" if period < count else "; ".join(lines)
