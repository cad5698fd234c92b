"""The losses of a script: what each backward differentiates, told apart by where it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import EngineCall


class Loss(NamedTuple):
    """The loss of one backward."""

    tensor: Tensor | None
    """None where what is differentiated is not a tensor."""
    value: float | None
    change: float | None
    """Since the last loss of the same call site."""


class Losses:
    """Notes the losses in a debuggee's history."""

    def __init__(self) -> None:
        self._last: dict[tuple[object, ...], tuple[int, float | None]] = {}
        """The number of each series, by the call site of its backward, and its last value."""
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
        self,
        held: Held,
        call: EngineCall,
        site: tuple[object, ...],
        iteration: int,
        name: Callable[[Tensor | None], str],
    ) -> Loss:
        """Note the loss of a backward.

        Args:
            held: what is trained.
            call: the backward.
            site: where it is called.
            iteration: the iteration.
            name: returns what the script calls a loss; asked for the first of each call site.
        """
        loss = _unwrapped(next((each for each in call.outputs if isinstance(each, Tensor)), None))
        series, last = self._last.get(site, (len(self._last), None))
        value = value_of(loss)
        self._last[site] = series, value
        if series == len(held.loss_names):
            held.loss_names.append(name(loss))
        number = float("nan") if value is None else value
        held.loss_series.append(series)
        held.losses.append((iteration, number))
        rates = held.rates()  # the same tuple again, as long as they stay the same: there may be millions
        held.loss_rates.append(held.loss_rates[-1] if held.loss_rates and held.loss_rates[-1] == rates else rates)
        self.since.append(number)
        return Loss(loss, value, None if value is None or last is None else value - last)


def _unwrapped(loss: Tensor | None) -> Tensor | None:
    """Return a loss without the wrappers that `torch.func` puts round it; what is inside has no graph of its own."""
    functorch = torch._C._functorch
    while loss is not None and functorch.is_functorch_wrapped_tensor(loss):
        loss = functorch.get_unwrapped(loss)
    return loss


def value_of(loss: Tensor | None) -> float | None:
    """Return the value of a loss; None for one that is not a real scalar."""
    if loss is None or loss.numel() != 1 or loss.is_complex() or loss.is_meta:
        return None
    return float(loss.detach().item())
