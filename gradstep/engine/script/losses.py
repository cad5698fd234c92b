"""The losses of a script: what each backward differentiates, told apart by where it is called."""

from __future__ import annotations

from types import FrameType
from typing import NamedTuple

import torch
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.script.frames import named_values
from gradstep.engine.script.iterations import CallSite


class Loss(NamedTuple):
    """The loss of one backward."""

    tensor: Tensor | None
    """None where what is differentiated is not a tensor."""
    value: float | None
    change: float | None
    """Since the last loss of the same call site."""


class _Unread(NamedTuple):
    """A loss on another device that is read later: reading it waits for the device."""

    tensor: Tensor
    series: int
    iteration: int
    rates: tuple[float, ...]


MOST = 256
"""Losses that are left unread: then they are read at once."""


class Losses:
    """Notes the losses in a debuggee's history."""

    def __init__(self) -> None:
        self._series: dict[CallSite, int] = {}
        """The number of each series, by the call site of its backward."""
        self._last: dict[int, float | None] = {}
        """The last value of each series."""
        self.unvalued: set[int] = set()
        """The places in the history of losses that are not a real scalar."""
        self._unread: list[_Unread] = []
        self._number = 0
        """The sequence number at the end of the last backward."""
        self.since: list[float] = []
        """Those since the last `begin`: the losses of the closure's calls in a step."""

    def begin(self) -> list[float]:
        """Return the losses since the last `begin`; begin to count anew."""
        before, self.since = self.since, []
        return before

    def ended(self) -> None:
        """Note that a backward has ended."""
        self._number = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]

    def computed_before(self, call: EngineCall) -> bool:
        """Return whether a loss was computed before the last backward: two losses of one forward."""
        nodes = [each.grad_fn for each in call.outputs if isinstance(each, Tensor) and each.grad_fn is not None]
        return bool(nodes) and all(node._sequence_nr() < self._number for node in nodes)

    def add(
        self, held: Held, call: EngineCall, frame: FrameType | None, site: CallSite, iteration: int, later: bool
    ) -> Loss:
        """Note the loss of a backward.

        Args:
            held: what is trained.
            call: the backward, which begins.
            frame: the frame that calls it.
            site: where it is called; its line is the name of a loss that no variable names.
            iteration: the iteration.
            later: leave it unread where reading waits for its device; `read` reads it.
        """
        outputs = call.outputs
        loss = outputs[0] if len(outputs) == 1 else next((each for each in outputs if isinstance(each, Tensor)), None)
        loss = _unwrapped(loss if isinstance(loss, Tensor) else None)
        series = self._series.setdefault(site, len(self._series))
        if series == len(held.loss_names):
            named = named_values(frame)
            held.loss_names.append(next((name for name, each in named if each is loss), site.line))
        if later and loss is not None and is_far(loss):
            with unobserved(), torch.no_grad():
                self._unread.append(_Unread(loss.detach().clone(), series, iteration, held.rates()))
            if len(self._unread) >= MOST:
                self.read(held)
            return Loss(loss, None, None)
        if self._unread:
            self.read(held)
        value = value_of(loss)
        change = self._note(held, series, iteration, value, held.rates())
        self.since.append(float("nan") if value is None else value)
        return Loss(loss, value, change)

    @property
    def unread(self) -> bool:
        """True where some were left for later."""
        return bool(self._unread)

    def read(self, held: Held) -> Loss | None:
        """Read the losses that were left for later; return the last one, None where there was none."""
        unread, self._unread, last = self._unread, [], None
        for tensor, series, iteration, rates in unread:
            value = value_of(tensor)
            last = Loss(tensor, value, self._note(held, series, iteration, value, rates))
        return last

    def _note(
        self, held: Held, series: int, iteration: int, value: float | None, rates: tuple[float, ...]
    ) -> float | None:
        """Append a loss to the history; return its change."""
        last = self._last.get(series)
        self._last[series] = value
        if value is None:
            self.unvalued.add(len(held.losses))
        held.loss_series.append(series)
        held.losses.append((iteration, float("nan") if value is None else value))
        # the same tuple again, as long as they stay the same: there may be millions
        known = held.loss_rates
        known.append(known[-1] if known and known[-1] == rates else rates)
        return None if value is None or last is None else value - last


def _unwrapped(loss: Tensor | None) -> Tensor | None:
    """Return a loss without the wrappers that `torch.func` puts round it; what is inside has no graph of its own."""
    functorch = torch._C._functorch
    while loss is not None and functorch.is_functorch_wrapped_tensor(loss):
        loss = functorch.get_unwrapped(loss)
    return loss


def is_far(loss: Tensor) -> bool:
    """Return whether reading a tensor waits for the device that computes it."""
    return not (loss.is_cpu or loss.is_meta)


def value_of(loss: Tensor | None) -> float | None:
    """Return the value of a loss; None for one that is not a real scalar."""
    if loss is None or loss.numel() != 1 or loss.is_complex() or loss.is_meta:
        return None
    return float(loss.item())
