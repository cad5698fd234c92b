"""The views of a stop inside a phase: the tensors passed there, the source lines, the breakpoints."""

from __future__ import annotations

import linecache
from collections.abc import Iterator

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.held import Held
from gradstep.engine.numbers.nonfinite import is_opaque, unwrapped
from gradstep.engine.numbers.norms import has_norm, norm_of
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.observe.source_lines import source_of
from gradstep.engine.reads import read
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.views.inside import (
    BreakpointsView,
    InsideView,
    LookSource,
    Passed,
    SourceLine,
    SourceView,
)
from gradstep.views.graph.naming import Naming
from gradstep.views.tensor.statistics import of_tensor

_MOST = 24
"""Maximum number of tensors that are described at one stop; a model may be passed hundreds."""


def inside_view(held: Held, stop: int, stepping: Stepping, stop_place: StopPlace) -> InsideView:
    """Return the tensors that are passed at the stop inside a phase."""
    return InsideView(
        stop,
        stepping.position,
        tuple(_passed(stop_place, "in", stop_place.inputs)),
        () if stop_place.outputs is None else tuple(_passed(stop_place, "out", stop_place.outputs)),
        tuple(_taking_part(held, stop_place)),
        stop_place.grad_mode,
        stop_place.autocast,
        note=_note(stop_place, stepping),
        edits=stop_place.edits,
    )


def _note(stop_place: StopPlace, stepping: Stepping) -> str:
    if stop_place.kind != "module" and stop_place.outputs is None:
        return "it has not run yet: its outputs appear once it has"
    if stop_place.compiled:
        return (
            "a compiled region runs as one operation: `torch.compiler.set_stance('force_eager')` runs it step by step"
        )
    if stop_place.phase == "forward" and not stepping.ops:
        return "it stops at modules only: ops are not observed in a run to a pause"
    return ""


def _passed(stop_place: StopPlace, side: str, values: tuple[object, ...]) -> Iterator[Passed]:
    """Describe inputs or outputs, tensor by tensor, with their names in expressions."""
    name = f"{stop_place.kind}.{side}"
    one = len(values) == 1
    count = 0
    for i, value in enumerate(values):
        own = name if one else f"{name}[{i}]"
        found = list(tensors_in(value, own))
        if not found:
            text = "none" if value is None else f"{type(value).__name__} {value!r}"[:60]
            yield Passed(own, text=text)
        for path, tensor in found:
            count += 1
            if count > _MOST:
                return
            yield _tensor(path, tensor, stop_place, side)
    if side == "in":
        for key, value in stop_place.keywords.items():
            for path, tensor in tensors_in(value, f"{key}="):
                yield _tensor(path, tensor, stop_place, side)


def _tensor(name: str, tensor: Tensor, stop_place: StopPlace, side: str) -> Passed:
    why = why_not(tensor, stop_place) if stop_place.phase == "forward" and side == "out" else ""
    return replace(passed_of(name, tensor), requires_grad=unwrapped(tensor).requires_grad, why_not=why)


def passed_of(name: str, tensor: Tensor, place: str = "") -> Passed:
    """Describe a tensor: its shape, its norm, its extremes."""
    numeric = has_norm(tensor) and not is_opaque(tensor)
    plain = numeric and not tensor.is_complex() and tensor.layout is torch.strided
    known = read(of_tensor(tensor, norm=False)) if plain else None
    return Passed(
        name,
        sizes_of(tensor),
        dtype_name(tensor),
        norm_of(tensor) if numeric else None,
        None if known is None else known.minimum,
        None if known is None else known.maximum,
        None if known is None else known.mean,
        None if known is None else known.std,
        None if known is None else known.zeros,
        0 if known is None else known.nans,
        0 if known is None else known.infs,
        place=place,
    )


def why_not(tensor: Tensor, stop_place: StopPlace) -> str:
    """Return why an output of a forward does not require grad; empty where it does."""
    if unwrapped(tensor).requires_grad:
        return ""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return "integers have no gradient"
    if not stop_place.grad_mode:
        return "grad mode is off: no_grad or inference_mode"
    given = [t for _, t in (*tensors_in(stop_place.inputs, ""), *tensors_in(stop_place.keywords, ""))]
    if any(t.requires_grad for t in given):
        return f"{stop_place.name} cuts the graph: it detaches, or its result has no gradient"
    return "no input requires grad"


