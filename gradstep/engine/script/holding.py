"""A script's model, optimizer, batch and loss, copied into a workload that gradstep runs itself."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.bits import same_bits
from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.held import Held
from gradstep.engine.script.found import NoOptimizer
from gradstep.engine.script.tape import Tape
from gradstep.values.errors import wrong
from gradstep.workload import Workload


def held_workload(held: Held, tape: Tape | None, began: Randomness | None, name: str) -> tuple[Workload, str]:
    """Return a workload made of copies, and what there is to say of it.

    Args:
        held: what the script trains.
        tape: its last forward; None where none was recorded.
        began: the generators before that forward.
        name: what the workload is called.

    Raises:
        GradstepError: no forward was recorded, or a part of it can't be copied or made again.
    """
    if tape is None or not tape.calls:
        raise wrong("there is no forward to hold", "the script ran on to here", "run `forward` first: it is recorded")
    if tape.loss is None:
        raise wrong(
            "the loss can't be computed again",
            "no call that was seen returned it: custom C++ code or numpy may have",
            "hold a forward whose loss is computed by torch",
        )
    if isinstance(held.optimizer, NoOptimizer):
        raise wrong("there is no optimizer to hold", "the script has shown none", "step to its first optimizer step")
    memo: dict[int, Any] = {}
    try:
        model: nn.Module = copy.deepcopy(held.model, memo)
        optimizer = copy.deepcopy(held.optimizer, memo)
        played = tape.copied(memo)
    except Exception as error:
        what = f"copying it raised {type(error).__name__}: {error}"
        raise wrong("this can't be copied into a workload", what, "hold a simpler part, or write a Workload") from error

    def compute_loss(_: nn.Module, batch: Sequence[Tensor]) -> Tensor:
        return played.play(batch)

    notes = _notes(held, tape, played, began)
    workload = Workload(model, compute_loss=compute_loss, optimizer=optimizer, batches=[played.given], name=name)
    return workload, notes


def _notes(held: Held, tape: Tape, played: Tape, began: Randomness | None) -> str:
    modules = sum(isinstance(call.function, nn.Module) for call in tape.calls)
    lines = [f"Held a copy: {modules} module calls and {len(tape.calls) - modules} operations lead to the loss."]
    if tape.lost:
        lines.append(f"Kept as it was, without its graph: {', '.join(tape.lost)}.")
    if not held.point.steps_since_forward and held.point.loss is not None and began is not None:
        lines.append(_checked(held, played, began))
    lines.append("Schedulers and the data loader stay with the script: `release` goes back to it.")
    return "\n".join(lines)


def _checked(held: Held, played: Tape, began: Randomness) -> str:
    """Run the forward once on a further copy, and compare its loss with the script's."""
    loss, now = held.point.loss, held.keeper.capture()
    assert loss is not None
    try:
        other = played.copied({})
        held.keeper.restore(began)
        with torch.enable_grad():
            again = other.play(other.given)
    except Exception as error:
        return f"It can't be run again as it was: {type(error).__name__}: {error}"
    finally:
        held.keeper.restore(now)
    if same_bits(again.detach(), loss.detach()):
        return "Its forward gives the script's loss again, bit for bit."
    return (
        f"Its forward gives another loss, {again.item():.6g} for {loss.item():.6g}: it depends on what was not copied."
    )
