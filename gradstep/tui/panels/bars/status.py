"""The two rows at the top: the status line, and the phase row with the key of each phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.panels.bars.position import phase_words
from gradstep.tui.render.lines import Line, Row, Span, cell_len, clean, fit
from gradstep.tui.render.surface import Surface
from gradstep.values import numbers
from gradstep.values.commands import PHASES, Backward, Forward
from gradstep.values.outcomes import Stop

_INSIDE = {"forward": Forward.torch, "backward": Backward.torch}
"""The line of PyTorch that runs at a stop inside a phase."""


_COLUMNS = (46, 62, 88)
"""Fixed columns of iteration, loss and optimizer, used if all of them fit."""


class Activity(NamedTuple):
    """What the screen is doing, in addition to the state of the stop."""

    running: str = ""
    """The line of the running command; empty for none, or while it has only just begun."""
    seconds: float = 0.0
    queued: int = 0
    """Number of queued commands."""
    loading: bool = False
    dead: str = ""
    """How the engine died; empty while it runs."""
    name: str = ""
    """The name of what is being loaded, until a stop has it."""
    script: bool = False
    """True while a script is open, whose next line space runs."""
    place: str = ""
    """The progress of what runs, e.g. `turn 3 of 12`."""
    awaits_input: bool = False
    """True while a script waits for something to be typed."""


def status(stop: Stop, activity: Activity, width: int, branched: bool = False) -> Line:
    """Draw the status line: workload, device, iteration, loss, optimizer, and at the right the stop and its branch.

    `branched`: there are several branches, so the name of the current one is shown.
    """
    right = _right(stop, activity, branched)
    narrow = width < 100
    room = width - len(right) - 3
    row = Row(width).left(1, "gradstep", "bright")
    workload = clean(stop.workload or activity.name)
    row.add(" " if narrow else "  ").add(workload, "bright")
    if stop.workload:
        _facts(row, stop, narrow, room)
    moves = (
        activity.queued > 1 or activity.running or activity.place or activity.awaits_input or stop.hit or stop.findings
    )
    return row.right(width - 1, right, "text" if moves else "dim").line()


def _facts(row: Row, stop: Stop, narrow: bool, room: int) -> None:
    """Write the facts of the stop: at fixed columns, else close together, else as many as fit."""
    gap = " " if narrow else "  "
    origin = [clean(stop.device), clean(stop.dtype), f"seed {stop.seed}" if stop.seed is not None else ""]
    built, iteration = Span("  ".join(filter(None, origin)), "dim"), Span(f"iteration {stop.iteration}")
    loss = Span("no loss yet", "dim") if stop.loss is None else Span(f"loss {numbers.loss(stop.loss)}", "bright")
    change = "" if stop.loss_change is None else f"{gap}({numbers.loss(stop.loss_change, sign=True)})"
    changed = Span(loss.text + change, loss.tone)
    rates = ", ".join(numbers.short(rate) for rate in stop.lr[:2]) + (", …" if len(stop.lr) > 2 else "")
    lr = Span(f"lr {rates}" if stop.optimizer else "")
    optimizer = Span(f"{clean(stop.optimizer)}{gap}{lr.text}" if stop.optimizer else "")
    facts = (iteration, changed, optimizer)
    ends = [at + cell_len(span.text) for at, span in zip(_COLUMNS, facts, strict=True)]
    apart = all(end + 2 <= at for end, at in zip((row.at + 2 + cell_len(built.text), *ends), _COLUMNS, strict=False))
    if not narrow and apart and ends[-1] <= room:
        _write(row, (built,), 2)
        for at, span in zip(_COLUMNS, facts, strict=True):
            row.left(at, span.text, span.tone)
        return
    whole = (*facts, built) if narrow else (built, *facts)
    less = (facts, (iteration, loss, optimizer), (iteration, loss, lr), (iteration, loss), (loss,))
    for spans in (whole, *less):
        for gap_cells in (2,) if narrow else (3, 2):
            if row.at + sum(gap_cells + cell_len(span.text) for span in spans if span.text) <= room:
                _write(row, spans, gap_cells)
                return


def _write(row: Row, spans: Sequence[Span], gap: int) -> None:
    for span in spans:
        if span.text:
            row.left(row.at + gap, span.text, span.tone)


def _right(stop: Stop, activity: Activity, branched: bool) -> str:
    parts = []
    if activity.queued > 1:
        parts.append(f"{activity.queued} queued")
    if activity.dead:
        parts.append("process gone" if stop.script else "engine dead")
    elif activity.awaits_input:
        parts.append("waits for input")
    elif activity.loading:
        parts.append(f"loading {activity.seconds:.1f} s")
    elif activity.place:
        parts.append(activity.place)
    elif activity.running:
        parts.append(f"{clean(activity.running)[:24]} {activity.seconds:.1f} s")
    elif stop.ended:
        parts.append(clean(stop.ended))
    elif stop.number:
        parts += [f"! {numbers.count(stop.findings, 'finding')}"] if stop.findings else []
        parts += [f"+{stop.ahead} ahead"] if stop.ahead else []
        parts += [clean(stop.branch)] if branched else []
        # inside a phase the stack row shows the reason
        parts += [clean(stop.hit)] if stop.hit and stop.position is None else []
        parts.append(f"stop {stop.number}")
    return "  ".join(parts)


def phases(stop: Stop, activity: Activity, width: int, keyboard: Keyboard | None = None) -> Line:
    """Draw the phase row: the current phase highlighted, done ones ticked, the natural next one bright."""
    row = Row(width)
    keyboard = keyboard or Keyboard()
    narrow = width < 100
    natural = stop.natural[-1].split(" ")[0] if stop.natural else "" if stop.number else "forward"
    running = activity.running.split(" ")[0]
    row.add(" " if narrow else "  ")
    for name in PHASES:
        if name != PHASES[0]:
            row.add(" ─ ", "line")
        _phase(row, name, keyboard.key(name).shown, stop, natural, running)
    inside = stop.position
    line = clean(stop.torch if inside is None or stop.script else inside.call or _INSIDE[inside.phase])
    following = next_words(stop, activity.script)
    hint = f"{keyboard.key('natural').shown}  {following}" if following else ""
    left = row.at + (1 if narrow else 2)
    place = max(left, 62) if not narrow else left
    room = width - 2 - place
    beside = room - len(hint) - 3
    if hint and not narrow:
        row.left(place, _shortened(line, beside), "bright")
        key, _, what = hint.partition(" ")
        return row.to(width - 1 - len(hint)).add(key, "key").add(" " + what, "dim").line()
    return row.left(place, _shortened(line, room + 1), "bright").line()


def _shortened(line: str, room: int) -> str:
    """Return a line of PyTorch cut to the statements that fit."""
    kept = line
    while len(kept) > room - 3 * (kept != line) and "; " in kept:
        kept = kept.rpartition("; ")[0]
    return fit(kept if kept == line else f"{kept}; …", max(0, room))


def _phase(row: Row, name: str, key: str, stop: Stop, natural: str, running: str) -> None:
    inside = stop.position if stop.position is not None and name == stop.position.phase else None
    if inside is not None:
        row.add(f" {key} {name} ▶ {phase_words(inside)}".rstrip() + " ", "block")
    elif name == running:
        row.add(f" {key} {name} ▶ ", "block")
    elif name == stop.phase and not running and stop.position is None:
        row.add(f" {key} {name} ● ", "block")
    elif name in stop.done:
        row.add(f" {key}", "key").add(f" {name} ✓ ", "good")
    else:
        row.add(f" {key}", "key").add(f" {name} ", "bright" if name == natural else "dim")


def next_words(stop: Stop, script: bool) -> str:
    """Return what space does: the next line of a script, or the natural next phase; empty for neither."""
    if script:
        return "next line"
    # of a script it is not known before it runs: the row has its line in place
    return "" if stop.script else clean("; ".join(stop.natural))


class StatusRow(Surface):
    """The status line."""

    ground = "title"

    def __init__(self) -> None:
        super().__init__("status")
        self.stop, self.activity = Stop(), Activity()
        self.branched = False
        """True once there are several branches."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the row."""
        return [status(self.stop, self.activity, width, self.branched)]


class PhasesRow(Surface):
    """The phase row."""

    def __init__(self) -> None:
        super().__init__("phases")
        self.stop, self.activity = Stop(), Activity()

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the row."""
        return [phases(self.stop, self.activity, width, self.keyboard)]
