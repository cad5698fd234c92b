"""`train-mode-in-evaluation`: a model is evaluated in train mode."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import FrameType
from typing import NamedTuple
from weakref import ref

from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.checks.modes.layers import counted, layers_with_modes
from gradstep.values.findings import Rule, Where


class _Call(NamedTuple):
    """A forward without grad, in train mode, of which it is not known yet what it is for."""

    site: tuple[object, ...]
    module: ref[nn.Module]
    given: ref[Tensor] | None
    """Its first argument, where that is a tensor."""
    where: Where


class TrainModeInEvaluation(Check):
    """Tells evaluations from other forwards without grad by where in the loop they are called."""

    rule = Rule(
        id="train-mode-in-evaluation",
        severity="warning",
        title="the model is evaluated in train mode",
        why="Dropout drops at random and batch norm mixes the samples and updates its statistics, so the result "
        "varies from call to call and is not that of the trained model.",
        detects="A model with dropout or batch norm, the only one that is trained, is called under no_grad in train "
        "mode: not before its first step, and with several inputs in a row, or at an iteration's end. Pseudo labels "
        "and rollouts occur elsewhere; a teacher is in no optimizer.",
        remedy="Call model.eval() before the evaluation, and model.train() after it.",
        source="torch documentation, 'Autograd mechanics: evaluation mode'; MultiBench#26",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._elsewhere: set[tuple[object, ...]] = set()
        """Call sites that are no evaluations."""
        self._trains: set[tuple[object, ...]] = set()
        """Call sites of forwards with grad."""
        self._last: _Call | None = None

    @at("forward", "evaluation", "end")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at a forward, with grad or without, and at the end."""
        if moment.phase == "forward":
            site = moment.find_site()
            last, self._last = self._last, None
            if last is not None and site in self._trains:  # the iteration begins again
                yield from self._found(moment, last)
            elif last is not None:
                self._elsewhere.add(last.site)
            self._trains.add(site)
        elif moment.phase == "evaluation" and isinstance(moment.of, nn.Module):
            yield from self._evaluated(moment, moment.of)
        elif moment.phase == "end" and self._last is not None:
            yield from self._found(moment, self._last)

    def _evaluated(self, moment: Moment, module: nn.Module) -> Iterable[Seen]:
        site, given = moment.find_site(), next(iter([*moment.args, *moment.kwargs.values()]), None)
        last = self._last
        if last is not None and last.site == site:
            if last.given is None or last.given() is not given:
                yield from self._found(moment, last)
            return
        if site in self._elsewhere or not module.training:
            return
        trained = moment.held.point.steps and len(moment.held.optimizers) == 1 and _is_optimized(moment, module)
        if not trained or _in_update_bn() or next(layers_with_modes(module, training=True), None) is None:
            self._elsewhere.add(site)
            return
        path = moment.held.paths.get(module, "")
        first = ref(given) if isinstance(given, Tensor) else None
        self._last = _Call(site, ref(module), first, moment.at(module=path, panel="model"))

    def _found(self, moment: Moment, call: _Call) -> Iterable[Seen]:
        module = call.module()
        layers = [] if module is None else list(layers_with_modes(module, training=True))
        if layers and moment.script:
            what = f"{type(module).__name__} is called without grad and in train mode, after it was trained: "
            what += f"{counted(layers)} work as in training."
            yield Seen(what, call.where, {"layers": len(layers)})


def _is_optimized(moment: Moment, module: nn.Module) -> bool:
    own = {id(each) for each in module.parameters()}
    several = (p for each in moment.held.optimizers for group in each.param_groups for p in group["params"])
    return any(id(p) in own for p in several)


def _in_update_bn() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "update_bn":
        frame = frame.f_back
    return frame is not None
