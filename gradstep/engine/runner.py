"""The runner: carries out phases and edits on a debuggee, each as a transaction, and records the results."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from msgspec.structs import replace

from gradstep.engine import edits, phases
from gradstep.engine.debuggee.loop import Act
from gradstep.engine.diagnose.mismatch import with_cause
from gradstep.engine.expressions.names import Scope
from gradstep.engine.held import Held
from gradstep.engine.observe.observer import end_since, observing
from gradstep.engine.observe.strays import find_strays
from gradstep.engine.phases import Taps
from gradstep.engine.problems import problem_of
from gradstep.engine.state.saved import Saved
from gradstep.engine.stepping.backward_places import BackwardPlaces
from gradstep.engine.stepping.gradient_edits import Flows
from gradstep.engine.transaction import Transaction
from gradstep.engine.yielding import YieldedError
from gradstep.values.commands import ACT_NAMES, Backward, EditCommand, PointCommand, line_of
from gradstep.values.errors import GradstepError
from gradstep.values.views.inside import SourceLine

_NOTHING = Saved()
_UNKNOWN = Saved(known=False)


class Runner:
    """Runs one phase of a held workload at a time, or edits it.

    A phase that raises leaves everything as it was before it: parameters, gradients, buffers, optimizer, generators,
    batch cursor, and the graph of the last loss.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.transaction = Transaction(held)
        self.running = False
        """True while a phase runs: only then does an interrupt have an effect."""
        self.inside = False
        """True while a phase is stepped: no other phase can run then."""
        self.observed = True
        """True when views are shown, or the session continues after a failure: what a phase may write is saved first,
        and the module of each node is recorded. When False, a phase that raises is not rolled back, and views show no
        changes."""
        self.interrupted: Callable[[], bool] = lambda: False
        """Returns whether the command was interrupted while no phase ran, where an interrupt has no effect."""

    def run(self, act: Act, taps: Taps | None = None) -> None:
        """Carry out one phase, or take the next batch.

        Args:
            act: the phase.
            taps: the taps of a phase that is stepped.

        Raises:
            GradstepError: the debuggee raised; the state is as it was before.
        """
        held = self.held
        point, accounts, count = held.point, held.ledger.copy(), len(held.losses)
        grad_mode, collects = torch.is_grad_enabled(), gc.isenabled()
        functions = torch._C._get_torch_function_state()  # type: ignore[attr-defined]
        observers = observing()
        saved: Saved | None = None
        clock = time.perf_counter if taps is None else time.thread_time  # which does not run while a stop waits
        try:
            held.point = replace(point, edit="") if point.edit else point
            held.saved = _NOTHING  # release cleared gradients before torch allocates new ones
            if self.observed:
                if isinstance(act, Backward) and point.loss is not None:
                    find_strays(held, point.loss.grad_fn)
                saved = self.transaction.begin(act)
                if taps is not None:  # at a stop inside, views show what it has changed so far
                    held.saved = saved
            began = clock()
            self.running = True  # not before: an interrupt would leave an incomplete copy
            if self.interrupted() and (taps is None or not taps.pause()):
                raise KeyboardInterrupt
            phases.carry_out(held, act, phases.PhaseRun(taps, self.observed, self.transaction.pulled))
            self.running = False  # an interrupt after this would leave an incomplete record
            self.transaction.keep(act if taps is None else taps.act, saved, clock() - began)
        except BaseException as error:
            self.running, held.saved = False, _NOTHING
            end_since(observers)
            batch = held.batches.batch
            torch.set_grad_enabled(grad_mode)  # torch's optimizers switch it, and so does a copy
            # off while an observed operation is recorded
            torch._C._set_torch_function_state(functions)  # type: ignore[attr-defined]
            (gc.enable if collects else gc.disable)()  # paused while a graph is walked
            held.point = point
            held.ledger.restore(accounts)
            del held.losses[count:], held.loss_rates[count:]
            if saved is not None:
                self.transaction.roll_back(saved)
            held.refused = ACT_NAMES[type(act)]
            if isinstance(error, YieldedError):
                raise
            raise GradstepError(with_cause(problem_of(error, held.refused), held, batch)) from error
        held.saved, held.refused = saved or _UNKNOWN, ""

    def edit(self, command: EditCommand, scope: Scope) -> str:
        """Carry out an edit; return what it prints.

        Raises:
            GradstepError: it failed; the state is as it was before.
        """
        held = self.held
        point, accounts, optimizer, schedulers = held.point, held.ledger.copy(), held.optimizer, held.schedulers
        losses, rates = list(held.losses), list(held.loss_rates)
        saved: Saved | None = None
        try:
            plan = edits.plan(held, command, scope)
            if self.observed:
                saved = self.transaction.begin_edit(plan.tensors)
            text, line = edits.write(held, command, plan, scope)
            steps = held.point.steps_since_forward + plan.graph
            held.point = replace(held.point, torch=line, edit=text, steps_since_forward=steps)
            self.transaction.keep(command, saved)
        except BaseException as error:
            held.point = point
            held.ledger.restore(accounts)
            held.use_optimizer(optimizer, schedulers)
            held.losses[:], held.loss_rates[:] = losses, rates
            if saved is not None:
                self.transaction.roll_back(saved)
            raise GradstepError(problem_of(error, line_of(command))) from error
        held.saved, held.refused = saved or Saved(), ""
        return text

    def carry_out(self, command: PointCommand, scope: Scope) -> str:
        """Carry out a phase, take the next batch, or edit; return what it prints.

        Raises:
            GradstepError: it failed, or the debuggee raised; the state is as it was before.
        """
        if not isinstance(command, Act):
            return self.edit(command, scope)
        if isinstance(command, Backward) and command.flows:
            self.run(command, _RepeatedEdits(self.held, command, scope))
        else:
            self.run(command)
        return ""


class _RepeatedEdits:
    """The taps of a backward that runs without a stop and repeats the gradient edits made in it."""

    def __init__(self, held: Held, act: Backward, scope: Scope) -> None:
        self._held, self.act, self.flows = held, act, Flows(act.flows, scope)

    @property
    def ops(self) -> bool:
        """False: no forward is observed op by op."""
        return False

    def pause(self) -> bool:
        """Return False: it does not stop."""
        return False

    def forward(self, _: object) -> AbstractContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()

    @contextmanager
    def backward(self) -> Iterator[None]:
        """Apply the gradient edits during a backward."""
        held = self._held
        graph = held.graph()
        assert graph is not None
        with (
            self.flows.around(lambda _: None, lambda *_: True) as (come, passes),
            BackwardPlaces(graph, lambda _: SourceLine(), held.kinds, held.names, come, passes).watch(),
        ):
            yield
