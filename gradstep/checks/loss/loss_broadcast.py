"""`loss-broadcast`: a loss compares (N, 1) with (N,), which is N times N differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import REGRESSION, GraphCheck, name_of, saved, shape_of
from gradstep.engine.autograd.graph import GraphRecord, is_leaf
from gradstep.values.findings import Rule

_POWERS = frozenset({"PowBackward0", "AbsBackward0", "MulBackward0"})
_AVERAGES = frozenset({"MeanBackward0", "MeanBackward1", "SumBackward0", "SumBackward1"})
_RESHAPES = frozenset({"UnsqueezeBackward0", "ViewBackward0", "TransposeBackward0", "TBackward0", "PermuteBackward0"})


class LossBroadcast(GraphCheck):
    """Looks at the shapes of what a loss subtracts."""

    rule = Rule(
        id="loss-broadcast",
        severity="error",
        title="every prediction is compared with every target",
        why="(N, 1) and (N,) broadcast to (N, N), so each prediction is pulled towards all targets, and the best the "
        "model can do is to predict their mean.",
        detects="In the graph of the loss, both inputs of mse_loss, l1_loss, smooth_l1_loss or huber_loss were "
        "expanded, one from (N, 1) and one from (N,); or the same in a difference that is squared or made absolute "
        "and averaged. Differences of two tensors that both require grad, and those written with unsqueeze, are not "
        "flagged.",
        remedy="Give both the same shape: loss = F.mse_loss(prediction.squeeze(1), target).",
        source="torch.nn.functional.mse_loss, whose warning says 'likely lead to incorrect results due to "
        "broadcasting'; FARM#229",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at each loss, and at each average over a square or an absolute value."""
        for number, node in graph.named(*REGRESSION, *_AVERAGES):
            for samples, shape in (*_expanded(node), *_written_out(node)):
                what = (
                    f"The loss compares {samples} predictions with {samples} targets of another shape: it broadcasts "
                    f"to {samples} x {samples} differences; the prediction is {shape}."
                )
                yield Seen(what, moment.at(node=number, panel="graph"), {"samples": samples, "terms": samples**2})


def _expanded(node: Node) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the samples and the prediction's shape of a loss of torch's whose inputs were both expanded."""
    if node.name() not in REGRESSION:
        return
    given = [saved(node, "self"), saved(node, "target")]
    if any(each is None or each.dim() != 2 for each in given):
        return
    rows, columns = given[0].shape  # type: ignore[union-attr]
    repeated = [tuple(stride == 0 for stride in each.stride()) for each in given if each is not None]
    if rows == columns > 1 and sorted(repeated) == [(False, True), (True, False)]:
        yield rows, (rows, 1) if repeated[0] == (False, True) else (rows,)


def _written_out(node: Node) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the same of a mean or sum over a power of a difference with a constant."""
    power = node.next_functions[0][0] if node.name() in _AVERAGES else None
    if power is None or power.name() not in _POWERS:
        return
    difference = power.next_functions[0][0]
    if any(following is not difference for following, _ in power.next_functions):
        return
    if difference is None or difference.name() not in ("SubBackward0", "RsubBackward1"):
        return
    sides = [following for following, _ in difference.next_functions]
    there = [each for each in sides if each is not None]
    shape = shape_of(difference)
    if len(there) != 1 or len(shape) != 2 or shape[0] != shape[1] or shape[0] < 2:
        return
    place = difference.next_functions[sides.index(there[0])][1]
    made, given = there[0], shape_of(there[0], place)
    if name_of(made) == "ExpandBackward0":
        given = shape_of(made.next_functions[0][0])
        made = made.next_functions[0][0] or made
    meant = is_leaf(made) or (len(given) > 1 and made.name() in _RESHAPES)
    if given in ((shape[0], 1), (shape[0],)) and not meant:
        yield shape[0], given
