"""A held workload: the four phases on the real model, each a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine import phases
from gradstep.engine.autograd.graph import GraphRecord, record
from gradstep.engine.debuggee.loop import Act, Point
from gradstep.engine.debuggee.parts import Parts
from gradstep.engine.diagnose.mismatch import with_cause
from gradstep.engine.edits import edit
from gradstep.engine.expressions.names import Scope
from gradstep.engine.observe.addends import Addends
from gradstep.engine.observe.ledger import Ledger
from gradstep.engine.observe.source_lines import Place
from gradstep.engine.phases import Taps
from gradstep.engine.problems import problem_of
from gradstep.engine.saving import Saved
from gradstep.engine.stepping.gradient_edits import MadeAgain
from gradstep.engine.transaction import Transaction
from gradstep.values.commands import ACT_NAMES, Backward, PointCommand
from gradstep.values.errors import GradstepError
from gradstep.workload import Workload


class Held(Parts):
    """Holds a model, its loss, optimizer and batches, and runs one phase at a time.

    A phase that raises leaves everything as it was before it: parameters, gradients, buffers, optimizer, generators,
    batch cursor, and the graph of the last loss.
    """

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        progress: Callable[[str], None] = lambda _: None,
        offload: bool = False,
    ) -> None:
        super().__init__(workload, device, progress)
        self.offload = offload
        """True when copies of what is on a GPU lie in host memory: the history, and what undoes a phase that raises."""
        self.ledger = Ledger()
        self.addends = Addends()
        self.point = Point()
        self.saved = _NOTHING
        self.losses: list[tuple[int, float]] = []
        self.loss_rates: list[tuple[float, ...]] = []
        """The learning rates that held at each of `losses`."""
        self.count_zeros = False
        """True while someone watches how many activations are zero."""
        self.note_lines = False
        """True while someone looks at the graph: a forward then notes the source line of each node."""
        self.quick = True
        """False when the last forward took longer than `phases.QUICK`: lines are noted only while the graph is seen."""
        self.running = False
        self.inside = False
        """True while a phase is stepped: at a stop inside it nothing else can run."""
        self.observed = True
        """True while someone looks, or goes on after a failure: each phase then keeps what it may write, and notes
        which module makes which node. Without it a phase that raises is not undone, and nothing is said to change."""
        self.refused = ""
        """The act that raised last and was undone; empty when the last one went through."""
        self.transaction = Transaction(self)
        self._graph: tuple[GraphRecord, Tensor] | None = None
        """A tuple drops its last item first: the record goes after the loss (`autograd/long_graphs.py` says why)."""
        self._inner: tuple[GraphRecord, Point] | None = None
        """The graph of a backward that the forward runs by itself, while it is inside of that."""

    # -- where it stands -----------------------------------------------------------------------------------------------
    def natural(self) -> tuple[str, ...]:
        """Return the lines of the natural next act: the phase that a training loop would run next."""
        point = self.point
        following = {"forward": "backward", "backward": "step", "step": "zero_grad"}.get(point.phase, "forward")
        # one batch is kept, unless taking it again is what ends an epoch for a scheduler
        ends_epoch = bool(self.schedulers) and self.workload.schedule == "epoch"
        takes = following == "forward" and point.used_batch and (ends_epoch or not self.batches.single)
        return ("next_batch", following) if takes else (following,)

    def missed(self, parameter: Tensor) -> bool:
        """Tell whether the last backward has run and left a parameter that requires grad without one."""
        ran = self.point.ran and "zero_grad" not in self.point.done
        return ran and parameter.requires_grad and parameter.grad is None

    def graph(self) -> GraphRecord | None:
        """Return the graph of the last loss; None without one. Walked when first asked for.

        Inside a backward that a forward runs by itself, it is the graph of that.
        """
        if self._inner is not None and self._inner[1] is self.point:
            return self._inner[0]
        loss = self.point.loss
        if loss is None or loss.grad_fn is None:
            return None
        if self._graph is None or self._graph[1] is not loss:
            self._graph = (record(loss.grad_fn, self.point.watched.owners, self.point.watched.lines), loss)
        return self._graph[0]

    @contextmanager
    def inner_graph(self, graph: GraphRecord) -> Iterator[None]:
        """Have a graph be the one in question while the block lasts."""
        self._inner = (graph, self.point)
        try:
            yield
        finally:
            self._inner = None

    def line_of(self, number: int) -> Place | None:
        """Return where node `number` of the graph was made; None when that was not noted."""
        graph = self.graph()
        return None if graph is None else graph.line(number)

    def forget_graph(self) -> None:
        """Let go of the graph that was walked: nothing but the loss may keep one alive."""
        self._graph = None

    # -- what it does --------------------------------------------------------------------------------------------------
    def run(self, act: Act, taps: Taps | None = None) -> None:
        """Carry out one phase, or take the next batch.

        Args:
            act: the phase.
            taps: what stands round a phase that is stepped.

        Raises:
            GradstepError: what the debuggee raised, as a problem; the state is as it was before.
        """
        point, accounts, count = self.point, self.ledger.copy(), len(self.losses)
        grad_mode = torch.is_grad_enabled()
        saved: Saved | None = None
        try:
            self.point = replace(point, edit="") if point.edit else point
            self.saved = _NOTHING  # let go of cleared gradients before torch allocates new ones
            if self.observed:
                saved = self.transaction.begin(act)
                if taps is not None:  # at a stop inside, what it changed so far can be seen
                    self.saved = saved
            self.running = True  # an interrupt before this would tear what is kept
            phases.carry_out(self, act, taps)
            self.transaction.keep(act if taps is None else taps.act, saved)
            self.running = False
        except BaseException as error:
            self.running, self.saved = False, _NOTHING
            batch = self.batches.batch
            torch.set_grad_enabled(grad_mode)  # also torch's optimizers and copies switch it
            self.point = point
            self.ledger.restore(accounts)
            del self.losses[count:], self.loss_rates[count:]
            if saved is not None:
                self.transaction.roll_back(saved)
            self.refused = ACT_NAMES[type(act)]
            raise GradstepError(with_cause(problem_of(error, self.refused), self, batch)) from error
        self.saved, self.refused = saved or _UNKNOWN, ""

    def carry_out(self, command: PointCommand, scope: Scope) -> str:
        """Carry out a phase, take the next batch, or change something; return what there is to say of it.

        Raises:
            GradstepError: it can't be done, or what the debuggee raised; the state is as it was before.
        """
        if not isinstance(command, Act):
            return edit(self, command, scope)
        if isinstance(command, Backward) and command.flows:
            self.run(command, MadeAgain(self, command, scope))
        else:
            self.run(command)
        return ""


_NOTHING = Saved()
_UNKNOWN = Saved(known=False)
