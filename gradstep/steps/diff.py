"""`gradstep diff A.steps B.steps`: run two scripts side by side, and say where they part."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gradstep.steps.faults import ScriptError
from gradstep.steps.parse import read_script
from gradstep.steps.report import failure_text
from gradstep.steps.runner import Runner
from gradstep.steps.script import Line, Script
from gradstep.values.commands import (
    EDITS,
    TRAVELS,
    Backward,
    Command,
    Expect,
    Forward,
    Load,
    NextBatch,
    Print,
    Say,
    Screenshot,
    Step,
    ZeroGrad,
    line_of,
)
from gradstep.values.numbers import count, norm
from gradstep.values.travels import HISTORY

if TYPE_CHECKING:
    from gradstep.session.apart import Parting, Side

_COMPARED = (Load, Forward, Backward, Step, ZeroGrad, NextBatch, *EDITS, *TRAVELS)
_LEFT_OUT = (Expect, Print, Say, Screenshot)
SAME, PARTED, WRONG = 0, 1, 2
"""Exit codes."""


class Moved(Struct, frozen=True):
    """A command of a script that changed the state, and where it stands."""

    command: Command
    line: Line
    script: Script

    @property
    def place(self) -> str:
        """Where it stands, as an editor takes it."""
        return f"{self.script.path}:{self.line.number}"


class FailedError(Exception):
    """A script did not go through; holds the report."""


def diff(
    paths: Sequence[str],
    *,
    devices: Sequence[str | None] = (None, None),
    tolerance: float = 0.0,
    history: int = HISTORY,
) -> int:
    """Run two scripts side by side in one process, print where they part, and return the exit code.

    Args:
        paths: the two scripts.
        devices: in place of the devices of their `load`s.
        tolerance: of the norm of a difference relative to the norm of a tensor; 0 compares bits.
        history: bytes that each may keep to go back in time with.
    """
    try:
        scripts = [read_script(path) for path in paths]
    except ScriptError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return WRONG
    from gradstep.session.apart import Side

    sides = [Side(history), Side(history)]
    try:
        with redirect_stdout(sys.stderr):
            code, text = _compare(sides, scripts, devices, tolerance)
    except FailedError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return WRONG
    print(text)  # noqa: T201
    return code


def _compare(
    sides: Sequence[Side], scripts: Sequence[Script], devices: Sequence[str | None], tolerance: float
) -> tuple[int, str]:
    from gradstep.session.apart import parting

    one, other = (_walk(*each) for each in zip(sides, scripts, devices, strict=True))
    passed, otherwise = 0, ""
    while True:
        a, b = next(one, None), next(other, None)
        if a is None or b is None:
            more = a or b
            end = "" if more is None else f"; then {more.script.path} goes on with `{line_of(more.command)}`"
            return SAME, f"the same for {count(passed, 'command')}{end}" + (f"\n{otherwise}" if otherwise else "")
        if a.command != b.command and not isinstance(a.command, Load) and not otherwise:
            otherwise = f"the scripts differ at {a.place}: `{line_of(a.command)}`, {b.place}: `{line_of(b.command)}`"
        # looked into only where both did the same
        command = a.command if type(a.command) is type(b.command) else Step()
        found = parting(sides[0], sides[1], command, tolerance)
        if found is not None:
            return PARTED, _words(found, passed, a, b, otherwise, sides[0])
        passed += 1


def _walk(side: Side, script: Script, device: str | None) -> Iterator[Moved]:
    """Carry a script out; yield each command that changed the state, just after it did."""
    runner = Runner(script)
    while (line := runner.line) is not None:
        command = line.command
        if isinstance(command, Load) and device is not None:
            command = replace(command, device=device)
        problem = None if isinstance(command, _LEFT_OUT) else side.execute(command).problem
        failure = runner.feed(problem)
        if failure is not None:
            raise FailedError(failure_text(script, failure))
        if problem is None and isinstance(command, _COMPARED):
            yield Moved(command, line, script)


def _words(found: Parting, passed: int, a: Moved, b: Moved, otherwise: str, side: Side) -> str:
    stop = side.session.stop
    phase = line_of(a.command)
    before = f"the same for {count(passed, 'command')}, then they part" if passed else "they part at once,"
    lines = [f"{before} at `{phase}` ({a.place}, {b.place})"]
    lines += [otherwise] if otherwise else []
    lines.append(f"  iteration {stop.iteration}: {found.tensor} {_how(found.what, found.largest, found.relative)}")
    if found.inside:
        how = _how(found.inside_what, found.inside_largest, found.inside_relative)
        lines.append(f"  first inside it: {found.inside} {how}")
    return "\n".join(lines)


def _how(what: str, largest: float | None, relative: float | None) -> str:
    if largest is None or relative is None:
        return f"differs: {what}"
    return f"differs by up to {norm(largest)}, {relative:.3g} of its norm"
