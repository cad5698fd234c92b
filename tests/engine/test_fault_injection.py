"""Whichever call of a phase raises, in gradstep, torch or user code, the phase is rolled back and can be rerun."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import ZEROS, B, Broken, F, Fused, N, S, Z
from injecting import NEVER, Injector, hooks_left
from running import runner_of
from travelling import Traveller, averaged

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.observe.addends import AddendsRequest
from gradstep.engine.state.digest import digest_at
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Forward
from gradstep.values.errors import GradstepError

ACTS: tuple[Any, ...] = (F, B, S, Z, N, F, B, ZEROS, F, B, S)
WORKLOADS: dict[str, Callable[[], Fused]] = {
    # batch norm, dropout, a shuffling loader, momentum, a schedule
    "fused": lambda: Fused(schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5)),
    # AdamW, a schedule by epochs, an average of the weights
    "averaged": averaged,
}
SPACING = {False: 251, True: 601}
"""Calls between two faults, by whether phases are stepped; primes, so that faults hit different places of a loop."""


class Subject:
    """A workload whose phases raise at one of their calls."""

    def __init__(self, name: str, history: bool, stepped: bool, error: type[BaseException]) -> None:
        seed_everything(0)
        self.traveller = Traveller.of(WORKLOADS[name]().held, (1 << 30) * history)
        self.held, self.stepped = self.traveller.held, stepped
        self.held.addends.request = AddendsRequest("first.weight", (0, 0))
        self.injector = Injector(runner_of(self.held), error)

    def act(self, act: Any, at: int = NEVER) -> bool:
        """Carry out a phase and raise at one of its calls; return whether it succeeded."""
        self.injector.light(at)
        try:
            if self.stepped and isinstance(act, (Forward, Backward)):
                phase = Stepping(runner_of(self.held), act, Breakpoints(), lambda _: False, str)
                while phase.go("into"):
                    pass
            else:
                runner_of(self.held).run(act)
        except (GradstepError, Broken):
            assert self.injector.where, "it failed by itself"
            return False
        return True

    def state(self) -> dict[str, object]:
        """Return everything that a rollback must restore."""
        held, timeline = self.held, self.traveller.timeline
        here, point = timeline.current, held.point
        return {
            "digest": self.traveller.digest(),
            "checkpoint": digest_at(held, here.checkpoint) if here is not None and here.checkpoint else "",
            "point": (point.phase, point.done, point.value, point.iteration, point.ran, point.used_batch, point.freed),
            "a graph": point.loss is not None and point.loss.grad_fn is not None,
            "losses": (list(held.losses), list(held.loss_rates)),
            "ledger": str(held.ledger.lines("first.weight")),
            "stops": (timeline.stops, timeline.branch, list(timeline.points), here and here.number),
            "hooks": hooks_left(),
            "modes": (
                torch.is_grad_enabled(),
                gc.isenabled(),
                torch.autograd.is_multithreading_enabled(),
                torch._C._is_torch_function_enabled(),
            ),
        }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised where python drops it
@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_phase_that_raises_at_any_call_never_was(
    name: str, history: bool, stepped: bool, error: type[BaseException]
) -> None:
    control = Subject(name, history, stepped, error)
    states = [control.state()]
    for act in ACTS:
        assert control.act(act)
        states.append(control.state())
    subject, faults = Subject(name, history, stepped, error), 0
    assert subject.state() == states[0]
    for i, act in enumerate(ACTS):
        at = 5 + 17 * i
        while not subject.act(act, at):
            where = f"phase {i}, call {at}: {subject.injector.where}"
            assert {**subject.state(), "where": where} == {**states[i], "where": where}
            faults += 1
            at += SPACING[stepped]
        assert subject.state() == states[i + 1]
    assert faults > 15
    subject.injector.light(NEVER)
    if history:
        for number in [*subject.traveller.timeline.points][::-1]:
            subject.traveller.go(number)
            assert subject.traveller.digest() == states[number - 1]["digest"]
