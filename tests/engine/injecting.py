"""Raise at the nth call of a phase, in gradstep, torch or a builtin."""

from __future__ import annotations

import sys
from collections import deque
from types import FrameType

import torch.nn.modules.module as modules

from gradstep.engine.debuggee.loop import Act
from gradstep.engine.phases import Taps
from gradstep.engine.problems import problem_of
from gradstep.engine.runner import Runner
from gradstep.engine.transaction import Transaction

NEVER = 1 << 40
_CLEANING = {Transaction.roll_back.__code__, problem_of.__code__}
"""What runs after a failure; a second failure there is not the phase's."""
_WAITING = "/engine/stepping/phase_thread.py"
"""The machinery of threads, in which nothing of the phase runs."""
_DROPPED = deque[object](maxlen=0).append
_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_forward_hooks_always_called")


class Injector:
    """Counts the calls that the phases of a workload make, in Python and in C, and raises at one of them.

    Args:
        runner: its `run` is watched, on whatever thread it runs.
        error: what is raised. A KeyboardInterrupt only where one can come: while the phase may be interrupted, and
            not before a call that is built in but after it.
    """

    def __init__(self, runner: Runner, error: type[BaseException]) -> None:
        self._runner, self._error = runner, error
        self._events = ("call", "c_return") if error is KeyboardInterrupt else ("call", "c_call")
        self._run, self._cleaning = runner.run, 0
        self._kept = self._probe
        """A reference: CPython 3.11 may call a profile function that raised after it was freed."""
        self.left = NEVER
        self.where = ""
        """Where it raised last; empty before that."""
        self.calls = 0
        """The number of calls in the last phase."""
        runner.run = self.run  # type: ignore[method-assign]

    def light(self, at: int) -> None:
        """Raise at a call of the next phase, counted from 1."""
        self.left, self.where = at, ""

    def run(self, act: Act, taps: Taps | None = None) -> None:
        """Carry out a phase as `Runner.run` does."""
        self.calls = self._cleaning = 0
        hook = sys.unraisablehook
        sys.unraisablehook = _DROPPED  # pytest's runs Python code: a call of the phase's it is not
        sys.setprofile(self._kept)
        try:
            self._run(act, taps)
        finally:
            sys.setprofile(None)
            sys.unraisablehook = hook

    def _probe(self, frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if code in _CLEANING and event in ("call", "return"):
            self._cleaning += 1 if event == "call" else -1
        if event not in self._events or self._cleaning or _WAITING in code.co_filename or argument is sys.setprofile:
            return
        if self._error is KeyboardInterrupt and not self._runner.running:
            return
        self.calls += 1
        if self.calls == self.left:
            self.left = NEVER
            self.where = f"{event} {code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {code.co_name} {argument}"
            raise self._error("injected")


def hooks_left() -> int:
    """Return the number of torch's global module hooks."""
    return sum(len(getattr(modules, name)) for name in _HOOKS)