def _taking_part(held: Held, stop_place: StopPlace) -> Iterator[str]:
    """Yield the parameters involved: a module's own, an op's inputs, the leaf that a node accumulates into."""
    if stop_place.kind == "module":
        prefix = f"{stop_place.path}." if stop_place.path else ""
        yield from (name for name, _ in held.parameters if name.startswith(prefix) and "." not in name[len(prefix) :])
    elif stop_place.kind == "op":
        given = (*tensors_in(stop_place.inputs, ""), *tensors_in(stop_place.keywords, ""))
        yield from dict.fromkeys(held.names[t] for _, t in given if t in held.names)
    elif stop_place.parameter:
        yield stop_place.parameter


def source_view(
    held: Held,
    stop: int,
    stepping: Stepping | None,
    request: LookSource,
    here: SourceLine = SourceLine(),  # noqa: B008
    outer: bool = False,
) -> SourceView:
    """Return the source lines around the one that is running, or around the one that made a node.

    Args:
        held: the held workload.
        stop: the number of the stop.
        stepping: the phase in progress; None between phases.
        request: what is requested.
        here: the line of the selected frame of a script.
        outer: True when that is not the innermost frame.
    """
    stop_place = None if stepping is None or outer else stepping.stop_place
    wanted = _node_of(held, request)
    if wanted is not None:
        source, what = source_of(held.line_of(wanted)), f"node #{wanted}"
    elif stop_place is not None:
        source, what = stop_place.source, stop_place.name
    elif here.file:
        source, what = here, here.function
    else:
        why = "the script has ended" if held.script else "`into` steps into a phase"
        return SourceView(stop, note=f"no line is running: {why}")
    if not source.file and here.file and not held.point.watched.recorded:  # Graph says so, and with which key it is
        source, wanted = here, None
    if not source.file:
        number = wanted if wanted is not None else stop_place.number if stop_place is not None else -1
        return SourceView(stop, note=f"{what}: {_no_line(held, number)}")
    view = _lines(stop, source, max(1, request.lines), request.first)
    return view if wanted is None else replace(view, made=f"#{wanted}")


def _node_of(held: Held, request: LookSource) -> int | None:
    """Return the node whose line is requested; for a leaf, the first node that uses its parameter."""
    number = request.number
    record = held.graph() if number is not None or request.path else None
    if record is None:
        return number
    if number is None and request.path:
        place = Naming(held, record).find(request.path)
        number = place if place >= 0 else None
    if number not in record.leaves:
        return number
    return next((at for at, targets in enumerate(record.edges) if number in targets), number)


def _no_line(held: Held, number: int) -> str:
    """Return why no line of the user's is known, of a node or, below 0, of what runs in a forward."""
    graph = held.graph() if number >= 0 else None
    if graph is None:
        return "torch and gradstep run it, not a line of your code"
    if number in graph.leaves:
        return "a leaf of the graph, which accumulates into .grad and has no source line"
    if graph.lines is None:
        return "its line was not recorded: the Graph panel, or this one, must be shown during the forward"
    whole = "compute_loss(model, batch)" if held.workload.loss is None else "model(x)"
    call = whole if graph.calls[number] >= 0 or held.workload.loss is None else "loss(prediction, target)"
    return f"created inside torch, in gradstep's call of {call}, not by a line of your code"


def _lines(stop: int, source: SourceLine, count: int, first: int) -> SourceView:
    linecache.checkcache(source.file)
    every = linecache.getlines(source.file)
    if not every:
        return SourceView(
            stop, source.file, source.line, (source.text,), source.line, source.function, total=source.line
        )
    first = max(1, min(first or source.line - count // 2, len(every) - count + 1))
    lines = tuple(line.rstrip("\n").expandtabs(4) for line in every[first - 1 : first - 1 + count])
    return SourceView(stop, source.file, first, lines, source.line, source.function, total=len(every))


def breakpoints_view(stop: int, breakpoints: Breakpoints, reason: str) -> BreakpointsView:
    """Return the breakpoints; `reason` is why the session stopped."""
    number = reason.removeprefix("breakpoint ").split(":")[0] if reason.startswith("breakpoint ") else ""
    return BreakpointsView(stop, tuple(breakpoints), int(number) if number.isdigit() else 0)
