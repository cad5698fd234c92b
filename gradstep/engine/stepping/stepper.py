"""Stepping through a phase: whether it stops at each place that it reaches, and what is known at a stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar

import torch
from msgspec import structs
from torch import Tensor

from gradstep.engine.expressions.names import NothingThereError, Scope
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.numbers.nonfinite import is_opaque
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.forward import Watched
from gradstep.engine.observe.source_lines import source_of
from gradstep.engine.runner import Runner
from gradstep.engine.stepping.backward_places import BackwardPlaces
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.forward_places import ForwardPlaces
from gradstep.engine.stepping.gradient_edits import Flows, put
from gradstep.engine.stepping.phase_thread import PhaseThread
from gradstep.engine.stepping.stop_condition import Kind, StopCondition
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.commands import Assign, Backward, Flow, Forward
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.views.inside import Position, SourceLine

T = TypeVar("T")


class Thread(Protocol):
    """The thread of a phase: it stops there; the session's thread inspects and resumes it."""

    pausing: bool
    done: bool

    def go(self) -> bool:
        """Let it run; return True at a stop inside the phase."""
        ...

    def ask(self, errand: Callable[[], T]) -> T:
        """Call `errand` on it, at the stop."""
        ...

    def abandon(self) -> None:
        """Make it give up."""
        ...

    def halt(self) -> None:
        """Stop here; called on it."""
        ...

    def check(self) -> None:
        """Raise if it is to be given up; called on it."""
        ...


