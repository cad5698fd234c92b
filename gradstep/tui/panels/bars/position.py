"""The position of a stop inside a phase, as text and as a row: phase, module stack, op or node."""

from __future__ import annotations

from gradstep.tui.render.lines import Line, Row, cell_len, clean, fit, fit_middle
from gradstep.tui.render.surface import Surface
from gradstep.values.outcomes import Stop
from gradstep.values.views.inside import Position

_LEAF = "AccumulateGrad"
_PART = " ▸ "


def phase_words(position: Position) -> str:
    """Return the progress of a backward: `#7 of 12`; empty in a forward, whose length is unknown."""
    return f"#{position.number} of {position.total}" if position.number >= 0 else ""


def own_name(name: str) -> str:
    """Return the name of a node without its C++ namespace."""
    return clean(name.rsplit("::", 1)[-1])


def place_words(position: Position, total: bool = False) -> str:
    """Return the position as text: `before #7 ReluBackward0`, `enter 0 Linear`, `after relu`.

    With `total`, of a node also the number of nodes: `before #7 of 12 ReluBackward0`.
    """
    if position.kind == "node":
        number = phase_words(position) if total else f"#{position.number}"
        name = f"{clean(position.parameter)}.grad" if position.parameter else own_name(position.name)
        return f"{position.edge} {number} {name}"
    if position.kind == "op":
        side = "before" if position.edge == "enter" else "after"
        return f"{side} {clean(position.name).removeprefix('torch.')}"
    return f"{position.edge} {clean(position.path)} {clean(position.name)}".replace("  ", " ")


def reason_words(position: Position) -> str:
    """Return the reason for the stop; empty for an ordinary step."""
    return "" if position.reason == "step" else clean(position.reason)


def modules_of(position: Position) -> list[str]:
    """Return the running modules, outermost first, without the one stopped at."""
    stack = [clean(module) for module in position.stack]
    at = f"{clean(position.path)} {clean(position.name)}".strip()
    return stack[:-1] if position.kind == "module" and stack and stack[-1] == at else stack


def stack_row(position: Position, width: int, alone: bool = False) -> Line:
    """Draw the stack: phase, modules, position; at the right the reason. Outer modules are left out first.

    `alone`: there is no phase row above it, which would show the progress.
    """
    row = Row(width).add("▶ ", "now").add(position.phase, "bright")
    if position.call:
        row.add(_PART, "line").add(clean(position.call).removeprefix("torch."), "bright")
    why = fit(reason_words(position), max(12, width // 2))
    room = width - row.at - 1 - (cell_len(why) + 3 if why else 0)
    place = _PART + place_words(position, alone)
    modules = modules_of(position)
    cut = False
    while modules and sum(cell_len(_PART + m) for m in modules) + 4 * cut + cell_len(place) > room:
        modules, cut = modules[1:], True
    for module in ["…"] * cut + modules:
        row.add(_PART, "line").add(module, "text")
    row.add(_PART, "line").add(fit_middle(place.removeprefix(_PART), max(8, width - row.at - 1)), "now")
    left = width - 1 - row.at - 2
    return (row.right(width - 1, fit(why, left), "bright") if why and left >= 8 else row).line()


class PositionRow(Surface):
    """The row of the stack at a stop inside a phase."""

    def __init__(self) -> None:
        super().__init__("position")
        self.stop = Stop()
        self.alone = False
        """True when there is no room for the phase row above it."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the row."""
        position = self.stop.position
        return [] if position is None else [stack_row(position, width, self.alone)]


def flowing_side(position: Position) -> str:
    """Return the gradient that can be edited at a node as an expression: its input before, its output after it."""
    return "node.in" if position.edge == "before" else "node.out"
