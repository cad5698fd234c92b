"""The forward of a script, from its first module call to the backward: what a stop in it or after it shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from inspect import getattr_static
from types import FrameType, FunctionType
from typing import Any

from msgspec.structs import replace
from torch import nn

from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.observe.forward import Watched, watch_forward
from gradstep.engine.observe.loop_phases import Phase
from gradstep.engine.script.first_operation import FirstOperation
from gradstep.engine.script.frames import named_values
from gradstep.engine.script.loop_client import LoopClient
from gradstep.engine.script.stops import ScriptStops
from gradstep.engine.script.tape import Tape
from gradstep.engine.script.terms import terms_of
from gradstep.values.commands import Forward

UNWATCHED = Watched()
"""Of a forward that was not recorded."""


class ScriptForward:
    """Records the forward that runs, where a stop may show it.

    Args:
        steps: what steps it.
        stops: says whether its end is looked at.
        operates: called with the frame of its first operation, in a loop without modules.
    """

    def __init__(self, client: LoopClient, stops: ScriptStops, operates: Callable[[FrameType], None]) -> None:
        self._client, self._stops = client, stops
        self._running: ExitStack | None = None
        """What watches it; None while none runs."""
        self._first_operation = FirstOperation(operates)
        self._given: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        """What its first module was called with: positional arguments by name, and keyword arguments."""
        self.line = ""
        """The line that called its first module."""
        self.watched = Watched()
        self.tape: Tape | None = None
        """The last forward, where it was recorded."""
        self.began: Randomness | None = None
        """The generators before it."""

    @property
    def runs(self) -> bool:
        """True from its first module call to the backward."""
        return self._running is not None

    def begin(self, phase: Phase, line: str, due: bool, copy: Callable[[], None]) -> None:
        """Begin with the first module call, or with an operation.

        Args:
            phase: the call.
            line: its line.
            due: the checks look at this iteration.
            copy: copies what it may write.
        """
        self._running = stack = self._first_operation.taken_over()
        self.line = line
        self.tape, self.watched = None, UNWATCHED
        into = self._stops.wanted.until == "into"
        inside = into or self._client.inside("forward") or self._stops.thread.pausing
        if phase.grad_mode and due:
            stack.enter_context(self._client.watching(self._stops.now()))
        if self._stops.wanted.runs_on and not inside:
            return
        held = self._stops.now()
        copy()
        self._stops.read_losses()
        lines = held.recording.lines or inside
        self.tape, self.began = tape, _ = Tape(), held.keeper.capture()
        watching = watch_forward(held.paths, held.model, held.recording.zeros, lines, [tape.consumer()])
        self.watched = stack.enter_context(watching)
        if phase.of is not None:
            tape.begin(phase.of, phase.args, phase.kwargs)
            self._given = _named(phase.of, phase.args), phase.kwargs
        if inside:
            stepping = self._client.stepping(held, Forward(), into)
            if phase.of is None:
                stepping.will("place", place=1)
            stack.enter_context(stepping.forward(self.watched))

    def close(self) -> None:
        """End it."""
        if self._running is not None:
            self._running.close()
            self._running = None
            self._client.left()

    def leave(self) -> None:
        """Watch nothing more."""
        if self._running is not None:
            self._running.close()
        self._first_operation.close()
        self._running = None

    def forget(self) -> None:
        """Forget what was recorded of it."""
        self.close()
        self.tape = self.began = self._given = None
        self.watched = UNWATCHED

    def goes_on(self, line: str) -> None:
        """Note that one runs which was only counted so far; an empty line for none."""
        self.line = line
        self._running = ExitStack() if line else None

    def watch_for_operation(self, watch: bool) -> None:
        """Have it begin with the first operation, for a loop without modules, or only with a module."""
        self._first_operation.close()
        if watch and self._stops.wanted.until == "into" and self._running is None:
            self._first_operation.watch()

    def show_terms(self, frame: FrameType | None) -> None:
        """Show the terms that the loss is a sum of."""
        held, tape = self._stops.now(), self.tape
        made = (lambda _: None) if tape is None else tape.made
        terms = terms_of(held.point.loss, named_values(frame), made)
        held.point = replace(held.point, terms=terms)

    def show_batch(self) -> None:
        """Show its inputs and the target of its loss in the Batch view."""
        if self.tape is None or self._given is None:
            return
        (args, kwargs), target, held = self._given, self.tape.target(), self._stops.now()
        inputs = next(iter(args.values())) if len(args) == 1 and not kwargs else {**args, **kwargs}
        batch = (inputs, target) if target is not None else inputs
        held.batches.batch, held.batches.taken = batch, held.batches.taken + 1
        held.point = replace(held.point, batch=batch)
        self._given = None


def _named(module: nn.Module, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the positional arguments of a forward by the names of its parameters."""
    forward = getattr_static(type(module), "forward")  # that of a scripted module is not a function
    names = forward.__code__.co_varnames[1 : forward.__code__.co_argcount] if type(forward) is FunctionType else ()
    return {names[i] if i < len(names) else f"input{i}": each for i, each in enumerate(args)}
