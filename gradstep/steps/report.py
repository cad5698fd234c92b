"""Format a failed command of a script: the line, a caret, expected and actual, the user's frames."""

from __future__ import annotations

import re
import textwrap

from gradstep.steps.language.faults import caret_lines
from gradstep.steps.language.script import Script
from gradstep.steps.runner import Failure
from gradstep.values.outcomes import Frame, Problem, Stop


def failure_text(script: Script, failure: Failure) -> str:
    """Return the report of a failure, as several lines."""
    problem = failure.problem
    source = script.source_of(failure.number)
    column, width = _place(source, failure)
    lines = [f"{script.path}:{failure.number}:{column}: {problem.title}"]
    lines += [f"    {text}" for text in caret_lines(source, column, width)]
    if problem.kind != "expectation" and problem.what and not problem.expected:
        lines += textwrap.indent(problem.what, "  ").split("\n")
    for label, text in (("expected", problem.expected), ("actual", problem.actual), ("difference", problem.difference)):
        if text:
            lines += textwrap.indent(text, " " * 13).split("\n")
            lines[-1 - text.count("\n")] = f"  {label:<10} {text.splitlines()[0]}"
    lines += [f"  {line}" for line in frame_lines(problem)]
    if problem.remedy:
        lines += textwrap.wrap(problem.remedy, 110, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def stop_text(stop: Stop) -> str:
    """Return where a breakpoint stopped a script: the breakpoint, the position, and the user's line there."""
    position = stop.position
    if position is None:
        return stop.hit
    source = position.source
    lines = [f"{stop.hit}", f"  {position.words}"]
    return "\n".join(lines + ([f"  {source.file}:{source.line}  {source.text}"] if source.file else []))


def frame_lines(problem: Problem) -> list[str]:
    """Return the debuggee's traceback, with library frames counted only; innermost last."""
    lines: list[str] = []
    skipped = 0
    for frame in problem.frames:
        if not frame.user:
            skipped += 1
            continue
        lines += _skipped(skipped) + _frame(frame)
        skipped = 0
    if not lines and problem.frames:
        return _skipped(skipped - 1) + _frame(problem.frames[-1])
    return lines + _skipped(skipped)


def _frame(frame: Frame) -> list[str]:
    return [f'File "{frame.file}", line {frame.line}, in {frame.function}'] + (
        [f"  {frame.text}"] if frame.text else []
    )


def _skipped(count: int) -> list[str]:
    return [f"... {count} library frame{'s' if count > 1 else ''}"] if count > 0 else []


def _place(source: str, failure: Failure) -> tuple[int, int]:
    """Return column and width of the subject in the source line; of the whole command when it is not found."""
    subject, start = failure.problem.subject, failure.column - 1
    if subject:
        # the spacing may differ from that in the problem; and w[0] is not the 0 of 2.weight
        pattern = r"\s*".join(map(re.escape, subject.split()))
        found = re.compile(rf"(?<![\w.]){pattern}(?![\w.])|(?<!\w){pattern}").search(source, start)
        if found:
            return found.start() + 1, max(1, found.end() - found.start())
    return failure.column, max(1, len(failure.text))
