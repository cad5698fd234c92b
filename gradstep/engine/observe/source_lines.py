"""Source lines: where in the user's code each node of a graph was made, noted while a forward runs."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from threading import get_ident
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from gradstep.engine.observe.compiled import Observer, Region
from gradstep.engine.observe.composites import hide_composites
from gradstep.engine.observe.functions import tap_functions

_TORCH = str(Path(torch.__file__).resolve().parent)
_OURS = str(Path(__file__).resolve().parents[2])
_BETWEEN = ("observe/taps.py", "observe/source_lines.py", "observe/dataflow.py", "observe/compiled.py")
"""Files of gradstep's that stand between an operation and what called it, where something watches the operations."""
_STANDARD = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib"))


class Place(NamedTuple):
    """A line of a file."""

    file: str
    line: int


class Lines:
    """Where the operations and the module calls of one forward were written, by the autograd sequence number."""

    def __init__(self) -> None:
        self.calls: list[Place | None] = []
        """Of each module call, in the order in which they began, where it was written; None outside of user code."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._places: list[Place | None] = []
        self._counts: list[int] = []
        self._running: list[int] = []
        self._open: list[int] = []

    def at(self, number: int) -> Place | None:
        """Return where the node of a sequence number was made; None when no code of the user's was running.

        A node that no operation of Python made (of a scripted function, say) is where its module was called.
        """
        place = bisect_right(self._starts, number) - 1
        if place >= 0 and number < self._ends[place]:
            return self._places[place]
        place = bisect_right(self._counts, number) - 1
        call = self._running[place] if place >= 0 else -1
        return self.calls[call] if call >= 0 else None

    def ran(self, before: int, after: int, frame: FrameType | None) -> None:
        """Note that an operation made the nodes from `before` up to `after`, called from a frame."""
        while self._starts and self._starts[-1] >= before:  # what an operation calls inside is part of it
            del self._starts[-1], self._ends[-1], self._places[-1]
        self._starts.append(before)
        self._ends.append(after)
        self._places.append(place_of(frame))

    def enter(self, number: int, frame: FrameType | None) -> None:
        """Note that a module is called."""
        self._open.append(len(self.calls))
        self.calls.append(place_of(frame))
        self._note(number)

    def leave(self, number: int) -> None:
        """Note that the innermost call ends."""
        if self._open:
            self._open.pop()
        self._note(number)

    def _note(self, number: int) -> None:
        self._counts.append(number)
        self._running.append(self._open[-1] if self._open else -1)


@contextmanager
def note_lines(paths: Mapping[nn.Module, str]) -> Iterator[Lines]:
    """Note where operations and module calls are written, for as long as the block lasts.

    A compiled region is one operation: all that it makes was made where it was called.

    Args:
        paths: the dotted name of each module of the model; others are passed over.
    """
    lines = Lines()
    number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
    thread = get_ident()  # the counter is each thread's own

    def enter(module: nn.Module, _: Any) -> None:
        if module in paths and get_ident() == thread:
            lines.enter(number(), sys._getframe(1))

    def leave(module: nn.Module, _: Any, __: Any) -> None:
        if module in paths and get_ident() == thread:
            lines.leave(number())

    with ExitStack() as stack:
        stack.callback(register_module_forward_pre_hook(enter).remove)
        stack.callback(register_module_forward_hook(leave, always_call=True).remove)
        stack.enter_context(hide_composites())
        stack.enter_context(_Noting(lines))
        stack.enter_context(tap_functions(lambda at, _, frame: lines.ran(at, at + 1, frame)))
        yield lines


class _Noting(Observer):
    """Notes every operation that makes nodes; what a composite calls inside is part of it."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._ran = lines.ran
        self._number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = self._number()
        result = func(*args, **kwargs) if kwargs else func(*args)
        after = self._number()
        if after != before:
            self._ran(before, after, sys._getframe(1))
        return result

    def region_ran(self, region: Region) -> None:
        after = self._number()
        if after != region.before:
            self._ran(region.before, after, region.frame)


def place_of(frame: FrameType | None) -> Place | None:
    """Return the innermost line of the user's code on the stack; None when it was gradstep that called."""
    while frame is not None:
        file = frame.f_code.co_filename
        whose = _whose(file)
        if whose == "user":
            return Place(file, frame.f_lineno)
        if whose == "ours":
            return None
        frame = frame.f_back
    return None


def text_of(place: Place) -> str:
    """Return the text of a line, without the blanks around it; empty where the file cannot be read."""
    return linecache.getline(place.file, place.line).strip()


@cache
def _whose(file: str) -> str:
    """Return whose a file is: `ours`, `library` for torch's and Python's own, else `user`.

    Models that come from other packages are the user's choice, and their lines are worth reading.
    """
    if file.endswith(_BETWEEN) and file.startswith(_OURS):
        return "library"
    if file.startswith(_OURS):
        return "user" if "/examples/" in file else "ours"
    installed = "site-packages" in file or "dist-packages" in file
    standard = file.startswith(_STANDARD) and not installed
    return "library" if standard or file.startswith((_TORCH, "<frozen", "<eval_with_key>")) else "user"
