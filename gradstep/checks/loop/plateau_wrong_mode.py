"""`plateau-wrong-mode`: `ReduceLROnPlateau` minimises a metric that should rise, or the reverse."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterable

from torch.optim.lr_scheduler import ReduceLROnPlateau

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.values.findings import Rule

_RISES = re.compile(
    r"(^|_)(acc|accuracy|accuracies|f1|auc|auroc|iou|miou|dice|psnr|ssim|bleu|recall|precision|map)(_|$)"
)
_FALLS = re.compile(r"(^|_)(loss|losses|perplexity|ppl|rmse|mse|mae|wer|cer|error)(_|$)")


class PlateauWrongMode(Check):
    """Compares the mode of the scheduler with the name of the metric."""

    rule = Rule(
        id="plateau-wrong-mode",
        severity="warning",
        title="ReduceLROnPlateau has the wrong mode",
        why="In mode='min', the default, a metric that rises counts as a plateau: lr is reduced while the model "
        "improves, and kept while it gets worse.",
        detects="In mode='min', scheduler.step() is passed a variable named after an accuracy or another score; in "
        "mode='max', one named after a loss or an error.",
        remedy="Set the mode: ReduceLROnPlateau(optimizer, mode='max') for an accuracy, mode='min' for a loss.",
        source="torch.optim.lr_scheduler.ReduceLROnPlateau documentation (mode); ViS4mer#4",
    )

    @at("scheduler")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at a call of the scheduler."""
        scheduler = moment.of.scheduler
        if not isinstance(scheduler, ReduceLROnPlateau):
            return
        line = moment.find_line()
        given = _given(linecache.getline(line.file, line.line))
        wrong = _RISES if scheduler.mode == "min" else _FALLS
        if given and wrong.search(given.lower()):
            what = f"ReduceLROnPlateau has mode='{scheduler.mode}', and step() is passed {given}."
            yield Seen(what, moment.at(panel="optimizer"), {"mode": scheduler.mode, "metric": given})


def _given(line: str) -> str:
    """Return the name of the variable or attribute that a call `....step(name)` passes; empty for anything else."""
    try:
        call = ast.parse(line.strip()).body[0]
    except (SyntaxError, IndexError):
        return ""
    made = call.value if isinstance(call, ast.Expr) else None
    if not isinstance(made, ast.Call) or not isinstance(made.func, ast.Attribute) or made.func.attr != "step":
        return ""
    given = made.args[0] if made.args else next((each.value for each in made.keywords if each.arg == "metrics"), None)
    if isinstance(given, ast.Subscript) and isinstance(given.slice, ast.Constant):
        return str(given.slice.value)
    if isinstance(given, ast.Attribute):
        return given.attr
    return given.id if isinstance(given, ast.Name) else ""
