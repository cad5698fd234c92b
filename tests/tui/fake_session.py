"""A session made by hand: it answers at once or when told to, with views that carry the number of their stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from gradstep.session.protocol import ScriptTerminal
from gradstep.values.commands import Backward, Command, Forward, Let, Load, NextBatch, Print, Show, Step, ZeroGrad
from gradstep.values.expressions import expression_line
from gradstep.values.outcomes import Event, Frame, Outcome, Problem, Stop
from gradstep.values.views import (
    Digest,
    LookDigest,
    LookLoss,
    LookModel,
    LookNames,
    LookTensor,
    LookWhy,
    LossPoint,
    LossView,
    ModelRow,
    ModelView,
    Names,
    NoView,
    Request,
    TensorView,
    View,
    WhyView,
    Window,
)
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow
from gradstep.values.views.tensor import Axis, Statistics

PHASE = {Forward: "forward", Backward: "backward", Step: "step", ZeroGrad: "zero_grad", NextBatch: "next_batch"}
AFTER = {"": "forward", "forward": "backward", "backward": "step", "step": "zero_grad", "zero_grad": "forward"}
WEIGHT = (-0.0288, 0.0072, 0.0450, -0.0073, -0.0138, 0.0064, 0.0050, 0.0409, 0.0192, -0.0519)
GRAD = (0.0766, -0.4092, -1.0268, 0.3151, -0.5860, -0.0683, 0.7136, -0.9915, -0.0088, 0.7006)
FREED = Problem(
    "raised",
    "backward through a freed graph",
    "Trying to backward through the graph a second time",
    "Press f for a new graph, or use backward retain_graph=true.",
    frames=(
        Frame("train.py", 14, "loss_of", "loss.backward()  # [red]not markup[/red]", True),
        Frame("torch/_tensor.py", 581, "backward", "torch.autograd.backward(", False),
    ),
)


class FakeSession:
    """Holds a network of three modules that was never there."""

    def __init__(self, loaded: bool = False) -> None:
        self.on_event: Callable[[Event], None] = lambda event: None
        self.terminal: ScriptTerminal | None = None
        self.stop = Stop()
        self.executed: list[Command] = []
        self.looks: list[tuple[Request, ...]] = []
        self.losses: list[float] = []
        self.selected = ""
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.interrupts = 0
        self.restarts = 0
        self.dead = ""
        self.digest = "d1ce"
        if loaded:
            self._load()

    # -- FrontSession -------------------------------------------------------------------------------------------------
    async def execute(self, command: Command) -> Outcome:
        self.started.set()
        await self.gate.wait()
        self._alive()
        self.executed.append(command)
        problem, text = None, ""
        match command:
            case Load():
                self._load()
            case Forward() | Backward() | Step() | ZeroGrad() | NextBatch():
                problem = self._phase(command)
            case Show(what):
                self.selected = expression_line(what)
            case Print(value) | Let(_, value):
                text = f"{expression_line(value)} is 1.5"
        return Outcome(command, self.stop, problem, text)

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        return await self.execute(command), await self.look(requests) if requests else ()

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        self._alive()
        self.looks.append(tuple(requests))
        return tuple(self._view(request) for request in requests)

    def interrupt(self) -> None:
        self.interrupts += 1

    async def restart(self) -> None:
        self.restarts += 1
        self.dead = ""
        self.stop, self.losses = Stop(), []
        self.gate.set()

    async def close(self) -> None:
        return

    # -- for tests ----------------------------------------------------------------------------------------------------
    def hold(self) -> None:
        """Let the next command wait until `gate` is set."""
        self.gate.clear()
        self.started.clear()

    def lines(self) -> list[str]:
        from gradstep.values.commands import line_of

        return [line_of(command) for command in self.executed]

    def _alive(self) -> None:
        if self.dead:
            raise ConnectionError(self.dead)

    def _load(self) -> None:
        self.losses = []
        self.stop = Stop(
            1,
            workload="mlp",
            device="cpu",
            dtype="float32",
            seed=0,
            optimizer="SGD",
            lr=(0.001,),
            natural=("forward",),
            opening="2.weight[0, 0:10]",
            parameters=203530,
        )

    def _phase(self, command: Command) -> Problem | None:
        phase, stop = PHASE[type(command)], self.stop
        if phase == "backward" and "backward" in stop.done:
            return FREED
        done = () if phase == "zero_grad" else (*stop.done, phase)
        if phase == "forward":
            self.losses.append(127.77 / 2 ** len(self.losses))
        two = self.losses[-2:]
        self.stop = Stop(
            stop.number + 1,
            stop.workload,
            stop.device,
            stop.dtype,
            stop.seed,
            phase,
            getattr(command, "torch", ""),
            done,
            ("next_batch", "forward") if phase == "zero_grad" else (AFTER.get(phase, "forward"),),
            stop.iteration + (phase == "step"),
            self.losses[-1] if self.losses else None,
            two[1] - two[0] if len(two) == 2 else None,
            stop.optimizer,
            stop.lr,
            opening=stop.opening,
            parameters=stop.parameters,
        )
        return None

    def _view(self, request: Request) -> View:
        stop = self.stop.number
        match request:
            case LookModel():
                return model_of(stop, model_rows(self.selected), 203530)
            case LookWhy():
                sentence = f"{self.stop.phase or 'loading'} was stop {stop}."
                return WhyView(stop, self.stop.phase, sentence, self.stop.torch, ("and a fact",))
            case LookTensor():
                opening = expression_line(request.opening) if request.opening is not None else ""
                return tensor_view(stop, self.selected or opening)
            case LookGraph():
                rows = node_rows("backward" in self.stop.done) if self.losses else ()
                state = "none" if not rows else "freed" if "backward" in self.stop.done else "alive"
                return GraphView(stop, state, len(rows), 0, rows)
            case LookLoss():
                points = tuple(LossPoint(i, i - 1, loss) for i, loss in enumerate(self.losses, 1))
                return LossView(stop, points, len(points))
            case LookDigest():
                return Digest(stop, self.digest, 800, "fake")
            case LookNames():
                return Names(stop, ("0.weight", "0.bias", "2.weight", "2.bias"), ("loss", "lr"), ("norm", "max"))
        return NoView(stop, "a fake session has no such view")


def model_of(stop: int, rows: tuple[ModelRow, ...], parameters: int) -> ModelView:
    """Return the view of a whole tree."""
    depth = max(row.depth for row in rows)
    place, path = next(((place, row.path) for place, row in enumerate(rows) if row.selected), (-1, ""))
    return ModelView(stop, rows, parameters, depth=depth, selected=path, selected_row=place)


def model_rows(selected: str = "") -> tuple[ModelRow, ...]:
    """Return the tree of the drawing."""
    rows = [ModelRow("module", "Sequential", "", 0, "Sequential")]
    for number, kind, shape, norm in (
        (0, "Linear", (256, 784), 9.259),
        (1, "ReLU", (), 0.0),
        (2, "Linear", (10, 256), 1.908),
    ):
        rows.append(ModelRow("module", str(number), str(number), 1, kind))
        if shape:
            for name, size in (("weight", shape), ("bias", shape[:1])):
                path = f"{number}.{name}"
                chosen = selected.split("[")[0] == path
                rows.append(
                    ModelRow(
                        "parameter", name, path, 2, "", size, "float32", "cpu", norm, "fresh", 29.74, "", False, chosen
                    )
                )
    return tuple(rows)


def node_rows(done: bool) -> tuple[NodeRow, ...]:
    """Return the first rows of the drawing's graph."""
    rows = (
        ("SumBackward0", "sum", (), "loss", "", "●"),
        ("PowBackward0", "x ** 2", (16, 10), "loss", "", "●"),
        ("AddmmBackward0", "b + x Wᵀ", (16, 10), "2 Linear", "", "●─┬─╮"),
        ("AccumulateGrad", "2.bias.grad", (10,), "2 Linear", "2.bias", "│ │ ◆"),
        ("TBackward0", "Wᵀ", (256, 10), "2 Linear", "", "│ ●"),
        ("AccumulateGrad", "2.weight.grad", (10, 256), "2 Linear", "2.weight", "│ ◆"),
    )
    return tuple(
        NodeRow(i, name, operation, shape, module, parameter, (), lanes, "done" if done else "")
        for i, (name, operation, shape, module, parameter, lanes) in enumerate(rows)
    )


def tensor_view(stop: int, name: str = "2.weight[0, 0:10]") -> TensorView:
    """Return the window of the drawing."""
    if not name:
        return TensorView(stop, "")
    column = lambda values: tuple((value,) for value in values)  # noqa: E731
    changed = tuple((i == 3,) for i in range(10))
    return TensorView(
        stop,
        name,
        name.split("[")[0],
        (10, 256),
        (10,),
        "float32",
        "vector",
        row_labels=tuple(map(str, range(10))),
        value=Window(column(WEIGHT)),
        grad=Window(column(GRAD), column([g - 0.5 for g in GRAD]), changed),
        grad_state="fresh",
        statistics=Statistics(10, -0.0519, 0.045, 0.0006, 0.0282, 0.085, rms=0.0269),
        grad_statistics=Statistics(10, -1.0268, 0.7136, -0.1272, 0.6234, 1.913, rms=0.605),
        place=(0, None),
        axes=(Axis(1, 0, 1, 10),),
        dims=(1,),
    )
