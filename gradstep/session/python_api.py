"""The Python interface of a session, for a prompt and a notebook: a method for each command and for each view."""

from __future__ import annotations

from typing import Literal, TypeVar

from msgspec.structs import replace

import gradstep.sheets  # noqa: F401  (views draw themselves)
from gradstep.values import commands as cmd
from gradstep.values.commands import Command, Show
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.selection import read_selection
from gradstep.values.views import (
    Changes,
    LookChanges,
    LookLoss,
    LookModel,
    LookTensor,
    LookWhy,
    LossView,
    ModelView,
    NoView,
    Request,
    TensorView,
    View,
    WhyView,
)
from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.ledger import LedgerView, LookLedger
from gradstep.values.views.training import BatchView, LayersView, LookBatch, LookLayers, LookOptimizer, OptimizerView

_V = TypeVar("_V")


class PythonApi:
    """Commands and views by name. A command returns its outcome, a view method a view or a `NoView` with the reason."""

    @property
    def stop(self) -> Stop:
        """The present stop."""
        raise NotImplementedError

    problem: Problem | None = None
    """The problem of the last command; None when it succeeded."""

    def execute(self, command: Command) -> Outcome:
        """Run one command."""
        raise NotImplementedError

    def look(self, *requests: Request) -> tuple[View, ...]:
        """Return one view for each request."""
        raise NotImplementedError

    def attend(self) -> None:
        """Record what the next phase needs for every view."""
        raise NotImplementedError

    def forward(self) -> Outcome:
        """Run the model and the loss on the current batch; the outcome lists what changed."""
        return self._with_changes(cmd.Forward())

    def backward(self, retain_graph: bool = False) -> Outcome:
        """Run the backward of the last loss; the outcome lists what changed."""
        return self._with_changes(cmd.Backward(retain_graph))

    def step(self) -> Outcome:
        """Run the optimizer's step; the outcome lists what changed."""
        return self._with_changes(cmd.Step())

    def zero_grad(self, set_to_none: bool | None = None) -> Outcome:
        """Clear the gradients, to None or to zeros; the outcome lists what changed."""
        return self._with_changes(cmd.ZeroGrad(set_to_none))

    def next_batch(self) -> Outcome:
        """Take the next batch."""
        return self._with_changes(cmd.NextBatch())

    def into(self, phase: Literal["", "forward", "backward"] = "") -> Outcome:
        """Step into a phase, by default the natural next one; at a stop inside a phase, one level deeper."""
        return self.execute(cmd.Into(phase))

    def over(self) -> Outcome:
        """Run the next module, op or node without a stop inside."""
        return self.execute(cmd.Over())

    def out(self, phase: bool = False) -> Outcome:
        """Run to the end of the module that is running, or with `phase` to the end of the phase."""
        return self.execute(cmd.Out(phase))

    def check(self, what: str = "") -> Outcome:
        """Compare derivatives with finite differences; the result is the outcome's `text`.

        Args:
            what: a node, as `#12`, its name, operation or module; empty for the node at the stop, or between phases
                for every custom Function of the graph, with its double backward.
        """
        return self.execute(cmd.Check(what))

    def undo(self, count: int = 1) -> Outcome:
        """Undo `count` commands, bit for bit; inside a phase, `count` stops."""
        return self.execute(cmd.Undo(count))

    def redo(self, count: int = 1) -> Outcome:
        """Redo `count` commands that were undone."""
        return self.execute(cmd.Redo(count))

    def goto(self, stop: int) -> Outcome:
        """Go to a stop by its number."""
        return self.execute(cmd.Goto(stop))

    def show(
        self, what: str = "", rows: int = 16, columns: int = 8, top: int = 0, left: int = 0
    ) -> TensorView | NoView:
        """Select a tensor, or a part of one, and return a window onto it and onto its `.grad`.

        Args:
            what: as in torch, `2.weight[0, 0:10]`; empty for the present selection.
            rows: the maximum number of rows in the window.
            columns: the maximum number of columns.
            top: the number of rows of the selection above it.
            left: the number of columns to the left of it.
        """
        refused = self._select(what) if what else None
        if refused is not None:
            return refused
        return self._see(TensorView, LookTensor(rows, columns, top, left, self._opening))

    def graph(self, first: int = 0, count: int = 200) -> GraphView | NoView:
        """Return `count` nodes of the autograd graph of the last loss, from node `first` on."""
        return self._see(GraphView, LookGraph(first, count))

    def contributions(
        self, what: int | str, first: int = 0, count: int = 40, by: Literal["arrival", "share"] = "arrival"
    ) -> ContributionsView | NoView:
        """Return which gradients were added up in the last backward, and how much each contributed.

        Args:
            what: a parameter, for the uses and time steps that contributed to its `.grad`; a module or the number of a
                node, for the gradients that arrived there.
            first: the first row.
            count: the maximum number of rows.
            by: `arrival`, the order in which the engine added them, or `share`, the largest first.
        """
        number, path = (what, "") if isinstance(what, int) else (None, what)
        return self._see(ContributionsView, LookContributions(number, path, first, count, by))

    def why(self, element: tuple[int, ...] | str | None = None) -> WhyView | NoView:
        """Return what the last command did, and the arithmetic of one element; after an error, the error.

        Args:
            element: an index into the whole selected tensor, or an element to select, such as `2.weight[0, 3]`; None
                for the first element of the present selection.
        """
        if element is None and self.problem is not None:
            problem = self.problem
            return WhyView(self.stop.number, "", problem.title, "", tuple(filter(None, [problem.what, problem.remedy])))
        refused = self._select(element) if isinstance(element, str) else None
        if refused is not None:
            return refused
        index = element if isinstance(element, tuple) else None
        view = self._see(WhyView, LookWhy(index))
        if index is not None and isinstance(view, WhyView) and not view.element.endswith(_index(index)):
            return self._outside(index)
        return view

    def ledger(self, element: tuple[int, ...] | str | None = None) -> LedgerView | NoView:
        """Return how one element of `.grad` accumulated; `element` as for `why`."""
        refused = self._select(element) if isinstance(element, str) else None
        if refused is not None:
            return refused
        index = element if isinstance(element, tuple) else None
        view = self._see(LedgerView, LookLedger(index))
        if index is not None and isinstance(view, LedgerView) and view.element != index:
            return self._outside(index)
        return view

    def model(self) -> ModelView | NoView:
        """Return the module tree, with the norm and the state of `.grad` of each parameter."""
        return self._see(ModelView, LookModel())

    def layers(self) -> LayersView | NoView:
        """Return the modules in forward order, with the norms of weights, gradients and updates."""
        return self._see(LayersView, LookLayers())

    def loss(
        self, by: Literal["forward", "iteration"] = "forward", smoothing: float = 0.0, points: int = 400
    ) -> LossView | NoView:
        """Return the history of the loss, thinned to `points` points.

        Args:
            by: a point for each forward, or for each iteration with the mean of its forwards.
            smoothing: the weight of the past in the exponential moving average, 0 for none.
            points: the maximum number of points.
        """
        return self._see(LossView, LookLoss(points, by, smoothing))

    def optimizer(self) -> OptimizerView | NoView:
        """Return the parameter groups with their hyper-parameters, and the state of the selected parameter."""
        return self._see(OptimizerView, LookOptimizer())

    def batch(self, first: int = 0, count: int = 8) -> BatchView | NoView:
        """Return the current batch: `count` samples from the `first` on, the largest loss first."""
        return self._see(BatchView, LookBatch(first, count))

    def _with_changes(self, command: Command) -> Outcome:
        self.attend()
        outcome = self.execute(command)
        view = self.look(LookChanges())[0]
        return replace(outcome, changes=view) if outcome.ok and isinstance(view, Changes) else outcome

    @property
    def _opening(self) -> Expression | None:
        """What the workload wants shown while nothing is selected."""
        try:
            return read_selection(self.stop.opening) if self.stop.opening else None
        except GradstepError:
            return None

    def _select(self, what: str) -> NoView | None:
        """Select a tensor or a part of one; return a `NoView` with the reason if it can't be selected."""
        try:
            problem = self.execute(Show(read_selection(what))).problem
        except GradstepError as error:
            problem = error.problem
        return None if problem is None else NoView(self.stop.number, _words(problem))

    def _outside(self, index: tuple[int, ...]) -> NoView:
        remedy = "give an index into the whole tensor, or a name: why('2.weight[0, 3]')"
        return NoView(self.stop.number, f"the selected tensor has no element {_index(index)}\n{remedy}")

    def _see(self, kind: type[_V], request: Request) -> _V | NoView:
        # the first request sets what is shown while nothing is selected, as the screen's Tensor panel does
        *_, view = self.look(LookTensor(1, 1, opening=self._opening), request)
        if isinstance(view, kind):
            return view
        assert isinstance(view, NoView)
        return view


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _words(problem: Problem) -> str:
    return "\n".join(part for part in (problem.title, problem.what, problem.remedy) if part)
