"""`detached-loss`: the loss has no graph, so backward reaches no parameter."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule


class DetachedLoss(Check):
    """Looks at what backward is called on."""

    rule = Rule(
        id="detached-loss",
        severity="error",
        title="the loss has no graph",
        why="backward follows the graph from the loss to the parameters. A loss without a grad_fn leads nowhere: torch "
        "raises, or, where requires_grad was set on the loss itself, computes nothing.",
        detects="backward is called on a tensor without grad_fn that is not a parameter.",
        remedy="Keep tensors on the way to the loss: no .item(), .data, .detach(), .numpy() or argmax, no new "
        "torch.tensor(loss). requires_grad belongs to the parameters, not to the loss.",
        source="torch.Tensor.backward documentation; ReLeaSE#39, torchMoji#21, discuss.pytorch.org/t/84911",
    )

    @at("backward")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the outputs of a backward."""
        for loss in moment.of.outputs:
            if not isinstance(loss, Tensor) or loss.grad_fn is not None or loss in moment.held.names:
                continue
            trained = [p for _, p in moment.parameters()]
            if isinstance(loss, nn.Parameter) or not trained:
                continue
            frozen = not any(p.requires_grad for p in trained)
            value = f" {float(loss):.4g}" if loss.numel() == 1 and not loss.is_meta else ""
            remedy = ""
            if loss.requires_grad:
                what = f"The loss{value} is a leaf that requires grad: its own .grad is all that backward computes."
            elif not moment.grad_mode:
                what = f"The loss{value} has no grad_fn: grad mode is off in this line."
                remedy = "Move it out of torch.no_grad(), or call torch.set_grad_enabled(True) after the evaluation."
            elif frozen:
                what = f"The loss{value} has no grad_fn: all {len(trained)} parameters have requires_grad=False."
                remedy = "Unfreeze what is to be trained: for p in model.head.parameters(): p.requires_grad_(True)."
            else:
                what = f"The loss{value} has no grad_fn: on the way to it, the graph was left."
            yield Seen(what, moment.at(panel="graph"), {"frozen": int(frozen)}, remedy)
