"""The placement of everything on the screen, as functions of its size and layout state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import Layout as TextualLayout
from textual.layout import WidgetPlacement

from gradstep.tui.layout.columns import Column, Slot
from gradstep.tui.layout.layouts import GUESTS, PANELS, hidden_guests, layout_of

if TYPE_CHECKING:
    from textual.widget import Widget

LEAST_WIDTH, LEAST_HEIGHT = 20, 3
"""The minimum width of a column in cells, and the minimum height of a slot in rows, when others grow."""
_BELOW = 7
"""Rows left to the panels below Why by long narration."""


class LayoutState(NamedTuple):
    """Everything but the screen size that placements depend on."""

    recent: Sequence[str] = ("tensor",)
    """The panels by most recent focus, the focused one first."""
    script: bool = False
    banner: bool = False
    maximised: bool = False
    matrix: bool = False
    """True when Tensor shows a matrix."""
    why: int = 3
    """Rows that the text of Why takes."""
    ledger: bool = True
    """False before the first backward: Ledger is empty, and where both are tabs Log is in front."""
    inside: str = ""
    """The phase stopped inside, whose stack has a row; empty between phases."""
    layout: str = "inspect"
    sizes: Mapping[str, int] = {}
    """Sizes that the user set: cells of a column (`|0`), rows of a slot (the name of its first panel) or of Why."""
    past: bool = False
    """True while the past is shown, which has a row above the panels."""
    narration: int = 0
    """Rows of the narration; all of them are visible where there is room, with two more rows of Why below."""
    terminal: bool = False
    """True when the debuggee has a terminal, which Output shows."""
    training_script: bool = False
    """True for a training script: it has a stack, and layouts of its own."""

    @property
    def absent(self) -> frozenset[str]:
        """The panels that there is nothing for: an open `.steps` script, a terminal, a stack."""
        present = {"script": self.script, "output": self.terminal, "stack": self.training_script}
        return frozenset(name for name in present if not present[name])


class Placement(NamedTuple):
    """A rectangle of cells; for a panel also whether it has a title row, and the tabs in it."""

    x: int
    y: int
    width: int
    height: int
    tabs: tuple[str, ...] = ()
    titled: bool = True


class SlotPlacement(NamedTuple):
    """A slot with its rectangle on the screen and its tabs."""

    column: int
    key: str
    names: tuple[str, ...]
    x: int
    y: int
    width: int
    height: int


def size_class(width: int, height: int) -> str:
    """Name the class of a size: `narrow`, `slim`, `roomy` or `wide`."""
    if width >= 100 and height >= 34:
        return "wide" if width >= 170 else "roomy"
    return "slim" if width >= 70 else "narrow"


def plan(width: int, height: int, state: LayoutState) -> dict[str, Placement]:
    """Return the placement of everything visible: `status`, `phases`, `banner`, `prompt`, `footer` and panels."""
    if width <= 0 or height <= 0:
        return {}
    roomy = _is_roomy(width, height)
    placements = {"status": Placement(0, 0, width, 1)}
    if height >= 3:
        placements["phases"] = Placement(0, 1, width, 1)
    if state.banner and height >= 2:
        placements["banner"] = Placement(0, 2 if roomy else 1, width, 1)
        if not roomy:
            placements.pop("phases", None)
    elif (state.inside or state.past) and height >= 3:
        placements["past" if state.past else "position"] = Placement(0, 2 if roomy else 1, width, 1)
        if not roomy:
            # inside a phase nothing but this phase can run: the phase row would add nothing to the stack
            placements.pop("phases", None)
    if height >= 5:
        placements["prompt"] = Placement(0, height - 2, width, 1)
    if height >= 4:
        placements["footer"] = Placement(0, height - 1, width, 1)
    why, slots = slots_of(width, height, state)
    if why is not None:
        placements["why"] = why
    for slot in slots:
        placements |= _placement(_visible_first(slot.names, state), slot)
    return placements


def _is_roomy(width: int, height: int) -> bool:
    return size_class(width, height) in ("roomy", "wide")


def slots_of(width: int, height: int, state: LayoutState) -> tuple[Placement | None, list[SlotPlacement]]:
    """Return the placement of Why and the slots below it, between the bars at the top and at the bottom."""
    roomy = _is_roomy(width, height)
    top = 3 if roomy else 2 if height >= 3 or (state.banner and height >= 2) else 1
    bottom = height - (3 if roomy else 2 if height >= 5 else 1 if height >= 4 else 0)
    if state.maximised:
        names = (state.recent[0] if state.recent else "tensor",)
        return None, [SlotPlacement(0, "", names, 0, top, width, bottom - top)]
    why = None
    if height >= 10:
        titled = roomy or height >= 28
        rows = titled + _why_rows(bottom - top, roomy, titled, state)
        why = Placement(0, top, width, rows, titled=titled)
        top += rows + roomy
    return why, _below(width, top, bottom - top, size_class(width, height), state)


def _why_rows(height: int, roomy: bool, titled: bool, state: LayoutState) -> int:
    asked = state.sizes.get("why")
    narrated = state.narration + 2 if state.narration else 0
    if asked is not None:
        return max(1, min(max(asked - titled, narrated), height // 2))
    most = max(2, height // (2 if state.recent and state.recent[0] == "why" else 3), min(narrated, height - _BELOW))
    return min(max(state.why + roomy, narrated, 4 if roomy else 3 if titled else 2), most)


@lru_cache(maxsize=64)
def columns_of(layout: str, size: str, absent: frozenset[str], matrix: bool, inside: str = "") -> tuple[Column, ...]:
    """Return the columns of a layout, without slots that have absent panels only."""
    chosen = layout_of(layout, inside, "stack" not in absent)
    columns: tuple[Column, ...] = (matrix and size == "wide" and chosen.matrix) or getattr(chosen, size)
    return tuple(c._replace(slots=tuple(s for s in c.slots if not absent.issuperset(s.names))) for c in columns)


@lru_cache(maxsize=64)
def _panels_of(
    slot: Slot, columns: tuple[Column, ...], absent: frozenset[str], hidden: frozenset[str]
) -> tuple[str, ...]:
    """Return the tabs of a slot, with the guests that are not hidden in place of `*`."""
    named = {name for column in columns for other in column.slots for name in other.names}
    guests = tuple(name for name in PANELS if name not in {*named, *hidden, *absent, "why"})
    names = [n for name in slot.names for n in (guests if name == GUESTS else (name,))]
    return tuple(name for name in names if name not in absent)


def _below(width: int, top: int, height: int, size: str, state: LayoutState) -> list[SlotPlacement]:
    """Divide the space below Why into columns, and each column into its slots."""
    columns = columns_of(state.layout, size, state.absent, state.matrix, state.inside)
    hidden = hidden_guests(bool(state.inside), state.recent, state.training_script)
    gap = 1 if size in ("roomy", "wide") else 0
    slots: list[SlotPlacement] = []
    x = 0
    for i, (column, cells) in enumerate(zip(columns, _widths(columns, width, state.sizes), strict=True)):
        weights = [state.sizes.get(slot.key, slot.weight) for slot in column.slots]
        for slot, (y, rows) in zip(column.slots, _heights(weights, height, gap), strict=True):
            names = _panels_of(slot, columns, state.absent, hidden)
            slots.append(SlotPlacement(i, slot.key, names, x, top + y, cells, rows))
        x += cells + 1
    return slots


def _widths(columns: Sequence[Column], width: int, sizes: Mapping[str, int]) -> list[int]:
    """Divide a width into columns, with a free cell between them; the last one takes the rest."""
    free = width - (len(columns) - 1)
    asked = [sizes.get(f"|{i}", 0) for i in range(len(columns))]
    widths: list[int] = []
    for i, column in enumerate(columns[:-1]):
        if all(asked):
            cells = round(free * asked[i] / sum(asked))
        else:
            cells = max(column.least, min(round(width * column.share), column.most))
        left = len(columns) - 1 - i
        widths.append(max(1, min(cells, free - sum(widths) - LEAST_WIDTH * left)))
    return [*widths, free - sum(widths)]


def _heights(weights: Sequence[int], height: int, gap: int) -> list[tuple[int, int]]:
    """Divide a height into the slots of a column by weight, with `gap` free rows between them; (y, rows) of each."""
    free = max(0, height - gap * (len(weights) - 1))
    ends = [round(free * seen / sum(weights)) for seen in accumulate(weights)]
    rows = [end - before for before, end in pairwise([0, *ends])]
    least = min(LEAST_HEIGHT, free // len(rows)) if rows else 0
    while (low := min(rows, default=least)) < least:
        rows[rows.index(low)] += 1
        rows[rows.index(max(rows))] -= 1
    tops = accumulate(rows, lambda y, cells: y + cells + gap, initial=0)
    return list(zip(tops, rows, strict=False))


def _visible_first(names: tuple[str, ...], state: LayoutState) -> tuple[str, ...]:
    """Return the tabs with the visible one first: the most recently focused, else the one in front initially."""
    front = names[0]
    if front == "ledger" and "log" in names and not state.ledger:
        front = "log"
    shown = next((name for name in state.recent if name in names), front)
    return (shown, *(name for name in PANELS if name in names and name != shown))


def _placement(names: tuple[str, ...], slot: SlotPlacement) -> dict[str, Placement]:
    if slot.width <= 0 or slot.height <= 0:
        return {}
    shares = tuple(name for name in PANELS if name in names) if len(names) > 1 else ()
    return {names[0]: Placement(slot.x, slot.y, slot.width, slot.height, shares)}


class PlanLayout(TextualLayout):
    """Places each child by its `id` as planned; a child without a placement is not drawn."""

    name = "plan"

    def __init__(self, plan: Callable[[int, int], dict[str, Placement]]) -> None:
        self._plan = plan

    def arrange(
        self,
        parent: Widget,  # noqa: ARG002
        children: list[Widget],
        size: Size,
        greedy: bool = True,  # noqa: ARG002
    ) -> list[WidgetPlacement]:
        """Return the placements for a screen of this size."""
        placements = self._plan(size.width, size.height)
        return [
            WidgetPlacement(Region(*placements[child.id][:4]), Offset(), Spacing(), child)
            for child in children
            if child.id in placements
        ]
