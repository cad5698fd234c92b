"""Writes the ledger from the stream of the observer: it does not matter who runs the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.engine.observe.addends import Addends
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.ledger import Ledger
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import (
    Consumer,
    EngineEntered,
    EngineLeft,
    GradientArrives,
    StepEntered,
    StepLeft,
    Zeroed,
)


class Bookkeeper:
    """Notes in a ledger what backwards, steps and zero_grad do to the `.grad` of parameters.

    Args:
        ledger: where it notes them.
        names: the parameters by tensor; more may be added at any time.
        addends: records what a backward adds, while a view asks for it.
        origin: returns the number of the forward that a backward starts from, and its loss; called only when addends
            are recorded.
    """

    def __init__(
        self,
        ledger: Ledger,
        names: Mapping[Tensor, str],
        addends: Addends,
        origin: Callable[[EngineCall], tuple[int, float | None]],
    ) -> None:
        self._ledger, self._names, self._addends, self._origin = ledger, names, addends, origin
        self._records = True
        self.written: tuple[str, ...] = ()
        """The parameters whose `.grad` the last backward wrote."""
        self.used: tuple[str, ...] = ()
        """The parameters whose `.grad` the last step used."""
        self.again = False
        """True when an earlier step had used all of the gradients that the last step used."""
        self._call: EngineCall | None = None
        """The outermost call of the engine that accumulates, while it runs."""
        self._before: list[tuple[Tensor, str, Tensor | None, int]] = []
        """Each parameter with its name, `.grad` before that call, and the version of that."""
        self._steps = 0
        self._began: dict[int, int] = {}
        """How many steps had ended when `step` of an optimizer was called, by the id of the optimizer."""
        self._step_of: dict[str, int] = {}
        """The number of the last step that used the `.grad` of each parameter."""
        self._consumer: Consumer = {
            EngineEntered: self._engine_entered,
            GradientArrives: addends.arrives,
            EngineLeft: self._engine_left,
            StepEntered: self._step_entered,
            StepLeft: self._step_left,
            Zeroed: self._zeroed,
        }

    def consumer(self) -> Consumer:
        """Return what keeps the ledger of everything that runs."""
        return self._consumer

    @property
    def leaves(self) -> Sequence[Tensor]:
        """The parameters whose `GradientArrives` it has to be told."""
        return self._addends.leaves

    def watch(self, records: bool = True) -> AbstractContextManager[object]:
        """Keep the ledger of all that runs on this thread while the block lasts, with `records` its lines too."""
        self._records, self._call, self._before = records, None, []
        return observe(self._consumer, leaves=self.leaves)

    # A caller that knows what it calls says so, which costs less than to hook torch for it.
    def tell(self, event: StepLeft | Zeroed) -> None:
        """Note what the caller has called."""
        self._consumer[type(event)](event)

    @contextmanager
    def backward(self, call: EngineCall) -> Iterator[None]:
        """Note the backward that the block runs."""
        self._records = True
        self._engine_entered(EngineEntered(call, 0))
        arrives: Consumer = {GradientArrives: self._addends.arrives}
        try:
            with observe(arrives, leaves=self._addends.leaves) if self._addends.leaves else nullcontext():
                yield
        finally:
            self._engine_left(EngineLeft(call, 0))

    def _engine_entered(self, event: EngineEntered) -> None:
        if event.call.accumulates and (self._call is None or not event.depth):
            self._call = event.call
            self._before = [
                (parameter, name, parameter.grad, 0 if parameter.grad is None else parameter.grad._version)
                for parameter, name in self._names.items()
            ]
            self._addends.begin(self._names if self._records else {})

    def _engine_left(self, event: EngineLeft) -> None:
        if self._call is None or event.call is not self._call:
            return
        written, fresh = [], []
        for parameter, name, grad, version in self._before:
            now = parameter.grad
            if now is not None and (now is not grad or now._version != version):
                written.append(name)
                if grad is None:
                    fresh.append(name)
        if self.leaves:
            self._record(self._call, written, frozenset(fresh))
        elif len(fresh) == len(written):
            self._ledger.began(written)
        else:
            for name in written:
                self._ledger.backward(name, name in fresh)
        self.written, self._call, self._before = tuple(written), None, []

    def _record(self, call: EngineCall, written: Sequence[str], fresh: frozenset[str]) -> None:
        origin = None
        for name in written:
            recorded = self._addends.recorded(name)
            if recorded is not None and origin is None:
                origin = self._origin(call)
            self._ledger.backward(name, name in fresh, recorded, *(origin or ()))

    def _step_entered(self, event: StepEntered) -> None:
        self._began[id(event.optimizer)] = self._steps

    def _step_left(self, event: StepLeft) -> None:
        """Note that a step used what it found; where it has called the step of another optimizer, that did."""
        began = self._began.pop(id(event.optimizer), self._steps)
        self.used = tuple([name for parameter, name in self._of(event.optimizer) if parameter.grad is not None])
        steps = self._step_of
        own = [name for name in self.used if steps.get(name, 0) <= began]
        if own or not self.used:
            self.again = bool(own) and self._ledger.used_up(own)
        self._steps += 1
        self._ledger.step(own)
        steps.update(dict.fromkeys(own, self._steps))

    def _zeroed(self, event: Zeroed) -> None:
        known = self._of(event.owner)
        if self._addends.request is None and event.to_none:
            self._ledger.cleared_to_none([name for _, name in known])
            return
        recorded = self._addends.request is not None
        for parameter, name in known:
            self._ledger.cleared(name, event.to_none or parameter.grad is None, parameter if recorded else None)

    def _of(self, owner: Optimizer | nn.Module) -> list[tuple[Tensor, str]]:
        """Return the parameters of an optimizer or a module that are known, with their names."""
        if isinstance(owner, Optimizer):
            parameters: list[Tensor] = [each for group in owner.param_groups for each in group["params"]]
        else:
            parameters = list(owner.parameters())
        find = self._names.get
        return [(each, name) for each in parameters if (name := find(each)) is not None]
