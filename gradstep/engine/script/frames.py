"""The script's frames: the line that it stands at, who called it, and what its variables are called."""

from __future__ import annotations

import linecache
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn

from gradstep.engine.observe.source_lines import whose
from gradstep.engine.problems import printable
from gradstep.values.views.inside import SourceLine

_TORCH = Path(torch.__file__).resolve().parent
_CALLERS = tuple(str(_TORCH / name) for name in ("nn", "autograd", "_tensor.py", "optim"))
"""The files of torch that call a script's code inside a phase."""


def is_users(frame: FrameType) -> bool:
    """Return whether a frame runs the user's code; what `namedtuple` and `dataclass` generate is not."""
    file = frame.f_code.co_filename
    if file == "<string>":
        return not str(frame.f_globals.get("__name__", "")).startswith(("namedtuple_", "gradstep.", "torch."))
    return whose(file) == "user"


def callers(frame: FrameType | None, caller: CodeType | None = None) -> Iterator[FrameType]:
    """Yield the frames that are neither torch's, Python's nor gradstep's, innermost first; a trainer's too.

    Those from the frame of `caller` outwards are left out.
    """
    while frame is not None and frame.f_code is not caller:
        if is_users(frame):
            yield frame
        frame = frame.f_back


def call_site(frame: FrameType | None, caller: CodeType | None = None) -> tuple[object, ...]:
    """Return what tells one call in the script's loop from another: the instructions of all frames that lead to it.

    Those from the frame of `caller` outwards are left out, and those around the script's own: they stay the same.
    """
    site: list[object] = []
    while frame is not None:  # in every phase of a script that runs on
        code = frame.f_code
        file = code.co_filename
        if _USERS[file]:
            site += (file, code.co_firstlineno, frame.f_lasti)
            if code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
                break
        elif code is caller:
            break
        frame = frame.f_back
    return tuple(site)


class _Users(dict[str, bool]):
    """Whether each file is the user's."""

    def __missing__(self, file: str) -> bool:
        self[file] = users = whose(file) == "user"
        return users


_USERS = _Users()


def line_text(frame: FrameType | None) -> str:
    """Return the text of the line that a frame stands at."""
    return "" if frame is None else linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def phase_line(frame: FrameType | None) -> str:
    """Return the text of the line that began what runs at a frame, e.g. `out = net(x)` for one inside the forward."""
    found, inside = None, True
    while frame is not None:
        who = whose(frame.f_code.co_filename)
        if who == "user" and inside:
            found, inside = frame, False
        inside = inside or frame.f_code.co_filename.startswith(_CALLERS)
        frame = frame.f_back
    return line_text(found)


def source_line(frame: FrameType, line: int) -> SourceLine:
    """Return a line of a frame's file, with the frame's function; empty for the module's own code."""
    code = frame.f_code
    function = "" if code.co_name == "<module>" else code.co_name
    text = linecache.getline(code.co_filename, line).strip()
    return SourceLine(printable(code.co_filename), line, function, printable(text))


def variables(frame: FrameType | None) -> Mapping[str, object]:
    """Return the variables that an expression at a frame sees: its locals, then its module's."""
    return {} if frame is None else ChainMap(frame.f_locals, frame.f_globals)


def names_of(frame: FrameType | None) -> dict[int, str]:
    """Return what values are called, by id: by a global variable, else in the outermost frame that names them."""
    found: dict[int, str] = {}
    frames = list(callers(frame))
    for names in (*(each.f_locals for each in frames), *(each.f_globals for each in reversed(frames))):
        here: dict[int, str] = {}
        for name, value in _values(names):
            here.setdefault(id(value), name)
        found.update(here)
    return found


def named_values(frame: FrameType | None) -> Iterator[tuple[str, Any]]:
    """Yield the variables that are visible in the frames, innermost first, and the attributes of `self`."""
    seen: set[int] = set()
    for each in callers(frame):
        for names in (each.f_locals, each.f_globals):
            if id(names) not in seen:
                seen.add(id(names))
                yield from _values(names)


def _values(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from list(names.items())
    own = names.get("self")
    if own is None or issubclass(type(own), type):
        return
    try:
        inside = object.__getattribute__(own, "__dict__")  # without the code of its class
    except AttributeError:
        return
    modules = inside.get("_modules", {}) if issubclass(type(own), nn.Module) else {}
    yield from [(name, value) for name, value in {**inside, **modules}.items() if isinstance(name, str)]


def release_locals(frame: FrameType | None) -> None:
    """Empty what reading `f_locals` left on the frames: it would keep values alive that the script lets go.

    Until Python 3.12 a frame keeps the dict that `f_locals` returns. It is not emptied where the script holds it too
    (`locals()`), nor while something traces: after a trace function, CPython copies the dict back into the variables.
    """
    if sys.version_info >= (3, 13) or sys.gettrace() is not None or sys.getprofile() is not None:
        return
    for each in callers(frame):
        if each.f_code.co_flags & CO_OPTIMIZED:  # a function: of a module or class body it is the real namespace
            names = each.f_locals
            if sys.getrefcount(names) == _REFERENCES:
                names.clear()


_REFERENCES = 3
"""References to a dict that only its frame and this function hold: `sys.getrefcount` has one, too."""
