"""The Loss view as a sheet: the loss curve as SVG, with NaN and inf marked."""

from __future__ import annotations

import math

from gradstep.sheets.curve import curve, share
from gradstep.sheets.sheet import Block, Picture, Sheet, Words
from gradstep.values import numbers
from gradstep.values.views import LossPoint, LossView

_BLOCKS = "▁▂▃▄▅▆▇█"
_CELLS = 72
"""Maximum columns of the curve in plain text."""
_WIDE_RANGE = 20.0
"""A history whose largest value is more than this many times its smallest is drawn on a log scale."""


def loss_sheet(view: LossView) -> Sheet:
    """Return the last loss and the loss curve."""
    if not view.points:
        note = view.note or "No loss yet: forward runs prediction = model(x), then the loss."
        return Sheet("Loss", "", (Words(note, "dim"),))
    finite = [point.loss for point in view.points if math.isfinite(point.loss)]
    log = bool(finite) and min(finite) > 0 and max(finite) / min(finite) > _WIDE_RANGE
    about = (
        (f"{view.name}, " if view.name else "")
        + ("log scale, " if log else "")
        + f"by {view.by}"
        + (f", smoothed {view.smoothing:g}" if view.smoothing else "")
    )
    last = view.points[-1]
    blocks: list[Block] = [Words(_label(last, view.by), "bright"), Picture(curve(view, log), (_spark(view, log),))]
    for word, first in (("NaN", view.first_nan), ("inf", view.first_inf)):
        if first is not None:
            blocks.append(Words(f"the first {word} is at {_place(first, view.by)}", "bad"))
    blocks += [Words(view.note, "dim")] if view.note else []
    return Sheet("Loss", about, tuple(blocks))


def _place(point: LossPoint, by: str) -> str:
    return f"forward {point.forward}" if by == "forward" else f"iteration {point.iteration}"


def _label(point: LossPoint, by: str) -> str:
    rate = "" if point.rate is None else f", lr {numbers.short(point.rate)}"
    return f"{numbers.loss(point.loss)} at {_place(point, by)}{rate}"


def _spark(view: LossView, log: bool) -> str:
    """Draw the history in at most `_CELLS` characters; NaN and inf are never omitted."""
    finite = [point.loss for point in view.points if math.isfinite(point.loss)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    size = max(1, math.ceil(len(view.points) / _CELLS))
    line = ""
    for start in range(0, len(view.points), size):
        group = [point.loss for point in view.points[start : start + size]]
        odd = next((value for value in group if not math.isfinite(value)), None)
        if odd is not None:
            line += "N" if math.isnan(odd) else "∞"
        else:
            line += _BLOCKS[min(7, int(share(group[-1], low, high, log) * 8))]
    return line
