"""A held workload: the debuggee, and what is recorded of it. It is passive: `runner.py` runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, record
from gradstep.engine.autograd.long_graphs import LONG
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.addends import Addends
from gradstep.engine.observe.bookkeeper import Bookkeeper
from gradstep.engine.observe.recording import Recording
from gradstep.engine.observe.source_lines import SourcePlace
from gradstep.engine.state.memory import copies_of
from gradstep.engine.state.saved import Saved
from gradstep.values.expressions import name_line
from gradstep.workload import Workload


class Held(Debuggee):
    """The debuggee, and what was recorded of its last phases."""

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        progress: Callable[[str], None] = lambda _: None,
        offload: bool = False,
        loose: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(workload, device, progress, loose)
        self.offload = offload
        """True to keep copies of GPU tensors, for the history and for rollback, in host memory."""
        self.models: tuple[str, ...] = ()
        """The names of a script's models, where it has several; they begin the names of their parameters."""
        self.addends = Addends()
        self.bookkeeper = Bookkeeper(
            self.ledger, self.names, self.addends, lambda _: (len(self.losses), self.point.value)
        )
        self.saved = Saved()
        """The state before the last command that the command may have written."""
        self.forward_saved: Saved | None = None
        """The state that the forward of the last loss started from; None when unknown."""
        self.began_with: Callable[[], Saved | None] = lambda: self.forward_saved
        """Returns the state that the forward of the last loss started from, from the history if there is one."""
        self.lend: Callable[[Tensor], Tensor] = lambda tensor: copies_of([tensor], offload)[0]
        """Returns a copy of a tensor for a rerun, from the memory of the transactions if there are any."""
        self.recording = Recording()
        self.quick = True
        """False when the last forward was slow (`phases.QUICK`): lines are recorded only while the graph is shown."""
        self.refused = ""
        """The name of the last phase if it raised and was rolled back; else empty."""
        self._graph: tuple[GraphRecord, Tensor] | None = None
        """A tuple releases its last item first: the loss must go before the record (see `autograd/long_graphs.py`)."""
        self._inner: tuple[GraphRecord, Point] | None = None
        """The graph of a backward that the forward itself runs, while that backward is stopped inside."""

    def opening(self) -> str:
        """Return what to show first: the workload's `show`, else the last weight of two or more dimensions."""
        names = [name for name, p in self.parameters if p.dim() > 1] or [name for name, _ in self.parameters]
        return self.workload.show or (name_line(names[-1]) if names else "")

    # -- the state of the loop -----------------------------------------------------------------------------------------
    def natural(self) -> tuple[str, ...]:
        """Return the commands that a training loop would run next."""
        point = self.point
        following = {"forward": "backward", "backward": "step", "step": "zero_grad"}.get(point.phase, "forward")
        # a single batch is reused without next_batch, unless a scheduler counts epochs
        ends_epoch = bool(self.schedulers) and self.workload.schedule == "epoch"
        takes = following == "forward" and point.used_batch and (ends_epoch or not self.batches.single)
        return ("next_batch", following) if takes else (following,)

    def missed(self, parameter: Tensor) -> bool:
        """Return whether a parameter requires grad but has no `.grad` after the last backward."""
        ran = self.point.ran and "zero_grad" not in self.point.done
        return ran and parameter.requires_grad and parameter.grad is None

    def graph(self) -> GraphRecord | None:
        """Return the graph of the last loss, walked at the first call; None when it has none.

        Inside a backward that a forward itself runs, return the graph of that backward.
        """
        if self._inner is not None and self._inner[1] is self.point:
            return self._inner[0]
        loss = self.point.loss
        if loss is None or loss.grad_fn is None:
            return None
        if self._graph is None or self._graph[1] is not loss:
            self._graph = (record(loss.grad_fn, self.point.watched.owners, self.point.watched.lines), loss)
        return self._graph[0]

    @property
    def graph_takes_long(self) -> bool:
        """True where walking the graph of the last loss takes long, and has not been done."""
        walked = self._graph is not None and self._graph[1] is self.point.loss
        return len(self.point.watched.numbers) >= LONG and not walked

    def inner_graph(self, graph: GraphRecord | None) -> None:
        """Set the graph of a backward that a forward itself runs; None when that backward ends."""
        self._inner = None if graph is None else (graph, self.point)

    def line_of(self, number: int) -> SourcePlace | None:
        """Return the source line that created node `number` of the graph; None when it was not recorded."""
        graph = self.graph()
        return None if graph is None else graph.line(number)

    def forget_graph(self) -> None:
        """Release the walked graph: only the loss may keep a graph alive."""
        self._graph = None
