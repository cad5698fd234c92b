"""`dropout-in-evaluation`: dropout that ignores eval mode."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable
from types import FrameType

import torch.overrides
from torch import nn
from torch.nn import functional
from torch.nn.modules.dropout import _DropoutNd

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.engine.observe.stream import Consumer, ModuleEntered, OpStarts
from gradstep.values.findings import Rule, Where

_FUNCTIONS = {
    each: each.__name__
    for each in (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)
}
_DISPATCHES = torch.overrides.handle_torch_function.__name__
_TRAINING = 3
"""The number of positional arguments that includes `training`."""


class DropoutInEvaluation(Check):
    """Watches the first forwards for such dropout, then waits for an evaluation."""

    rule = Rule(
        id="dropout-in-evaluation",
        severity="warning",
        title="dropout stays on in evaluation",
        why="F.dropout is on by default, and model.eval() does not reach an nn.Dropout created in forward: evaluation "
        "results are random.",
        detects="In one of the first two forwards, F.dropout is called without training=, or an nn.Dropout that is not "
        "registered is called; and the model is later called in eval mode.",
        remedy="Pass the mode: F.dropout(x, p=0.5, training=self.training); or create nn.Dropout(0.5) in __init__.",
        source="torch.nn.functional.dropout documentation (training defaults to True); NTS-Net#14, pytorch-fm#21",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._found: dict[str, Where] = {}
        """What was seen, in words, and where."""

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch the first two forwards."""
        if moment.count > 1 or not moment.script:
            return None
        own = {id(each) for _, root in moment.roots() for each in root.modules()}

        def entered(event: ModuleEntered) -> None:
            module = event.module
            if isinstance(module, _DropoutNd) and module.p > 0 and module.training and id(module) not in own:
                frame = _users(event.frame)
                if frame is not None:
                    self._note(f"An nn.{type(module).__name__} that is not registered", frame)

        def starts(event: OpStarts) -> None:
            name, frame = _FUNCTIONS.get(event.func), event.frame
            while name is not None and frame.f_back is not None and frame.f_code.co_name in (_DISPATCHES, name):
                frame = frame.f_back
            if name is not None and event.kwargs.get("p", 0.5) and not _tells_mode(frame):
                self._note(f"F.{name} without training=", frame)

        return {ModuleEntered: entered, OpStarts: starts}

    @at("evaluation")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at a model that is called in eval mode."""
        if not self._found or not isinstance(moment.of, nn.Module) or moment.of.training:
            return
        for what, where in self._found.items():
            yield Seen(
                f"{what} also drops in this forward of {type(moment.of).__name__}, which is in eval mode.", where
            )

    def _note(self, what: str, frame: FrameType) -> None:
        self._found[what] = Where(file=frame.f_code.co_filename, line=frame.f_lineno, panel="source")


def _users(frame: FrameType | None) -> FrameType | None:
    """Return the frame outside of torch that called a module."""
    while frame is not None and _is_torchs(frame):
        frame = frame.f_back
    return frame


def _is_torchs(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("torch.")


def _tells_mode(frame: FrameType) -> bool:
    """Return whether the call that a frame is at passes `training`; True where it can't be read, or is torch's."""
    first, last, start, end = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    if first is None or last is None or start is None or end is None or _is_torchs(frame):
        return True
    lines = [linecache.getline(frame.f_code.co_filename, number).encode() for number in range(first, last + 1)]
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][start:]
    try:
        call = ast.parse(b"".join(lines), mode="eval").body
    except SyntaxError:
        return True
    named = isinstance(call, ast.Call) and any(each.arg in ("training", None) for each in call.keywords)
    return not isinstance(call, ast.Call) or len(call.args) >= _TRAINING or named
