"""`target-dtype`: targets of a dtype that the loss takes, and that is not meant."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import REGRESSION, GraphCheck, saved
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule


class TargetDtype(GraphCheck):
    """Compares the dtypes of prediction and target of losses that promote them."""

    rule = Rule(
        id="target-dtype",
        severity="hint",
        title="the target's dtype is not the prediction's",
        why="The loss promotes dtypes silently: integers may be class indices, which are not quantities, or "
        "quantities that were rounded; float64 makes the loss a double, slow on a GPU.",
        detects="The target of mse_loss, smooth_l1_loss or huber_loss is of an integer dtype, or float64 where the "
        "prediction is not.",
        remedy="Convert it where it is loaded: target = target.to(prediction.dtype). For classes: "
        "F.cross_entropy(logits, target).",
        source="torch.result_type documentation (type promotion)",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at each loss that has saved prediction and target."""
        for number, node in graph.named(*REGRESSION):
            given, target = saved(node, "self"), saved(node, "target")
            if given is None or target is None or given.dtype == target.dtype:
                continue
            double = target.dtype == torch.float64
            if double or not (target.is_floating_point() or target.is_complex()):
                kinds = [str(each.dtype).removeprefix("torch.") for each in (given, target)]
                what = f"The prediction is {kinds[0]}, the target {kinds[1]}."
                evidence = {"prediction": kinds[0], "target": kinds[1]}
                yield Seen(what, moment.at(node=number, panel="batch"), evidence)
