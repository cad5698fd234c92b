"""A held workload: what is stepped, and where its loop stands. It is passive: `runner.py` runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, record
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.addends import Addends
from gradstep.engine.observe.recording import Recording
from gradstep.engine.observe.source_lines import Place
from gradstep.engine.state.saved import Saved
from gradstep.workload import Workload


class Held(Debuggee):
    """Holds a model, its loss, optimizer and batches, and what is known of the phases that ran."""

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
        self.addends = Addends()
        self.saved = Saved()
        """What the last command may have written, from before it."""
        self.forward_saved: Saved | None = None
        """What the graph of the last loss began with; None where that is not known."""
        self.began_with: Callable[[], Saved | None] = lambda: self.forward_saved
        """Returns what the forward of the last loss began with; a runner with a history knows more."""
        self.recording = Recording()
        self.quick = True
        """False when the last forward took long (`phases.QUICK`): lines are noted only while the graph is seen."""
        self.refused = ""
        """The act that raised last and was undone; empty when the last one went through."""
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
        """Return whether the last backward has run and left a parameter that requires grad without one."""
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
