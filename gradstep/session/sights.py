"""The views by name, for a prompt and a notebook: each method asks for one, and returns it or why there is none."""

from __future__ import annotations

from typing import Literal, TypeVar

import gradstep.sheets  # noqa: F401  (what is asked for by name draws itself)
from gradstep.values.commands import Command, Show
from gradstep.values.contributions import ContributionsView, LookContributions
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression
from gradstep.values.graphs import GraphView, LookGraph
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.reasons import LedgerView, LookLedger
from gradstep.values.selecting import read_selection
from gradstep.values.training import BatchView, LayersView, LookBatch, LookLayers, LookOptimizer, OptimizerView
from gradstep.values.views import (
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

_V = TypeVar("_V")


class Sights:
    """What a session can be asked for by name. Each view draws itself; none of them changes anything."""

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        raise NotImplementedError

    problem: Problem | None = None
    """What went wrong with the last command; None when nothing did."""

    def execute(self, command: Command) -> Outcome:
        """Carry out one command."""
        raise NotImplementedError

    def look(self, *requests: Request) -> tuple[View, ...]:
        """Return one view for each request."""
        raise NotImplementedError

    def show(
        self, what: str = "", rows: int = 16, columns: int = 8, top: int = 0, left: int = 0
    ) -> TensorView | NoView:
        """Select a tensor, or a part of one, and return a window onto it and onto its `.grad`.

        Args:
            what: as in torch, `2.weight[0, 0:10]`; empty for what is selected already.
            rows: how many rows the window has at most.
            columns: how many columns.
            top: how many rows of the selection lie above it.
            left: how many columns lie to the left of it.
        """
        refused = self._select(what) if what else None
        if refused is not None:
            return refused
        return self._see(TensorView, LookTensor(rows, columns, top, left, self._opening))

    def graph(self, first: int = 0, count: int = 200) -> GraphView | NoView:
        """Return `count` nodes of the grad_fn graph of the last loss, from node `first` on."""
        return self._see(GraphView, LookGraph(first, count))

    def contributions(
        self, what: int | str, first: int = 0, count: int = 40, by: Literal["arrival", "share"] = "arrival"
    ) -> ContributionsView | NoView:
        """Return which gradients met in the last backward, and how much each of them gave.

        Args:
            what: a parameter, for the uses and time steps that its `.grad` comes from; a module, or the number of a
                node, for what arrived there.
            first: the first row.
            count: how many rows there are at most.
            by: in the order in which the engine added them, or the greatest share first.
        """
        number, path = (what, "") if isinstance(what, int) else (None, what)
        return self._see(ContributionsView, LookContributions(number, path, first, count, by))

    def why(self, element: tuple[int, ...] | str | None = None) -> WhyView | NoView:
        """Return what the last command did, and the arithmetic of one element; after an error, the error.

        Args:
            element: an index into the whole of the selected tensor; what to select, such as `2.weight[0, 3]`; None for
                the first that is selected already.
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
        """Return how one element of `.grad` added up; `element` as for `why`."""
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
        """Return the history of the loss, thinned to `points` of them.

        Args:
            by: a point for each forward, or for each iteration the mean of its forwards.
            smoothing: the weight that the moving average keeps of what came before, 0 for none.
            points: how many points there are at most.
        """
        return self._see(LossView, LookLoss(points, by, smoothing))

    def optimizer(self) -> OptimizerView | NoView:
        """Return groups and hyper-parameters, and the state of the selected parameter."""
        return self._see(OptimizerView, LookOptimizer())

    def batch(self, first: int = 0, count: int = 8) -> BatchView | NoView:
        """Return the data that is held: `count` samples from the `first` on, in the order of their losses."""
        return self._see(BatchView, LookBatch(first, count))

    @property
    def _opening(self) -> Expression | None:
        """What the workload asks to be shown for as long as nothing is selected."""
        try:
            return read_selection(self.stop.opening) if self.stop.opening else None
        except GradstepError:
            return None

    def _select(self, what: str) -> NoView | None:
        """Select a tensor or a part of one; return why not when that can't be done."""
        try:
            problem = self.execute(Show(read_selection(what))).problem
        except GradstepError as error:
            problem = error.problem
        return None if problem is None else NoView(self.stop.number, _words(problem))

    def _outside(self, index: tuple[int, ...]) -> NoView:
        remedy = "give an index into the whole tensor, or a name: why('2.weight[0, 3]')"
        return NoView(self.stop.number, f"what is selected has no element {_index(index)}\n{remedy}")

    def _see(self, kind: type[_V], request: Request) -> _V | NoView:
        # the first look says what is looked at while nothing is selected, as the screen's tensor panel does
        *_, view = self.look(LookTensor(1, 1, opening=self._opening), request)
        if isinstance(view, kind):
            return view
        assert isinstance(view, NoView)
        return view


def _index(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _words(problem: Problem) -> str:
    return "\n".join(part for part in (problem.title, problem.what, problem.remedy) if part)
