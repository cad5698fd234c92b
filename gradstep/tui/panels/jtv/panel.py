"""The panel *Jᵀ v*: v, J and Jᵀv of a node, with the formula and the chain from the loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.bars.position import flowing_side
from gradstep.tui.panels.jtv.grids import Grids, seen_edge
from gradstep.tui.panels.jtv.strip import strip_lines
from gradstep.tui.panels.jtv.words import chain_lines, edge_lines, facts, goes
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, drawing_of, empty, heading, paragraph
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values.views import Request
from gradstep.values.views.inside import Position
from gradstep.values.views.node import Direction, LookNode, NodeView

_LEAST = 4
"""Minimum number of rows of numbers, whatever text is below them."""
_MOST = 16


def draw(view: NodeView | None, width: int, height: int, at: int = -1) -> Drawing:
    """Draw the node: the grids, and below them the text that fits; the cursor on input `at`."""
    if view is None or not view.name:
        return empty(width, height, clean(view.note) if view is not None else "Nothing is loaded yet.")
    about = f"#{view.number} {clean(view.name)}  {clean(view.module)}"
    said, chain = _said(view, width, at), chain_lines(view, width)
    grids = Grids(view, width)
    rows = min(grids.height, _MOST)
    # at least half of the panel is numbers
    least = min(rows, max(_LEAST, height // 2 - 1))
    room = max(0, height - least - grids.heads)
    every = [*said, *chain, *_words(view, width)]
    if chain and len(said) + len(chain) > room > 0:
        # keep the first line of the chain visible
        every = [*said[: room - 1], *chain, *said[room - 1 :], *_words(view, width)]
    shown = every[:room]
    lines = grids.lines(max(least, min(rows, height - len(shown) - grids.heads)))
    return drawing_of(about, [*lines, *shown], height, cut=len(every) - len(shown))


def _said(view: NodeView, width: int, at: int) -> list[Line]:
    """Return what happens to v and where it goes, the most important first; a requested row or column of J leads."""
    lines = [line for text in view.edits for line in paragraph(clean(text), width, "bright")]
    lines += strip_lines(view, width)
    if view.forward:
        lines += [_formula(view, width)]
    if len(view.edges) > 1 or (view.edges and not view.forward):
        lines += edge_lines(view, width, at)
    for text, tone in facts(view):
        lines += paragraph(text, width, tone)
    return lines


def _words(view: NodeView, width: int) -> list[Line]:
    """Return what the operation does to v, as a sentence."""
    if view.words:
        return paragraph(f"{view.words}.", width)
    if view.leaf:
        return []
    return paragraph("The derivative of this operation is not in gradstep's tables.", width, "dim")


def _formula(view: NodeView, width: int) -> Line:
    row = Row(width).left(GUTTER, clean(view.forward), "text")
    edge = seen_edge(view)
    if edge is not None and edge.formula:
        row.add("   Jᵀv = ", "dim").add(clean(edge.formula), "code")
        if len(view.edges) == 1:
            row.add(f"   {goes(edge, width - row.at - 4)}", "text" if edge.leaves is not None else "dim")
    return row.line()


class JtvPanel(Panel[NodeView]):
    """v, J and Jᵀv of a node, with a cursor on the input that J and Jᵀv are for."""

    title = heading("jtv")
    help_text = (
        "One node of the backward: v, the gradient that arrives for the operation's output; J, the Jacobian of "
        "the operation; and Jᵀv, the gradient passed on to each input, with the formula, the norms and their "
        "ratio. ↑↓ selects the input. Below are the tensors that the node saved, and the path that v took from "
        "the loss. It is about the node that is stopped at, or the one under the cursor of Graph."
    )
    shows = NodeView

    def __init__(self) -> None:
        super().__init__("jtv")
        self.number: int | None = None
        self.path = ""
        """Its subject: the number of a node, else the path of a parameter or module, else the node stopped at."""
        self.edge = -1
        self._check = self._insist = False
        self._direction: Direction = ""
        self._at: tuple[int, ...] = ()

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the keys that show more of a Jacobian than is computed by default."""
        return {"jtv_check": self.check, "jtv_insist": self.insist, "jtv_strip": self.switch_strip}

    def press(self, key: str, actions: Actions) -> bool:
        """Edit the gradient at the node stopped at, or open the command line to choose a row of J."""
        position = actions.stop.position
        if key == "edit" and position is not None and position.kind == "node":
            actions.edit(f"set {self._flowing(position)} = ")
        elif key == "tensor_element":
            actions.type(f"{self._direction or 'row'} ")
        else:
            return False
        return True

    def _flowing(self, position: Position) -> str:
        """Return the gradient that can be edited as an expression: before the node v, after it Jᵀv."""
        side, view = flowing_side(position), self.view
        if view is None or view.number != position.number:
            return side
        several = len(view.arrives if side == "node.in" else view.edges) > 1
        at = view.seen if side == "node.out" else view.matrix.output if view.matrix is not None else 0
        return f"{side}[{at}]" if several and at >= 0 else side

    def request(self) -> Request:
        """Return the request for the node, with windows as large as can be drawn."""
        rows = max(_LEAST, min(_MOST, self.body - 4))
        columns = max(8, min(16, self.size.width // 8))
        return LookNode(
            self.number,
            self.path,
            self.edge,
            rows=rows,
            columns=columns,
            check=self._check,
            run=self._insist,
            insist=self._insist,
            strip=self._direction,
            at=self._at,
            span=max(16, self.size.width // 2),
        )

    def update(self, view: NodeView, before: NodeView | None) -> None:
        """Start at the first input of another node, without costly computations."""
        if before is not None and (before.number, before.name) != (view.number, view.name):
            self.edge, self._check, self._insist = -1, False, False
            self.choose_strip("")

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        seen = self.view.seen if self.view is not None else -1
        return draw(self.view, width, height, seen)

    def move(self, rows: int) -> None:
        """Select another of the inputs that need a gradient."""
        if self.view is None:
            return
        ends = [edge.edge for edge in self.view.edges if edge.number >= 0]
        if ends:
            here = ends.index(self.view.seen) if self.view.seen in ends else 0
            self.edge = ends[max(0, min(here + rows, len(ends) - 1))]

    def sideways(self, columns: int) -> None:
        """Show the next row or column of J, if one is shown."""
        strip = self.view.matrix.strip if self.view is not None and self.view.matrix is not None else None
        if strip is not None and strip.number >= 0 and self.view is not None and self.view.matrix is not None:
            size = self.view.matrix.rows if strip.direction == "row" else self.view.matrix.columns
            self._at = (max(0, min(strip.number + columns, size - 1)),)

    def switch_strip(self) -> str:
        """Switch between a row of J, a column, and neither; return the description."""
        if self.view is not None and self.view.name and (self.view.matrix is None or not self.view.matrix.rows):
            self.choose_strip("")
            return "there is no J here to show a row or column of"
        turn: dict[Direction, Direction] = {"": "row", "row": "column", "column": ""}
        self.choose_strip(turn[self._direction])
        return {
            "row": "the row of J for the element of v with the largest magnitude",
            "column": "the column of J for the element of Jᵀv with the largest magnitude",
            "": "a window of J",
        }[self._direction]

    def choose_strip(self, direction: Direction, at: tuple[int, ...] = ()) -> None:
        """Show a row or column of J, by default for the element of largest magnitude; neither for ""."""
        self._direction, self._at = direction, at

    @property
    def direction(self) -> Direction:
        """Which of the two is shown."""
        return self._direction

    def check(self) -> str:
        """Toggle the comparison of J with finite differences; return the description."""
        self._check = not self._check
        return "J is compared with finite differences" if self._check else "J is not compared"

    def insist(self) -> str:
        """Toggle computing what is costly or runs user code once more; return the description."""
        self._insist = not self._insist
        words = "J is computed whatever it costs; a custom Function is run once more for it"
        return words if self._insist else "J is computed only where it is cheap"
