"""The inspector: answers requests for views of a loaded workload; holds its selection, names and watchpoints."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from typing import Any

import torch
from msgspec.structs import replace

from gradstep.checks.checker import Checker
from gradstep.checks.requests.request import copied
from gradstep.engine.diagnose.loss_terms import LossTerms
from gradstep.engine.expressions.evaluate import FUNCTIONS, describe, split_selection
from gradstep.engine.expressions.scope import VALUES, HeldScope, selected_tensor
from gradstep.engine.held import Held
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.observe.addends import AddendsRequest
from gradstep.engine.reads import Reading, gather, read
from gradstep.engine.runner import Runner
from gradstep.engine.script.stack import Stack
from gradstep.engine.state.digest import digest, measured_on, state_size
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.watchpoints import Watchpoints
from gradstep.engine.yielding import Waits, YieldedError, always, never
from gradstep.session.phase_stepper import PhaseStepper
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.views import (
    Digest,
    LookChanges,
    LookDigest,
    LookLoss,
    LookModel,
    LookNames,
    LookState,
    LookTensor,
    LookWhy,
    LossView,
    Names,
    NoView,
    Request,
    StateView,
    View,
    WhyView,
)
from gradstep.values.views.contributions import LookContributions
from gradstep.values.views.findings import LookFindings
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookBreakpoints, LookInside, LookSource, SourceLine
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.node import LookChain, LookNode
from gradstep.values.views.search import LookFind
from gradstep.values.views.stack import LookStack
from gradstep.values.views.tensor import Between, LookPlace
from gradstep.values.views.timeline import LookCompare, LookTimeline
from gradstep.values.views.training import LookBatch, LookLayers, LookOptimizer
from gradstep.views.expiry import Expiry
from gradstep.views.findings import findings_view
from gradstep.views.graph.progress import BackwardProgress
from gradstep.views.graph.search import FindViewer
from gradstep.views.graph.view import GraphViewer
from gradstep.views.node.inside import breakpoints_view, inside_view, source_view
from gradstep.views.node.module_gradients import ModuleGradients
from gradstep.views.node.received import NodeViews
from gradstep.views.numbers import Norms
from gradstep.views.script.stack import stack_view
from gradstep.views.tensor.difference import DifferenceViewer
from gradstep.views.tensor.element import element_of
from gradstep.views.tensor.goto import place_view
from gradstep.views.tensor.view import Selection, TensorViewer
from gradstep.views.training.batch import BatchViewer
from gradstep.views.training.changes import Comparison, changed_names, changes_view, compared
from gradstep.views.training.compare import compare_view
from gradstep.views.training.layers import LayersViewer
from gradstep.views.training.loss import LossViewer
from gradstep.views.training.model import ModelViewer
from gradstep.views.training.optimizer import optimizer_view
from gradstep.views.training.timeline import timeline_view, with_inside
from gradstep.views.why.inside import why_inside
from gradstep.views.why.ledger import ledger_view
from gradstep.views.why.view import why_view
from gradstep.workload import Workload

_NODES = (LookNode, LookChain, LookContributions)
_HURRIED = (LookTensor, LookLayers)


class Inspector:
    """Answers requests for views of one loaded workload; holds the selection, the `let`s and the watchpoints."""

    def __init__(self, runner: Runner) -> None:
        self.runner, self.held = runner, runner.held
        held = self.held
        self.selection: Selection | None = None
        self.scope = HeldScope(held)
        self.let_at: dict[str, tuple[int, int]] = {}
        """For each `let`, the point at which it was made, and the place inside a phase."""
        self.watches = Watchpoints()
        self.stepper = PhaseStepper(runner, self.scope)
        self.checker = Checker()
        self.copies: Callable[[], Workload] = lambda: copied(held)
        """Returns a copy of what is trained, for checks that run it."""
        self.waits: Waits = never
        """Returns whether a command waits for the present look to end."""
        self._past = False
        """True if this inspector is of a past point, where no phase is in progress."""
        self.timeline: Timeline | None = None
        """The history; None until there is one."""
        self.set_to_none = True
        """What `zero_grad` without an argument passes to torch."""
        self.line: Callable[[], SourceLine] = SourceLine
        """Returns the line of the selected frame of a script; an empty one for a held workload."""
        self.stack: Stack | None = None
        """The stack of a script; None for a held workload."""
        self.opening: Expression | None = None
        """What the tensor panel shows while nothing is selected: as last requested, or as set for a script."""
        self._opened: Selection | None = None
        """That, as a selection; resolved once for all views of one call of `look`."""
        self._asked: set[Request] = set()
        """What was requested at the present stop that needs a rerun which takes long."""
        self._tensors = TensorViewer(lambda: self.waits())
        self._differences = DifferenceViewer(lambda: self.waits())
        self._models = ModelViewer(held)
        self._graphs = GraphViewer(held)
        self._finds = FindViewer(held)
        self._layers = LayersViewer(held, lambda: self.waits())
        self._norms = Norms()
        """The norms at the present stop."""
        self._expiry = Expiry(held)
        self._changed: frozenset[str] | None = None
        self._compared: Comparison | None = None
        """The comparison that it is read from, until it has arrived."""
        self._losses, self._past_losses = LossViewer(), LossViewer()
        self._batches = BatchViewer(held)
        self._node_views = NodeViews(held)
        self._nodes_shown = False
        """True where the present stop was asked for a node: other panels may have come first."""
        self._terms = LossTerms()
        self._module_gradients = ModuleGradients(held)

    def attend(self) -> None:
        """Record what the next phase needs for every view, as no panels request views at each stop."""
        self.held.recording.zeros = True
        self.held.addends.request = self.held.addends.request or AddendsRequest("", ())

    def acted(self) -> None:
        """Record, right after a phase, what can only be measured now."""
        self._layers.acted()

    def travelled(self) -> None:
        """Drop what was recorded of earlier phases: the workload is at another point of its history."""
        self.checker.forget()
        self._layers, self._norms = LayersViewer(self.held, lambda: self.waits()), Norms()
        self._tensors.measures.forget()

    def aside(self, held: Held | None = None) -> Inspector:
        """Return an inspector for a past point: it shares the names and the selection, but no caches, save of losses.

        Args:
            held: a debuggee with what was recorded there; None for the workload, which has travelled there.
        """
        made = Inspector(self.runner if held is None else Runner(held))
        made.selection, made.watches, made.stepper, made._past = self.selection, self.watches, self.stepper, True
        made.checker, made._losses = self.checker, self._past_losses
        made.scope.lets = self.scope.lets
        made.set_to_none, made.timeline, made.opening = self.set_to_none, self.timeline, self.opening
        return made

    def look(self, stop: int, requests: Sequence[Request]) -> tuple[View, ...]:
        """Return one view for each request; a `NoView` with the reason if it can't be made."""
        self._opened = None
        if self._past:  # nothing measured there is kept for another request
            requests = [replace(each, hurry=False) if isinstance(each, _HURRIED) else each for each in requests]
        if self._expiry.expired(stop) or not self.stepper.pauses:
            # without a screen, the caller may have written to a tensor without a change of its version counter
            carried = self._expiry.follows and self.stepper.pauses and not self._past
            if carried:
                self._norms = self._norms.after(self.held.saved)
                self._norms.take(self._layers.fresh)  # taken right after the phase, together with its update
                self._tensors.measures.carry(self.held.saved, stop, self.held.point)
            else:
                self._norms = Norms()
                self._tensors.measures.forget()
            self._changed = self._compared = None
            self._layers.fresh = []
            self._models.expire()
            self._differences.measures.forget()

        for request in requests:
            if isinstance(request, LookTensor) and request.between is None and not self.held.script:
                self.opening = request.opening
        self._record(stop, requests)
        with torch.no_grad():
            return tuple(read(gather([self._answer(stop, request) for request in requests])))

    def _record(self, stop: int, requests: Sequence[Request]) -> None:
        """Have the next phases recorded as the present requests need."""
        held = self.held
        first = held.recording.asked(stop, requests, held.quick)
        if first:
            self._asked.clear()
        if first and not any(isinstance(request, LookGraph) for request in requests):
            self._graphs.forget()
        if first and not self._nodes_shown:
            self._node_views.forget()
        shown = any(isinstance(request, _NODES) for request in requests)
        self._nodes_shown = shown or (self._nodes_shown and not first)
        for request in requests:
            if isinstance(request, (LookLedger, LookWhy)):
                element = None
                with suppress(GradstepError):  # the view reports what is wrong with the selection
                    element = element_of(held, self._shown, request.element)
                if element is not None:
                    held.addends.request = AddendsRequest(element.name, element.index)
                elif isinstance(request, LookLedger):
                    held.addends.request = held.addends.request or AddendsRequest("", ())

    def select(self, what: Expression) -> Selection:
        """Return the selection that an expression names, without selecting it.

        Raises:
            GradstepError: it names no tensor, or no part of one.
        """
        path, items, _ = split_selection(what, self.scope)
        return Selection(expression_line(what), path, tuple(items))

    @property
    def _stepping(self) -> Stepping | None:
        """The phase in progress at the point that is shown."""
        return None if self._past else self.stepper.stepping

    @property
    def _shown(self) -> Selection | None:
        """The selection that the panels show."""
        if self.selection is None and self.opening is not None:
            self._opened = self._opened or self.select(self.opening)
            return self._opened
        return self.selection

    @property
    def _selected(self) -> str:
        return self.selection.path if self.selection is not None else ""

    def running_losses(self, stop: int, request: LookLoss) -> LossView:
        """Return the losses of a script that runs on another thread: those that the last stop has shown, and more."""
        return self._losses.view(self.held, stop, request, same=True)

    def _with_beside(self, view: LossView, request: LookLoss) -> LossView:
        """Return the losses with those of the requested branch beside them, if that branch exists."""
        branch = self.timeline.branches.get(request.beside) if self.timeline is not None else None
        return view if branch is None else replace(view, beside=self._losses.beside(*Timeline.losses(branch), request))

    def _why(self, stop: int, index: tuple[int, ...] | None) -> Reading[WhyView]:
        stepping = self._stepping
        if stepping is not None and stepping.stop_place is not None:
            return why_inside(self.held, stop, stepping, stepping.stop_place)
        element = element_of(self.held, self._shown, index)
        terms = None if self.stepper.inside else self._terms
        return (yield from why_view(self.held, stop, self._changes(), element, self._norms, terms))

    def _names(self, stop: int) -> Names:
        held, here, graph = self.held, self.scope.stop_place(), self.held.graph()
        passed = () if here is None else (f"{here.kind}.in", f"{here.kind}.out", f"{here.kind}.name")
        return Names(
            stop,
            self.scope.model_names(),
            tuple(dict.fromkeys((*self.scope.lets, *passed, *VALUES, *self.scope.variable_names()))),
            tuple(FUNCTIONS),
            tuple(path for path in held.paths.values() if path),
            tuple(sorted({node.name() for node in graph.nodes})) if graph is not None else (),
            tuple(name for name, _ in held.parameters),
            tuple(row.number for row in self.stepper.breakpoints),
            tuple(self.timeline.branches) if self.timeline is not None else (),
        )

    def _changes(self) -> Reading[frozenset[str]]:
        """Read what the last command changed: compared once for all views of this stop, if one of them needs it."""
        if self._changed is None:
            self._compared = self._compared or compared(self.held)
            self._changed = yield from changed_names(self._compared)
            self._compared = None
        return self._changed

    def _rerun_waits(self, request: Request) -> Waits:
        """Return what ends a rerun for a request.

        The first request at a stop may come with a command, whose outcome must not wait for a rerun that takes long.
        """
        if self.waits is never or not self.stepper.reruns_long:
            return never
        if request in self._asked:
            return self.waits
        self._asked.add(request)
        return always

    def _answer(self, stop: int, request: Request) -> Reading[View]:
        """Read the view for a request; a `NoView` with the reason if it can't be made."""
        try:
            view = self._view(stop, request)
            return (yield from view) if isinstance(view, Generator) else view
        except YieldedError as error:
            return NoView(stop, str(error), due=True)
        except GradstepError as error:
            return NoView(stop, str(error))
        except Exception as error:
            return NoView(stop, f"{type(error).__name__}: {error}")

    def _view(self, stop: int, request: Request) -> View | Reading[Any]:
        held = self.held
        match request:
            case LookModel():
                return self._models.view(stop, self._selected, self._changes(), self._norms, request)
            case LookWhy(index):
                return self._why(stop, index)
            case LookTensor(between=Between() as between) if self.timeline is not None:
                return self._differences.view(self.timeline, stop, request, between)
            case LookPlace(between=Between() as between) if self.timeline is not None:
                return self._differences.place(self.timeline, stop, request, between)
            case LookTensor():
                selection = self._shown
                tensor = None if selection is None else selected_tensor(self.scope, selection.path)
                return self._tensors.view(held, stop, selection, tensor, request)
            case LookPlace(_, _, opening):
                selection = self.select(opening) if self.selection is None and opening is not None else self.selection
                tensor = None if selection is None else selected_tensor(self.scope, selection.path)
                return place_view(held, stop, selection, tensor, request)
            case LookGraph():
                stepping = self._stepping
                progress = None if stepping is None else stepping.progress
                return self._graphs.view(stop, request, None if progress is None else BackwardProgress(*progress))
            case LookLedger(index):
                return ledger_view(held, stop, element_of(held, self._shown, index), self._norms)
            case LookLoss():
                return self._with_beside(self._losses.view(held, stop, request), request)
            case LookBatch():
                return self._batches.view(stop, request)
            case LookLayers(hurry):
                return self._layers.view(stop, self._selected, self._norms, hurry and not held.script)
            case LookOptimizer(points):
                return optimizer_view(held, stop, self._selected, points)
            case LookNode():
                return self._node_views.node(stop, request, self._stepping, self._rerun_waits(request))
            case LookChain():
                return self._node_views.chain(stop, request, self._stepping, self._rerun_waits(request))
            case LookContributions():
                return self._node_views.contributions(stop, request, self._stepping, self._rerun_waits(request))
            case LookInside():
                stepping = self._stepping
                if stepping is None or stepping.stop_place is None:
                    return self._module_gradients.view(stop, request, self._rerun_waits(request))
                return inside_view(held, stop, stepping, stepping.stop_place)
            case LookSource():
                return source_view(
                    held, stop, self._stepping, request, self.line(), self.stack is not None and self.stack.number > 0
                )
            case LookStack():
                if self.stack is None:
                    return NoView(stop, "gradstep calls this model itself: only a script has a stack")
                return stack_view(stop, self.stack, request, self.scope, self._norms)
            case LookBreakpoints():
                position = self.stepper.position
                return breakpoints_view(stop, self.stepper.breakpoints, "" if position is None else position.reason)
            case LookChanges():
                return changes_view(held, stop)
            case LookTimeline() if self.timeline is not None:
                view, position = timeline_view(self.timeline, stop, request), self.stepper.position
                point = position is None or self.timeline.number == stop
                return view if point or position is None else with_inside(view, self.timeline, position)
            case LookCompare() if self.timeline is not None:
                return compare_view(self.timeline, stop, request)
            case LookDigest(limit):
                if state_size(held) > limit:
                    return Digest(stop, "", 0, measured_on())
                return Digest(stop, *digest(held), measured_on())
            case LookFind():
                return self._finds.view(stop, request)
            case LookFindings():
                return findings_view(self.checker, stop)
            case LookNames():
                return self._names(stop)
            case LookState():
                lets = tuple((name, describe(value)) for name, value in self.scope.lets.items())
                return StateView(stop, self.set_to_none, lets, tuple(self.watches))
            case _:
                return NoView(stop, f"there is no view for {type(request).__name__}")
