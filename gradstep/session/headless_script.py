"""A script that runs through without a screen, on this thread, and the report of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from msgspec.structs import asdict

from gradstep.engine.observe.loop_phases import Edge, Name
from gradstep.engine.script.main_thread import MainThread, News
from gradstep.engine.script.program import Ended, Program, Runnable
from gradstep.engine.script.run_recorder import RunRecorder
from gradstep.session.script_refusals import trained_nothing
from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd
from gradstep.values.errors import GradstepError
from gradstep.values.findings import Finding
from gradstep.values.outcomes import Problem

HIT = 1
"""Exit code where a breakpoint ended the script."""


class Enough(SystemExit):
    """Ends a script at a breakpoint, or after the iterations that were asked for."""


class _Unattended(MainThread):
    """Where nobody waits at a stop: it ends the script."""

    stopping: Callable[[], None] = staticmethod(lambda: None)
    """Called at the stop, before the script is ended."""

    def halt(self, kind: News = "inside") -> None:  # noqa: ARG002
        self.stopping()
        raise Enough(HIT)

    def wait(self) -> None:
        """Begin at once."""


class HeadlessScript:
    """Runs a script to its end, to a breakpoint, or for some iterations.

    Args:
        run: the script.
        settings: breakpoints, where it ends early, and checks that are switched.
        iterations: after how many it ends; 0 for all.
        program: what is run in place of the script, for tests.
        records: False where no report is made of it.
    """

    def __init__(
        self,
        run: cmd.Run,
        settings: Sequence[cmd.Break | cmd.Check] = (),
        iterations: int = 0,
        program: Runnable | None = None,
        records: bool = True,
    ) -> None:
        self.run_command, self._iterations = run, iterations
        thread = _Unattended()
        thread.stopping = self._stopping
        self.stopped = ""
        """The breakpoint that ended it, and where; empty for none."""
        self.session = ScriptSession(thread=thread)
        for each in settings:
            problem = self.session.execute(each).problem
            if problem is not None:
                raise GradstepError(problem)
        self.program = program or Program(run.target, run.arguments, run.module)
        self.loop = self.session.prepare(self.program)
        self.recorder = RunRecorder(self.loop)
        if iterations or records:
            self.loop.told = self._told if iterations else self.recorder.told
        self.ended = Ended(0)
        self.seconds = 0.0
        self.enough = False
        self.replaced = False
        """True once the script replaces its process by another program."""

    def run(self) -> int:
        """Run it; return the exit code: the script's own, `HIT` at a breakpoint, 0 after the iterations asked for.

        Raises:
            GradstepError: there is no such script, or it is not valid Python.
        """
        began = time.perf_counter()
        self.loop.watch()
        try:
            self.ended = self.program.run()
            if not self.enough:
                self.session.watch.over()
        finally:
            self.loop.leave()
            self.seconds = time.perf_counter() - began
            self.recorder.end()
        return self.ended.code

    def _stopping(self) -> None:
        inspector, line = self.session.watch.inspector, self.loop.stack.source
        position = None if inspector is None else inspector.stepper.position
        where = "" if position is None else f", {position.words}"
        line = line if position is None or not position.source.file else position.source
        reason = self.loop.stops.reason if position is None else position.reason
        self.stopped = f"{reason}{where}" + (f", {os.path.basename(line.file)}:{line.line}" if line.file else "")

    @property
    def never_hit(self) -> list[str]:
        """The breakpoints that were never hit, as their lines."""
        return [row.line for row in self.session.watch.breakpoints if not row.hits]

    def _told(self, name: Name, edge: Edge, outermost: bool, grad_mode: bool) -> None:
        self.recorder.told(name, edge, outermost, grad_mode)
        if self._iterations and self.loop.iteration >= self._iterations:
            self.enough = True
            raise Enough(0)

    @property
    def verdict(self) -> str:
        """What came of it, in a sentence."""
        problem: Problem | None = self.ended.problem
        if problem is not None:
            where = next((f" at {each.file}:{each.line}" for each in reversed(problem.frames) if each.user), "")
            return f"raised {problem.what.splitlines()[0]}{where}"
        if self.replaced:
            return "replaced its process (os.exec): what runs from there on is not watched"
        if self.stopped:
            return f"stopped at {self.stopped}, iteration {self.loop.iteration}"
        if not self.loop.losses:
            why = trained_nothing(self.loop)
            return why[:1].lower() + why[1:].rstrip(".")
        ended = f"ended after {self._iterations} iterations, as asked" if self.enough else "ran to its end"
        return f"{ended} with exit code {self.ended.code}" if self.ended.code else ended

    def report(self) -> dict[str, Any]:
        """Return the report, of numbers, strings, lists and dicts."""
        recorder = self.recorder
        between = max(0.0, self.seconds - sum(recorder.seconds.values()))
        held, losses = self.loop.held, self.loop.losses
        return {
            "script": cmd.line_of(self.run_command).removeprefix("run "),
            "verdict": self.verdict,
            "exit_code": self.ended.code,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "device": "" if held is None else str(held.device),
            "parameters": 0 if held is None else sum(p.numel() for _, p in held.parameters),
            "seconds": self.seconds,
            "iterations": self.loop.iteration + (not self.enough) if losses else 0,
            "counts": dict(recorder.counts),
            "phases": [{"order": list(order), "iterations": n} for order, n in recorder.orders.most_common(5)],
            "time": {**recorder.seconds, "between": between},
            "losses": losses,
            "sampled": recorder.sampled,
            "layers": [
                {"name": each.name, "shape": list(each.shape), "grad_norm": each.grad, "weight_norm": each.weight}
                | {"update_ratio": each.update}
                for each in recorder.layers.values()
            ],
            "problem": None if self.ended.problem is None else _problem(self.ended.problem),
            "never_hit": self.never_hit,
            "findings": [_finding(each) for each in self.session.findings],
        }


def _finding(finding: Finding) -> dict[str, Any]:
    where = {name: value for name, value in asdict(finding.where).items() if value not in ("", 0, -1)}
    return {
        "rule": finding.rule,
        "severity": finding.severity,
        "what": finding.what,
        "why": finding.why,
        "where": where,
        "iteration": finding.first,
        "last": finding.last,
        "count": finding.count,
        "evidence": dict(finding.evidence),
        "remedy": finding.remedy,
    }


def _problem(problem: Problem) -> dict[str, Any]:
    frames = [{"file": f.file, "line": f.line, "function": f.function, "text": f.text} for f in problem.frames]
    return {"title": problem.title, "what": problem.what, "remedy": problem.remedy, "frames": frames}
