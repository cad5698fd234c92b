"""Source lines: where in the user's code each node of a graph was made, recorded while a forward runs."""

from __future__ import annotations

import linecache
import sysconfig
from bisect import bisect_right
from collections.abc import Container
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import resolve_name

from gradstep.engine.observe.stream import Consumer, FunctionEntered, ModuleEntered, ModuleLeft, OpRan, RegionRan
from gradstep.engine.problems import is_ours, printable
from gradstep.values.views.inside import SourceLine

_TORCH = str(Path(torch.__file__).resolve().parent)
_OURS = str(Path(__file__).resolve().parents[2])
_BETWEEN = ("observe/hooks/forward.py", "observe/hooks/engine.py", "observe/hooks/loop.py", "observe/compiled.py")
"""Files of gradstep that are on the stack between an observed operation and its caller."""
_STANDARD = tuple(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib"))


class SourcePlace(NamedTuple):
    """A line of a file."""

    file: str
    line: int


class Lines:
    """The source lines of the operations and module calls of one forward, by the autograd sequence number.

    A compiled region is one operation: all that it makes was made where it was called.
    """

    def __init__(self) -> None:
        self.calls: list[SourcePlace | None] = []
        """The source line of each module call, in order; None outside user code."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._places: list[SourcePlace | None] = []
        self._counts: list[int] = []
        self._running: list[int] = []
        self._open: list[int] = []

    def at(self, number: int) -> SourcePlace | None:
        """Return the source line that made a node, by its sequence number; None when no user code was running.

        A node that was not made by a Python call (in a scripted function, say) has the line that called its module.
        """
        place = bisect_right(self._starts, number) - 1
        if place >= 0 and number < self._ends[place]:
            return self._places[place]
        place = bisect_right(self._counts, number) - 1
        call = self._running[place] if place >= 0 else -1
        return self.calls[call] if call >= 0 else None

    def consumer(self, modules: Container[nn.Module]) -> Consumer:
        """Return the consumer that records them; calls of modules that are not among `modules` are ignored."""
        number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]

        def ran(event: OpRan | RegionRan) -> None:
            if event.after != event.before:
                self._ran(event.before, event.after, event.frame)

        def applied(event: FunctionEntered) -> None:
            if issubclass(event.function, torch.autograd.Function):  # not what a transform makes of one
                self._ran(event.number, event.number + 1, event.frame)

        def entered(event: ModuleEntered) -> None:
            if event.module in modules:
                self._open.append(len(self.calls))
                self.calls.append(place_of(event.frame))
                self._note(number())

        def left(event: ModuleLeft) -> None:
            if event.module in modules:
                if self._open:
                    self._open.pop()
                self._note(number())

        return {OpRan: ran, RegionRan: ran, FunctionEntered: applied, ModuleEntered: entered, ModuleLeft: left}

    def _ran(self, before: int, after: int, frame: FrameType | None) -> None:
        while self._starts and self._starts[-1] >= before:  # what an operation calls inside is part of it
            del self._starts[-1], self._ends[-1], self._places[-1]
        self._starts.append(before)
        self._ends.append(after)
        self._places.append(place_of(frame))

    def _note(self, number: int) -> None:
        self._counts.append(number)
        self._running.append(self._open[-1] if self._open else -1)


def place_of(frame: FrameType | None) -> SourcePlace | None:
    """Return the innermost line of the user's code on the stack; None when it was gradstep that called."""
    while frame is not None:
        file = frame.f_code.co_filename
        owner = whose(file)
        if owner == "user":
            return SourcePlace(file, frame.f_lineno)
        if owner == "ours":
            return None
        frame = frame.f_back
    return None


def text_of(place: SourcePlace) -> str:
    """Return the stripped text of a line; empty where the file cannot be read."""
    return linecache.getline(place.file, place.line).strip()


@cache
def whose(file: str) -> str:
    """Return the owner of a file: `ours`, `library` for torch and the standard library, else `user`.

    Models from other packages count as the user's.
    """
    if file.endswith(_BETWEEN) and file.startswith(_OURS):
        return "library"
    if file.startswith(_OURS):
        return "user" if "/examples/" in file else "ours"
    installed = "site-packages" in file or "dist-packages" in file
    standard = file.startswith(_STANDARD) and not installed
    return "library" if standard or file.startswith((_TORCH, "<frozen", "<eval_with_key>")) else "user"


def source_of(place: SourcePlace | None) -> SourceLine:
    """Return a place with its text; an empty one for none."""
    if place is None:
        return SourceLine()
    return SourceLine(printable(place.file), place.line, "", printable(text_of(place)))


def users_place(frame: FrameType | None) -> SourcePlace | None:
    """Return the innermost line of user code that is running, below the frames of gradstep."""
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return place_of(frame)


def op_name(func: Any) -> str:
    """Return what an op is called in a script: `torch.relu`, `F.linear`, `torch.Tensor.add`."""
    name = resolve_name(func) or ".".join(filter(None, (_module_of(func), getattr(func, "__name__", "op"))))
    return str(name).replace("torch.nn.functional.", "F.").replace("torch._C._nn.", "F.")


def _module_of(func: Any) -> str:
    """Return the torch module that defines a function; empty for others."""
    module = str(getattr(func, "__module__", None) or "")
    return module if module.startswith("torch.") else ""
