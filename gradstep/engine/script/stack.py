"""The stack of a script at a stop: its frames, and the selected one, whose variables expressions read."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from gradstep.engine.problems import is_users
from gradstep.engine.script.frames import callers, source_line, variables
from gradstep.engine.script.main_thread import MainThread
from gradstep.values.errors import wrong
from gradstep.values.views.inside import SourceLine


class Entry(NamedTuple):
    """A frame and the line that it is at."""

    frame: FrameType
    line: int

    @property
    def source(self) -> SourceLine:
        """The line, with its text."""
        return source_line(self.frame, self.line)

    @property
    def library(self) -> bool:
        """True for a frame of an installed package."""
        return not is_users(self.frame.f_code.co_filename)


class Stack:
    """The frames of the script, innermost first; after an error that ended it, those of the traceback."""

    def __init__(self, thread: MainThread) -> None:
        self._thread = thread
        self.caller: CodeType | None = None
        """What called the script; its frame and those around it are gradstep's."""
        self.error: BaseException | None = None
        """What ended the script; None while it runs, and after an ordinary end."""
        self.number = 0
        """The selected frame: 0 is the innermost."""

    @property
    def entries(self) -> list[Entry]:
        """The frames at the stop; while the script runs, those of the code that asks."""
        return list(self._walk(self._thread.frame or sys._getframe(1)))

    def _walk(self, frame: FrameType) -> Iterator[Entry]:
        if self.error is not None:
            return iter(_raised(self.error.__traceback__))
        return (Entry(each, each.f_lineno) for each in callers(frame, self.caller))

    @property
    def selected(self) -> Entry | None:
        """The selected frame; None where the script has none."""
        return next(islice(self._walk(self._thread.frame or sys._getframe(1)), self.number, None), None)

    @property
    def frame(self) -> FrameType | None:
        """The selected frame itself."""
        selected = self.selected
        return None if selected is None else selected.frame

    @property
    def source(self) -> SourceLine:
        """The line of the selected frame; an empty one for none."""
        selected = self.selected
        return SourceLine() if selected is None else selected.source

    @property
    def variables(self) -> Mapping[str, object]:
        """The variables that an expression sees: the locals of the selected frame, then its module's."""
        selected = self.selected
        return {} if selected is None else variables(selected.frame)

    def select(self, number: int) -> str:
        """Select a frame by its number; return what it is.

        Raises:
            GradstepError: there is no such frame.
        """
        entries = self.entries
        if not entries:
            raise wrong("the script has no frame", "it has ended", "restart the script")
        if number < 0:
            raise wrong("this is the innermost frame", _line(0, entries[0]), "`up` selects the frame of its caller")
        if number >= len(entries):
            last = len(entries) - 1
            raise wrong("there is no frame further out", _line(last, entries[last]), f"frames are numbered 0 to {last}")
        self.number = number
        return _line(number, entries[number])


def _line(number: int, entry: Entry) -> str:
    source = entry.source
    return f"#{number} {source.function or '<module>'}, {os.path.basename(source.file)}:{source.line}  {source.text}"


def _raised(traceback: TracebackType | None) -> list[Entry]:
    """Return the frames of a traceback that `callers` would yield, innermost first."""
    found: list[Entry] = []
    while traceback is not None:
        if next(callers(traceback.tb_frame), None) is traceback.tb_frame:
            found.insert(0, Entry(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found
