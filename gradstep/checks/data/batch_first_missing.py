"""`batch-first-missing`: a recurrent layer runs over the batch instead of over time."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from gradstep.checks.check import Moment, Seen
from gradstep.checks.data.inputs import labels
from gradstep.checks.patterns import GraphCheck
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.observe.stream import Consumer, ModuleEntered
from gradstep.values.findings import Rule

_RANK, _FORWARDS = 3, 5


class BatchFirstMissing(GraphCheck):
    """Compares the first two sizes of the input of a recurrent layer with the number of labels."""

    rule = Rule(
        id="batch-first-missing",
        severity="warning",
        title="a recurrent layer runs over the batch",
        why="Without batch_first=True, RNN, LSTM and GRU expect (time, batch, features): the state is carried from one "
        "sample to the next, not from one time step to the next.",
        detects="In the first forwards, the input of such a layer is (N, T, features), where N is the number of labels "
        "and T is not.",
        remedy="Create it with batch_first=True: nn.LSTM(16, 32, batch_first=True); or pass x.transpose(0, 1).",
        source="torch.nn.LSTM documentation (batch_first); dqn-pytorch#1",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._given: dict[nn.Module, tuple[int, ...]] = {}
        """The shapes of the inputs of the last forward."""

    def watches(self, moment: Moment) -> Consumer | None:
        """Watch recurrent layers in the first forwards."""
        self._given = {}
        return {ModuleEntered: self._entered} if moment.count < _FORWARDS else None

    def _entered(self, event: ModuleEntered) -> None:
        module, given = event.module, event.given[0] if isinstance(event.given, tuple) and event.given else None
        if isinstance(module, nn.RNNBase) and not module.batch_first and isinstance(given, Tensor):
            self._given.setdefault(module, tuple(given.shape))

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Compare them with the labels of the loss."""
        found = list(labels(graph)) if self._given else []
        for module, shape in self._given.items() if len(found) == 1 else ():
            samples = found[0].value.numel()
            if len(shape) == _RANK and shape[0] == samples != shape[1] and samples > 1 < shape[1]:
                path, kind = moment.held.paths.get(module, ""), type(module).__name__
                what = f"{kind} without batch_first gets an input of {shape}, and there are {samples} labels: it runs "
                what += f"{shape[0]} time steps, over the samples."
                where = moment.at(module=path, panel="model")
                yield Seen(what, where, {"time steps": shape[0], "labels": samples})