class Stepping:
    """One phase that is being stepped.

    Args:
        runner: runs the phase.
        act: the phase.
        breakpoints: where it stops by itself.
        test: evaluates a condition at a place.
        tell: evaluates what a logpoint prints.
        ops: True to observe a forward op by op; without it, it stops at modules only, and costs next to nothing.
        waiting: called with what is running when a pause has to wait for it.
        scope: resolves the names in gradient edits.
        thread: the thread of a phase that runs already.
    """

    def __init__(
        self,
        runner: Runner,
        act: Forward | Backward,
        breakpoints: Breakpoints,
        test: Callable[[Expression], bool],
        tell: Callable[[Expression], str],
        ops: bool = True,
        waiting: Callable[[str], None] = lambda _: None,
        scope: Scope | None = None,
        thread: Thread | None = None,
    ) -> None:
        held = runner.held
        self._runner, self._held, self.act, self._scope = runner, held, act, scope or HeldScope(held)
        self._flows = Flows(act.flows if isinstance(act, Backward) else (), self._scope)
        """The edits of the command, which are made again."""
        self.phase: Literal["forward", "backward"] = "forward" if isinstance(act, Forward) else "backward"
        self._breakpoints, self._test, self._tell = breakpoints, _safe(test), _safe(tell)
        self.ops = ops
        self._stop_condition = StopCondition("into")
        self._thread: Thread = thread or PhaseThread(lambda: runner.run(act, self), lambda: waiting(self.last))
        self._number, self._last = -1, str(self.phase)
        """The last place reached: a node's number, or -1 and the module or op."""
        self._breaks = True
        """False while no breakpoint could stop it inside."""
        self.pause_at = 0
        """The place at which to repeat a pause; 0 for none."""
        self._total = 0
        self.notes: list[str] = []
        """What logpoints have printed since the last stop."""
        self.stop_place: StopPlace | None = None
        """The place that it is stopped at; None while it runs, and after it."""
        self.place = 0
        """Places passed, the present one included."""
        self.reason = ""
        self.stops: list[int] = []
        """The places that it has stopped at, the present one last, and once more for each gradient edit there."""
        self.norms: dict[int, float | None] = {}
        """The norm of v at each node reached since `looked`."""
        self.looked = False
        """True once a view has shown a node."""
        self.ran: dict[int, None] = {}
        """The nodes that have run, in this order."""
        self.needed: frozenset[int] | None = None
        """Inside a backward that the forward runs, the nodes that it runs; else None."""

    # -- from outside --------------------------------------------------------------------------------------------------
    def go(self, kind: Kind, until: Expression | None = None, place: int = 0) -> bool:
        """Continue; return True at a stop inside the phase, False when it has ended.

        Args:
            kind: how far; `place` is to the one of that number, past breakpoints.
            until: for `until`, what must hold.
            place: for `place`, its number, from 1.

        Raises:
            GradstepError: what the phase raised; it is rolled back.
        """
        self.will(kind, until, place)
        return self._thread.go()

    def will(self, kind: Kind, until: Expression | None = None, place: int = 0) -> None:
        """Set how far it goes on; see `go`."""
        self.notes = []
        # what is passed at a place must not be held on to beyond it: the engine uses its memory again
        here = self.stop_place
        if here is not None:
            here = replace(here, inputs=(), outputs=None, addends=(), keywords={}, find_source=SourceLine)
        self._stop_condition, self.stop_place = StopCondition(kind, until, here, place), None
        self._breaks = self._breakpoints.inside(self.phase, inner=True)

    def change(self, change: Assign) -> str:
        """Change what flows at the stop; return what there is to say of it. Call it on the thread of the phase.

        Raises:
            GradstepError: it can't be; nothing is changed.
        """
        stop_place = self.stop_place
        assert stop_place is not None
        text = put(stop_place, change, self._scope)
        assert isinstance(self.act, Backward)
        self.act = structs.replace(self.act, flows=(*self.act.flows, Flow(self.place, change)))
        self.stops.append(self.place)
        if self.looked and stop_place.edge == "before":
            self.note_norm(stop_place.number, stop_place.inputs)
        return text

    @property
    def flows(self) -> Flows | None:
        """The gradient edits up to now; None without any."""
        made = self.act.flows if isinstance(self.act, Backward) else ()
        return Flows(made, self._scope) if made else None

    def ask(self, errand: Callable[[], T]) -> T:
        """Call something on the thread of the phase, at the stop."""
        return self._thread.ask(errand)

    def abandon(self) -> None:
        """Give the phase up where it is, and roll it back."""
        with suppress(GradstepError):  # a model that catches whatever is raised in it may raise something else
            self._thread.abandon()
        self._held.refused = ""  # it raised nothing itself

    @property
    def position(self) -> Position | None:
        """Where it is stopped."""
        stop_place = self.stop_place
        if stop_place is None:
            return None
        return Position(
            stop_place.phase,
            stop_place.kind,
            stop_place.edge,
            stop_place.name,
            stop_place.path,
            stop_place.stack,
            stop_place.number,
            self._total,
            self.place,
            self.reason,
            stop_place.source,
            stop_place.parameter,
            stop_place.call,
        )

    @property
    def last(self) -> str:
        """The last place reached, in words."""
        graph = self._held.graph() if self._number >= 0 else None
        return self._last if graph is None else f"#{self._number} {graph.nodes[self._number].name()}"

    @property
    def paused(self) -> bool:
        """True where the user has paused it; False where a pause was repeated."""
        return self.reason == "pause" and self.place != self.pause_at

    @property
    def progress(self) -> tuple[int, dict[int, None], frozenset[int] | None] | None:
        """The node that a backward is at, the nodes that have run, and those that will run, None for all.

        None in a forward, except in a backward that it runs; the node is -1 before that backward.
        """
        stop_place = self.stop_place
        if stop_place is None or (stop_place.node is None and self.needed is None):
            return None
        return stop_place.number, self.ran, self.needed

    # -- from inside ---------------------------------------------------------------------------------------------------
    def pause(self) -> bool:
        """Stop at the next place; return True."""
        self._thread.pausing = True
        return True

    @contextmanager
    def forward(self, watched: Watched) -> Iterator[None]:
        """Stop at the places of the forward that the block runs; `watched` is what is recorded of it."""

        def inner(call: EngineCall, depth: int) -> BackwardPlaces:
            return self._inner_backward(call, depth, watched)

        places = ForwardPlaces(
            self._held.paths, self.reach, lambda: self._breakpoints.watch_numbers, inner, self._inner_left
        )
        with places.watch(self.ops):
            yield
        self._thread.check()  # a model may have caught the error that gives it up

    def _inner_backward(self, call: EngineCall, depth: int, watched: Watched) -> BackwardPlaces:
        """Return the places of a backward that the forward runs."""
        held, graph = self._held, call.graph(watched.owners, watched.lines)
        self.needed = call.needed(graph)

        def reach(stop_place: StopPlace) -> None:
            stop_place.phase, stop_place.call, stop_place.depth = "forward", call.name, depth
            with torch._C.DisableTorchFunction():
                self.reach(stop_place)

        def line_of(number: int) -> SourceLine:
            return source_of(graph.line(number))

        held.inner_graph(graph)
        self._total = len(graph.nodes)
        return BackwardPlaces(graph, line_of, held.kinds, held.names, reach, self.passes, self.needed.__contains__)

    def _inner_left(self) -> None:
        self._held.inner_graph(None)
        self.ran, self.norms, self.needed, self._number, self._total = {}, {}, None, -1, 0

    def backward(self) -> AbstractContextManager[None]:
        """Return a context that stops at the places of a backward."""
        held = self._held
        graph = held.graph()
        assert graph is not None
        self._total = len(graph.nodes)
        self.notes += self._breakpoints.unmatched(graph)

        def line_of(number: int) -> SourceLine:
            return source_of(held.line_of(number))

        return BackwardPlaces(graph, line_of, held.kinds, held.names, self.reach, self.passes).watch()

    def passes(self, number: int, ran: bool, parameter: str, arrived: tuple[Any, ...]) -> bool:
        """Return True for a node that is passed without a stop; False where its place may matter."""
        if self._thread.done:
            return True
        place = self.place + 1
        if self._thread.pausing or not self._only_passed(place) or place in self._flows.places:
            return False
        if self.looked and not ran:
            if self.phase == "forward":  # the operations of which are observed
                return False
            self.note_norm(number, arrived)
        self._thread.check()
        self._pass(number, ran, parameter)
        self._number = number
        return True

    def _only_passed(self, place: int) -> bool:
        """Return whether nothing but a pause could stop it at a place."""
        wanted = self._stop_condition
        if wanted.kind == "place":
            return place < wanted.place
        return place != self.pause_at and (wanted.kind == "end" or (wanted.kind == "continue" and not self._breaks))

    def _pass(self, number: int, ran: bool, parameter: str) -> None:
        self.place += 1
        if ran:
            self.ran[number] = None
            if parameter and self.phase == "backward":
                self._held.ledger.arrived(parameter, self._held.addends.so_far(parameter))

    def reach(self, stop_place: StopPlace) -> None:
        """Note a place, and stop there where it should; called on the thread of the phase."""
        if self._thread.done:  # a hook that an interrupt has left: nothing would end a stop
            return
        self._thread.check()
        self._pass(stop_place.number, stop_place.edge == "after", stop_place.parameter)
        self._flows.make(self.place, stop_place)
        self._number, self._last = stop_place.number, f"{stop_place.path} {stop_place.name}".strip()
        if self.looked and stop_place.edge == "before":
            self.note_norm(stop_place.number, stop_place.inputs)
        self.stop_place = stop_place
        self.reason = self._why(stop_place)
        if not self.reason:
            self.stop_place = None
            return
        self.stops.append(self.place)
        self._runner.running = False
        try:
            self._thread.halt()
        finally:
            self.stop_place = None
        self._runner.running = True

    def note_norm(self, number: int, arrived: tuple[Any, ...]) -> None:
        """Keep the norm of v at a node."""
        plain = len(arrived) == 1 and isinstance(arrived[0], Tensor) and not is_opaque(arrived[0])
        self.norms[number] = norm_of(arrived[0]) if plain and arrived[0].layout is torch.strided else None

    def _why(self, stop_place: StopPlace) -> str:
        if self._stop_condition.kind == "place":
            return "step" if self.place == self._stop_condition.place else ""
        if self._thread.pausing or self.place == self.pause_at:
            return "pause"
        if self._stop_condition.kind == "end":
            return ""
        hit = self._breakpoints.at(stop_place, self.place == 1, self._test, self._tell, self.notes)
        if hit:
            return hit
        if not self._stop_condition.wants(stop_place):
            return ""
        if self._stop_condition.condition is None:
            return "step"
        try:
            return "until" if self._test(self._stop_condition.condition) else ""
        except NothingThereError:
            return ""
        except GradstepError as error:
            return f"until can't be evaluated: {error.problem.title}"


def _safe(ask: Callable[[Expression], T]) -> Callable[[Expression], T]:
    """Wrap an evaluation so that what it raises is a GradstepError: the phase must not fail by it."""

    def asked(expression: Expression) -> T:
        try:
            return ask(expression)
        except GradstepError:
            raise
        except Exception as error:  # torch raises nearly every kind
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            raise wrong(f"`{expression_line(expression)}` cannot be computed", what) from error

    return asked
