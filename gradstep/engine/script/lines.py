"""Stopping a script at a line: at a line breakpoint, or at the next line once a pause was asked for.

`sys.settrace` traces the script's thread while there is a line breakpoint: every call, and the lines of the frames
whose code has one. Nothing is traced otherwise. A pause has CPython set the trace function on the script's thread
between two bytecodes, whatever runs there (`Py_AddPendingCall`); a call into C, such as a long operation or
`time.sleep`, ends first.
"""

from __future__ import annotations

import ctypes
import linecache
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

from gradstep.engine.script.frames import callers, is_users
from gradstep.values.errors import wrong

Places = Mapping[str, Mapping[int, tuple[int, ...]]]
"""For each file and line, the numbers of the breakpoints there."""


class LineStops:
    """Stops the thread that it is installed on at lines.

    Args:
        stop: called at a line, with its frame and the numbers of its breakpoints; none for a pause.
    """

    def __init__(self, stop: Callable[[FrameType, tuple[int, ...]], None]) -> None:
        self._stop = stop
        self.places: Places = {}
        self._has_lines: dict[CodeType, bool] = {}
        """For each code object that was called, whether one of the lines is in it."""
        self._pausing = False
        self._pending = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(self._on_pending)
        """Held for as long as CPython may call it."""

    def pause(self) -> None:
        """Have the thread stop at the next line of code that is not torch's. Call from any thread."""
        if self._pausing:
            return
        self._pausing = True
        ctypes.pythonapi.Py_AddPendingCall(self._pending, None)

    def paused(self) -> None:
        """Note that the thread has stopped somewhere: a pause is over."""
        self._pausing = False

    def install(self) -> None:
        """Trace what has to be traced. Call on the script's thread before it runs on."""
        ours = sys.gettrace() == self._on_call
        self._has_lines = {}
        if not self._pausing and not self.places:
            if ours:
                sys.settrace(None)
        elif ours or sys.gettrace() is None:  # a script that traces itself keeps its own
            for frame in callers(sys._getframe(1)):
                frame.f_trace = self._on_line if self._traced(frame) else None
            sys.settrace(self._on_call)

    def _on_pending(self, _: Any) -> int:
        if self._pausing:
            self.install()
        return 0

    def _traced(self, frame: FrameType) -> bool:
        """Return whether a frame of the user's is traced: every one on a pause, else one whose own code has a line."""
        code = frame.f_code
        if self._pausing:
            return is_users(frame)
        found = self._has_lines.get(code)
        if found is None:
            here = self.places.get(code.co_filename, {})
            users = bool(here) and is_users(frame)
            self._has_lines[code] = found = users and any(line in here for _, _, line in code.co_lines())
        return found

    def _on_call(self, frame: FrameType, _event: str, _: Any) -> Any:
        return self._on_line if self._traced(frame) else None

    def _on_line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            numbers = self.places.get(frame.f_code.co_filename, {}).get(frame.f_lineno, ())
            if numbers or self._pausing:
                self._stop(frame, numbers)
        return self._on_line


def line_of(what: str, known: Iterator[str]) -> tuple[str, int]:
    """Return file and line that `train.py:41` means; a line without code means the next one that has some.

    Args:
        what: a file, or the end of its path, and a line.
        known: the files of the modules that are loaded.

    Raises:
        GradstepError: there is no such file, or no code from this line on.
    """
    name, _, number = what.rpartition(":")
    files = [os.path.abspath(name), *(file for file in known if file.endswith(os.sep + name))]
    file = next((each for each in files if os.path.isfile(each)), None)
    if file is None:
        raise wrong(f"there is no file {name}", "no loaded module is in such a file", "give its path", what)
    code = compile("".join(linecache.getlines(file)), file, "exec", dont_inherit=True)
    line = min((line for line in _lines(code) if line >= int(number)), default=None)
    if line is None:
        raise wrong(f"there is no code at {what}", f"{name} ends before that", "name an earlier line", what)
    return file, line


def _lines(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _lines(inner)
