"""Running a script as `python` runs it: its own `__main__`, arguments, path and exit code."""

from __future__ import annotations

import atexit
import builtins
import os
import runpy
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from types import CodeType, TracebackType
from typing import Any, NamedTuple, Protocol

from gradstep.engine.problems import is_ours, problem_of_script
from gradstep.values.errors import wrong
from gradstep.values.outcomes import Problem


class Ended(NamedTuple):
    """How a script ended."""

    code: int
    """Its exit code."""
    problem: Problem | None = None
    """What it raised; None where it raised nothing, or `SystemExit`."""
    error: BaseException | None = None


class Runnable(Protocol):
    """What is run: a script, or whatever trains."""

    @property
    def name(self) -> str:
        """What it is called on the screen."""
        ...

    def run(self) -> Ended:
        """Run it to its end."""
        ...


class Attached(NamedTuple):
    """What was running before the session: nobody runs it from here."""

    name: str

    def run(self) -> Ended:
        """Refuse."""
        raise wrong("this can't be run again", "the debugger was opened by a line of it", "run the script again")


class Program:
    """A script, or with `module` a module as `python -m` takes it, and its arguments."""

    def __init__(self, target: str, arguments: Sequence[str] = (), module: bool = False) -> None:
        self.target, self.arguments, self.module = target, tuple(arguments), module

    @property
    def name(self) -> str:
        """What it is called on the screen."""
        return self.target if self.module else os.path.basename(self.target)

    def run(self) -> Ended:
        """Run it on this thread to its end, its exit functions included; it prints what `python` would print.

        Raises:
            GradstepError: there is no such file or module, or it is not valid Python.
        """
        ended = _run(self._prepare())
        with suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        return ended

    def _prepare(self) -> CodeType:
        """Make this process's `__main__`, `sys.argv` and `sys.path` those of the script; return its code."""
        main: dict[str, Any] = {
            "__name__": "__main__",
            "__builtins__": builtins,
            "__cached__": None,
            "__doc__": None,
        }
        if self.module:
            sys.path.insert(0, os.getcwd())
            try:
                details = runpy._get_module_details(self.target)  # type: ignore[attr-defined]
            except ImportError as error:
                sys.path.pop(0)
                raise wrong(f"there is no module {self.target} to run", str(error), "", self.target) from error
            spec, code = details[1], details[2]
            main.update(__file__=code.co_filename, __spec__=spec, __package__=spec.parent, __loader__=spec.loader)
            sys.argv[:] = [code.co_filename, *self.arguments]
            sys.orig_argv[:] = [sys.executable, "-m", self.target, *self.arguments]
        else:
            path = os.path.abspath(self.target)
            if os.path.isdir(path):
                path = os.path.join(path, "__main__.py")
            code = _compiled(path, self.target)
            sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
            main.update(__file__=path, __spec__=None, __package__=None, __loader__=SourceFileLoader("__main__", path))
            sys.argv[:] = [self.target, *self.arguments]
            sys.orig_argv[:] = [sys.executable, *sys.argv]
        names = sys.modules["__main__"].__dict__
        if "__annotations__" in names:  # until Python 3.13
            main["__annotations__"] = {}
        names.clear()
        names.update(main)
        made: CodeType = code
        return made


def _compiled(path: str, target: str) -> CodeType:
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        raise wrong(f"{target} cannot be read", f"{error.strerror}.", "Check the path.", target) from error
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        text = error.msg if isinstance(error, SyntaxError) else error
        raise wrong(f"{target} is not valid Python", f"{line}{text}", "Does `python` run this file?", target) from error


def _run(code: CodeType) -> Ended:
    try:
        exec(code, sys.modules["__main__"].__dict__)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return Ended((end.code or 0) & 0xFF)
        print(end.code, file=sys.stderr)  # noqa: T201
        return Ended(1)
    except BaseException as error:
        _strip(error)
        try:
            sys.excepthook(type(error), error, error.__traceback__)
        except BaseException:  # a script may replace it
            sys.__excepthook__(type(error), error, error.__traceback__)
        return Ended(130 if isinstance(error, KeyboardInterrupt) else 1, problem_of_script(error), error)
    return Ended(0)


def _strip(error: BaseException) -> None:
    """Remove gradstep's frames from the tracebacks of an exception and of those that led to it."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        each = chain.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = _stripped(each.__traceback__)
        chain += [each.__cause__, each.__context__]
        chain += each.exceptions if isinstance(each, BaseExceptionGroup) else []


def _stripped(traceback: TracebackType | None) -> TracebackType | None:
    kept: list[TracebackType] = []
    while traceback is not None:
        if not is_ours(traceback.tb_frame.f_code.co_filename):
            kept.append(traceback)
        traceback = traceback.tb_next
    for each, following in zip(kept, [*kept[1:], None], strict=True):
        each.tb_next = following
    return kept[0] if kept else None
