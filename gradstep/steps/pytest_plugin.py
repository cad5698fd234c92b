"""Collect `*.steps` scripts as tests. This imports pytest only; torch is imported when a test runs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from _pytest._code.code import ReprFileLocation, TerminalRepr

if TYPE_CHECKING:
    from _pytest._io import TerminalWriter

    from gradstep.steps.language.script import Script
    from gradstep.steps.runner import Failure
    from gradstep.values.outcomes import Problem

_LOOKED_AT = 1 << 16
"""Characters of a file that are read to recognise a gradstep script."""


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a gradstep script; ignore another tool's `.steps` file unless it was given explicitly."""
    if file_path.suffix == ".steps" and (parent.session.isinitpath(file_path) or _is_ours(file_path)):
        return StepsFile.from_parent(parent, path=file_path)
    return None


def _is_ours(path: Path) -> bool:
    """Return whether the first statement other than comments and narration is a `load` or `run`."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LOOKED_AT)
    except (OSError, UnicodeDecodeError):
        return False
    statements = re.sub(r"(?m)^[ \t]*(#.*|say(\s.*)?)?$\n?", "", text.removeprefix("\ufeff")).lstrip()
    return bool(re.match(r"(load|run)[ \t]+\S", statements))


class StepsFile(pytest.File):
    """A script file, which has one test."""

    def collect(self) -> Iterable[StepsItem]:
        """Yield the one test: the whole script."""
        yield StepsItem.from_parent(self, name=self.path.stem)


class StepsItem(pytest.Item):
    """A script as a test: it passes when every command succeeds and every expectation holds."""

    def runtest(self) -> None:
        """Replay the script, without screenshots."""
        from gradstep.steps.headless import Headless, session_for
        from gradstep.steps.language.parse import read_script

        script = read_script(str(self.path))
        session = session_for(script)
        try:
            failure = Headless(script, session).run(_tell)
        finally:
            session.close()
        if failure is not None:
            if failure.problem.kind == "interrupted":
                raise KeyboardInterrupt
            raise StepsFailure(script, failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        """Show the line that failed, not gradstep's frames."""
        from gradstep.steps.language.faults import ScriptError
        from gradstep.steps.report import failure_text

        error = excinfo.value
        if isinstance(error, StepsFailure):
            return _Report(failure_text(error.script, error.failure), str(self.path), error.failure.number, str(error))
        if isinstance(error, ScriptError):
            return _Report(str(error), str(self.path), error.faults[0].line, error.problem.title)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file, the line (from 0), and the name of the test."""
        return self.path, 0, f"steps: {self.name}"


class StepsFailure(Exception):  # noqa: N818 (a failed test, as pytest's own)
    """A failure of a script."""

    def __init__(self, script: Script, failure: Failure) -> None:
        super().__init__(f"{failure.text}: {_short(failure.problem)}")
        self.script, self.failure = script, failure


def _short(problem: Problem) -> str:
    """Return a problem in one line; for an expectation, the actual value and the expected one."""
    if not problem.expected:
        return (problem.what or problem.title).splitlines()[0]
    if problem.difference and "\n" in problem.actual:  # for many numbers, the difference is more informative
        return problem.difference.splitlines()[0]
    return f"{problem.actual.splitlines()[0]}, expected {problem.expected.splitlines()[0]}"


class _Report(TerminalRepr):
    """The text of a failure, and the location for pytest's summary."""

    def __init__(self, text: str, path: str, line: int, message: str) -> None:
        self.text = text
        self.reprcrash = ReprFileLocation(path, line, message)

    def toterminal(self, tw: TerminalWriter) -> None:
        tw.line(self.text)
        tw.line("")
        self.reprcrash.toterminal(tw)


def _tell(_line: object, outcome: Any) -> None:
    if outcome.text:
        print(outcome.text)  # noqa: T201 (pytest shows it with a failure)
