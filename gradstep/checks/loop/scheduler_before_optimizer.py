"""`scheduler-before-optimizer`: the learning rate is changed before the first step has used it."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule


class SchedulerBeforeOptimizer(Check):
    """Finds a `scheduler.step()` in front of the first `optimizer.step()`."""

    rule = Rule(
        id="scheduler-before-optimizer",
        severity="warning",
        title="the scheduler steps before the optimizer",
        why="The first learning rate of the schedule is skipped, and every later one applies one step too early.",
        detects="Before an optimizer's first step, its scheduler was stepped once and no backward had run; or it was "
        "stepped while gradients were waiting for that step. A step that a GradScaler skips counts as one; several "
        "calls before the loop, as when a run is resumed, are not flagged.",
        remedy="Step the scheduler after the optimizer: optimizer.step(); scheduler.step().",
        source="torch.optim documentation, 'How to adjust learning rate'; warning of LRScheduler.step",
    )

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at an optimizer's first step."""
        order, optimizer = moment.order, moment.optimizer
        if not order.whole or order.steps.get(id(optimizer)):
            return
        calls = order.scheduled.pop(id(optimizer), [])
        early = any(each.waiting for each in calls) or (len(calls) == 1 and not calls[0].backwards)
        if early:
            call = calls[0]
            rates = ", ".join(f"{group['lr']:g}" for group in optimizer.param_groups[:3])
            first = ", ".join(f"{group.get('initial_lr', 0):g}" for group in optimizer.param_groups[:3])
            what = f"{call.name}.step() was called before the first optimizer.step(), which runs with lr {rates}: "
            what += f"the schedule began at {first}."
            yield Seen(what, moment.at(panel="optimizer"), {"calls": len(calls), "lr": rates})
