"""What a stop of a script says of where it stands."""

from __future__ import annotations

from types import FrameType

from msgspec.structs import replace

from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.problems import printable
from gradstep.engine.script.found import NoOptimizer
from gradstep.engine.script.frames import phase_line
from gradstep.engine.script.loop import ScriptLoop
from gradstep.session.inspector import Inspector
from gradstep.session.script_watch import ScriptWatch
from gradstep.values.expressions import name_line
from gradstep.values.outcomes import Stop
from gradstep.values.selection import read_selection


def stop_of(loop: ScriptLoop, watch: ScriptWatch, held: Held, frame: FrameType | None, stop: Stop) -> Stop:
    """Return the stop at which a script stands.

    Args:
        loop: its loop.
        watch: its breakpoints and checks.
        held: what it trains.
        frame: the frame that it stands in; None once it has ended.
        stop: its number, its name, how it has ended, and what it opens on.
    """
    point = held.point
    loss, change = point.last_loss
    first = held.parameters[0][1] if held.parameters else None
    position = None if watch.inspector is None else watch.inspector.stepper.position
    began = position is not None or bool(loop.stops.before)
    return replace(
        stop,
        device=str(held.device),
        dtype="" if first is None else dtype_name(first),
        phase=point.phase,
        torch=printable(phase_line(frame)) if began else point.torch,
        done=point.done,
        natural=() if stop.ended else ("over",),
        iteration=loop.iteration,
        loss=loss,
        loss_change=change,
        optimizer="" if isinstance(held.optimizer, NoOptimizer) else type(held.optimizer).__name__,
        lr=held.rates(),
        findings=len(watch.checker.findings),
        parameters=sum(p.numel() for _, p in held.parameters),
        position=position,
        hit=loop.stops.reason,
    )


def open_on(held: Held, opening: str, inspector: Inspector) -> str:
    """Have the inspector show, while nothing is selected, a weight of the model that was trained last; return its name.

    Args:
        held: what the script trains.
        opening: what was shown before.
        inspector: shows it.
    """
    matrices = {name for name, weight in held.parameters if weight.dim() > 1}
    written = [name for name in held.point.written if name in matrices]
    if held.models and written:
        opening = name_line(written[-1])
    elif not held.models or not opening:
        opening = held.opening()
    inspector.opening = read_selection(opening) if opening else None
    return opening
