"""`gradstep diff`: compare two scripts, one script on two devices or in two dtypes, or two saved states."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from gradstep.steps.jsonlines import spelled
from gradstep.steps.language.faults import ScriptError
from gradstep.steps.language.parse import read_script
from gradstep.steps.language.script import Script, StepsLine
from gradstep.steps.report import failure_text
from gradstep.steps.runner import StepsRunner
from gradstep.values.commands import HISTORY, Load, role_of
from gradstep.values.differences import (
    FileComparison,
    RunComparison,
    Tolerance,
    comparison_words,
    file_comparison_words,
)
from gradstep.values.errors import wrong
from gradstep.values.side_by_side import Difference, LocatedCommand, side_by_side

if TYPE_CHECKING:
    from gradstep.session.side_by_side import SideSession

SAME, DIVERGED, WRONG = 0, 1, 2
"""Exit codes."""
STEPS, SAVED = ".steps", ".safetensors"


class FailedError(Exception):
    """A script failed; the message is the report."""


class _ScriptRun:
    """Runs one script, up to the next command that can make the two diverge."""

    def __init__(self, script: Script, side: SideSession, device: str | None) -> None:
        self.side = side
        self._script, self._device, self._runner = script, device, StepsRunner(script)

    def next_command(self) -> LocatedCommand | None:
        while (line := self._runner.line) is not None:
            if role_of(line.command) not in ("output", "note"):
                return LocatedCommand(line.command, f"{self._script.path}:{line.number}")
            self._run(line)
        return None

    def advance(self) -> None:
        assert self._runner.line is not None
        self._run(self._runner.line)

    def _run(self, line: StepsLine) -> None:
        command = line.command
        if isinstance(command, Load) and self._device is not None:
            command = replace(command, device=self._device)
        # commands that only print change nothing, and the expectations of one run may not hold in the other
        problem = None if role_of(command) == "output" else self.side.execute(command).problem
        failure = self._runner.feed(problem)
        if failure is not None:
            raise FailedError(failure_text(self._script, failure))


def diff(
    paths: Sequence[str],
    *,
    devices: Sequence[str | None] = (None, None),
    dtypes: Sequence[str] = ("", ""),
    tolerance: Tolerance | None = None,
    history: int = HISTORY,
    as_json: bool = False,
) -> int:
    """Print where two scripts diverge, or the differences of two saved states, and return the exit code.

    Args:
        paths: two scripts, which are run side by side in one process, or two saved states.
        devices: override the devices of the scripts' `load`s.
        dtypes: what their workloads are cast to; empty for no cast.
        tolerance: differences to ignore; None compares bits, or uses defaults where devices or dtypes differ.
        history: memory budget of each script's history, in bytes.
        as_json: print a JSON object instead of text.

    Raises:
        GradstepError: the files can't be compared, or a saved state can't be read.
    """
    try:
        with redirect_stdout(sys.stderr):
            found: RunComparison | FileComparison
            if _kind(paths) == SAVED:
                from gradstep.session.side_by_side import compare_files

                found = compare_files((Path(paths[0]), Path(paths[1])), tolerance)
            else:
                found = _scripts(paths, devices, dtypes, tolerance, history)
    except (FailedError, ScriptError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return WRONG
    parted = found.parting is not None if isinstance(found, RunComparison) else bool(found.tensors or found.others)
    if as_json:
        entry = {"parted": parted, **msgspec.to_builtins(found)}
        text = json.dumps(spelled(entry), ensure_ascii=False, allow_nan=False)
    else:
        text = comparison_words(found) if isinstance(found, RunComparison) else file_comparison_words(found)
    print(text)  # noqa: T201
    return DIVERGED if parted else SAME


def _kind(paths: Sequence[str]) -> str:
    for path in paths:
        if not path.endswith((STEPS, SAVED)):
            what = f"{path} is neither a script ({STEPS}) nor a saved state ({SAVED})."
            raise wrong("this can't be compared", what, "Give two scripts, one script, or two saved states.", path)
    kinds = {SAVED if path.endswith(SAVED) else STEPS for path in paths}
    if len(kinds) == 2:
        script, saved = sorted(paths, key=lambda path: path.endswith(SAVED))
        written = script.removesuffix(STEPS) + SAVED
        raise wrong(
            "a script can't be compared with a saved state",
            f"{script} would be run, {saved} only read.",
            f"End the script with `checkpoint {Path(written).name}`, replay it, then compare {written} with {saved}.",
            saved,
        )
    return kinds.pop()


def _scripts(
    paths: Sequence[str],
    devices: Sequence[str | None],
    dtypes: Sequence[str],
    tolerance: Tolerance | None,
    history: int,
) -> RunComparison:
    scripts = [read_script(path) for path in paths]
    from gradstep.session.side_by_side import SideSession, first_differences, other_names, tolerance_of

    sides = [SideSession(history, dtype) for dtype in dtypes]
    one, other = (_ScriptRun(*each) for each in zip(scripts, sides, devices, strict=True))

    def look(went: Sequence[bool]) -> Difference:
        let_pass = tolerance_of(sides[0], sides[1], tolerance)
        return Difference(*first_differences(sides[0], sides[1], let_pass, all(went)), sides[0].session.stop.iteration)

    names = [" ".join(filter(None, each)) for each in zip(paths, (d or "" for d in devices), dtypes, strict=True)]
    found = side_by_side((one, other), (names[0], names[1]), look)
    renamed = other_names(*sides)
    otherwise = (*found.otherwise, renamed) if renamed else found.otherwise
    return replace(found, otherwise=otherwise, tolerance=tolerance_of(sides[0], sides[1], tolerance))
