"""`check batch-leak`: does the output of one sample depend on the input of another?"""

from __future__ import annotations

import torch
from torch import Tensor

from gradstep.checks.check import Seen
from gradstep.checks.requests.request import Answer, Request, Trial, floats
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.errors import wrong
from gradstep.values.findings import Rule, Where


class BatchLeak(Request):
    """Differentiates the output of one sample with respect to the whole input."""

    rule = Rule(
        id="batch-leak",
        severity="error",
        title="samples of a batch are mixed",
        why="The prediction of a sample depends on the others in its batch: a view instead of a permute, or a "
        "softmax, norm or mean over the wrong dimension.",
        detects="In eval mode, the gradient of one sample's output with respect to the other samples' inputs is not "
        "zero. Batch normalisation mixes samples in train mode on purpose; here it is in eval mode.",
        remedy="Keep the batch dimension: x.permute(0, 2, 1) instead of x.view(x.size(0), ...), dim=-1 in softmax.",
        source="lightning-bolts BatchGradientVerification; Informer2020#59",
    )

    def run(self, trial: Trial) -> Answer:
        """Differentiate the output of the middle sample."""
        first = floats(trial.batch)[:1]
        if not first or first[0].dim() < 1 or first[0].shape[0] < 2:
            raise wrong("there is no batch to compare samples of", "it needs two samples of floating point input", "")
        given = first[0].detach().clone().requires_grad_()
        trial.model.eval()
        with torch.enable_grad():
            output = next((t for _, t in tensors_in(trial.model(given), "out") if t.is_floating_point()), None)
        count = given.shape[0]
        if not isinstance(output, Tensor) or output.grad_fn is None or output.dim() < 1 or output.shape[0] != count:
            raise wrong(
                "the samples of this model can't be told apart",
                "its output has no batch dimension in front",
                "model(batch[0]) has to return one row a sample",
            )
        sample = count // 2
        (grad,) = torch.autograd.grad(output[sample].sum(), given)
        others = [i for i in range(count) if i != sample and bool(grad[i].ne(0).any())]
        if not others:
            return Answer(f"No leak: the output of sample {sample} depends on its own input only ({count} samples).")
        what = f"The output of sample {sample} depends on the inputs of {len(others)} other samples of {count}."
        return Answer(what, Seen(what, Where(panel="batch"), {"sample": sample, "others": len(others)}))
