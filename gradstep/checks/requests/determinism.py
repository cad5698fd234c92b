"""`check determinism`: does the same forward and backward give the same bits twice?"""

from __future__ import annotations

from torch import Tensor

from gradstep.checks.check import Seen, listed
from gradstep.checks.requests.request import Answer, Request, Trial
from gradstep.engine.bits import same_bits
from gradstep.values.findings import Rule, Where


class Determinism(Request):
    """Runs forward and backward of a copy twice from the same state of the random generators."""

    rule = Rule(
        id="nondeterministic-forward",
        severity="hint",
        title="the same forward gives different numbers",
        why="Runs can't be repeated exactly, so they can't be compared, and a fault can't be reproduced.",
        detects="Forward and backward of a copy are run twice from the same generators; loss and gradients are "
        "compared bit for bit.",
        remedy="Draw random numbers from torch's generators only, and use torch.use_deterministic_algorithms(True).",
        source="torch documentation, 'Reproducibility'",
    )

    def run(self, trial: Trial) -> Answer:
        """Run it twice."""
        keeper = trial.held.keeper
        start, results = keeper.capture(), list[tuple[Tensor, dict[str, Tensor]]]()
        buffers = {name: buffer.clone() for name, buffer in trial.model.named_buffers()}
        for _ in range(2):
            keeper.restore(start)
            for name, buffer in trial.model.named_buffers():
                buffer.copy_(buffers[name])
            trial.optimizer.zero_grad()
            loss = trial.loss()
            loss.backward()  # type: ignore[no-untyped-call]
            grads = {name: p.grad.clone() for name, p in trial.parameters() if p.grad is not None}
            results.append((loss.detach().clone(), grads))
        (one, first), (other, second) = results
        differing = [name for name in first if not same_bits(first[name], second[name])]
        if same_bits(one, other) and not differing:
            return Answer("The same forward and backward give the same bits twice.")
        where = "the loss" if not same_bits(one, other) else f"the gradients of {listed(differing)}"
        what = f"Run twice from the same generators, {where} differed: {float(one):.9g} and {float(other):.9g}."
        return Answer(what, Seen(what, Where(parameter=next(iter(differing), "")), {"differing": len(differing)}))
