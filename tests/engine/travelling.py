"""A held workload that travels in time, and remembers the first digest of each stop."""

from __future__ import annotations

import torch
from holding import Fused
from running import runner_of

from gradstep.engine.debuggee.generators import seed_everything
from gradstep.engine.debuggee.loading import build, find_device, find_factory
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.held import Held
from gradstep.engine.history import travel as arrive
from gradstep.engine.history.thinning import tidy
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.state.digest import digest, digest_at
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Assign, Backward, Flow, PointCommand, ZeroGrad
from gradstep.values.errors import GradstepError

EXAMPLES = ("mlp", "linear", "xor", "cnn", "rnn", "gpt", "deep", "hot", "shuffled", "epochs")
ACTS = (
    *("forward", "backward", "step", "zero_grad", "zero_grad set_to_none=false", "next_batch"),
    *("backward retain_graph=true", "forward", "forward", "backward", "step"),
    *("set lr = 0.02", "set W = 1.01 * W", "set W.grad = 0", "set W.grad = none", "set W[0] = 0.5"),
    *("freeze W", "unfreeze *", "clip grad norm=0.5", "clip grad value=0.01", "eval", "train", "seed 7"),
    *(
        "optimizer adamw lr=0.01",
        "optimizer sgd lr=0.1 momentum=0.9",
        "optimizer sgd lr=0.1 momentum=0.9 nesterov=true",
    ),
    *("set input[0] = 1 * input[1]", "set batch = 3"),
    # gradient edits at places of a backward
    *("at 3 set node.in = 0.5 * node.in", "at 2 set node.out = none", "at 5 set node.in = 2 * node.in"),
)
_OTHERS = {
    # a shuffling loader, draws from python and numpy, buffers put in anew, momentum
    "shuffled": lambda: Fused().held,
    # AdamW, a schedule that steps by epochs, an average of the weights among the listed objects
    "epochs": lambda: averaged().held,
}
LOOP = ("forward", "backward", "step", "zero_grad")


def averaged() -> Fused:
    """Return a workload with AdamW, a schedule by epochs, and an object with tensors in `state=`."""
    fused = Fused(
        lambda p: torch.optim.AdamW(p, lr=0.1, amsgrad=True),
        schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5),
        schedule="epoch",
        state={"average": torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 2))},
    )
    average = fused.held.workload.state["average"]
    fused.model.register_forward_hook(lambda *_: average.update_parameters(torch.nn.Linear(2, 2)))
    return fused


class Traveller:
    """Steps a workload, and checks that each stop keeps its first digest."""

    def __init__(self, name: str, budget: int) -> None:
        seed_everything(0)
        made = _OTHERS[name]() if name in _OTHERS else Held(build(find_factory(name, ""), name), find_device("cpu"))
        self._begin(made, budget)

    @classmethod
    def of(cls, held: Held, budget: int) -> Traveller:
        made = cls.__new__(cls)
        made._begin(held, budget)
        return made

    def _begin(self, held: Held, budget: int) -> None:
        self.held = held
        self.scope = HeldScope(held)
        self.timeline = Timeline(runner_of(held), self.scope, budget)
        self.timeline.begin()
        self.weight = held.parameters[0][0]
        self.digests: dict[int, str] = {}
        self.told: list[str] = []
        self.check()
        self._randomness = held.keeper.capture()

    def digest(self) -> str:
        return digest(self.held)[0]

    def check(self) -> None:
        """Check that a stop, and its checkpoint, still has its first digest."""
        here = self.timeline.current
        if here is None:
            return
        now = self.digest()
        assert self.digests.setdefault(here.number, now) == now
        assert here.checkpoint is not None
        assert digest_at(self.held, here.checkpoint) == now

    def alone(self, step: tuple[str, object]) -> None:
        """Take a step with the generators of the process as this traveller left them."""
        self.held.keeper.restore(self._randomness)
        self.take(*step)
        self.check()
        self._randomness = self.held.keeper.capture()

    def take(self, kind: str, what: object) -> bool:
        """Take a step; return whether it succeeded."""
        try:
            match kind:
                case "act":
                    self._act(str(what))
                case "loop":
                    for line in LOOP * int(str(what)):
                        self._act(line)
                        self.check()
                case "undo":
                    arrive.go(self.timeline, self.timeline.back(int(str(what))))
                case "redo":
                    arrive.go(self.timeline, self.timeline.forth(int(str(what))))
                case "goto":
                    self.go(self._some(int(str(what))))
                case "visit":
                    number = self._some(int(str(what)))
                    with arrive.visit(self.timeline, self.timeline.at(number)):
                        assert self.digest() == self.digests[number]
            self.told += tidy(self.timeline)
        except GradstepError as error:
            self.refused = f"{error.problem.title}: {error.problem.what}"
        else:
            return True
        # a refusal is torch's or the user's, never that a stop is lost or that gradstep itself has failed
        assert "reach" not in self.refused, self.refused
        assert "gradstep" not in self.refused
        return False

    def go(self, number: int) -> arrive.Arrival:
        return arrive.go(self.timeline, self.timeline.at(number))

    def refusal(self, line: str) -> str:
        """Carry out a line that must be refused; return the error."""
        assert not self.take("act", line)
        return self.refused

    def said(self, kind: str, what: object) -> str:
        assert not self.take(kind, what)
        return self.refused

    def _some(self, number: int) -> int:
        points = list(self.timeline.points)
        return points[number % len(points)]

    def _act(self, line: str) -> None:
        place, line = line.split(" ", 2)[1:] if line.startswith("at ") else ("", line)
        (statement,) = parse_line(line.replace("W", self.weight))
        assert isinstance(statement, StepsLine)
        command: PointCommand = statement.command  # type: ignore[assignment]
        if isinstance(command, ZeroGrad) and command.set_to_none is None:
            command = ZeroGrad(True)
        if place:
            assert isinstance(command, Assign)
            command = Backward(flows=(Flow(int(place), command),))
        runner_of(self.held).carry_out(command, self.scope)
