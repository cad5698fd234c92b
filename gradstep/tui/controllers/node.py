"""The node that Jᵀ v, Contributions, Source and Inside show, and rows and columns of its Jacobian."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gradstep.tui.desk import Controller
from gradstep.tui.panels.contributions import ContributionsPanel
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.inside import InsidePanel
from gradstep.tui.panels.jtv.panel import JtvPanel
from gradstep.tui.panels.source import SourcePanel
from gradstep.values.errors import wrong
from gradstep.values.outcomes import Stop
from gradstep.values.views import Request
from gradstep.values.views.node import Direction

_ABOUT = ("jtv", "contributions", "source", "inside")
"""The panels that show a node, or the row under Model's cursor."""


class Node(Controller):
    """Keeps the node panels on the same node, and shows a row or column of its Jacobian."""

    _selected = ""
    """The parameter selected at the previous stop."""
    _pointed = False
    """True once the cursor of Graph or Model has moved since the last command."""

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        return {"row": partial(self.choose_strip, "row"), "column": partial(self.choose_strip, "column")}

    def wants(self) -> Sequence[tuple[str, Request]]:
        """Set the subject of the node panels; where Model is hidden, ask for its view, which has the selection."""
        position, source = self.screen.status.stop.position, self.screen.panel(SourcePanel)
        subject = self._subject()
        for panel in (self.screen.panel(JtvPanel), self.screen.panel(ContributionsPanel), source):
            panel.number, panel.path = subject
        of_script = self.queue.stop.script and not self._pointed
        if of_script or (position is not None and position.kind != "node"):
            source.number, source.path = None, ""  # the running line
        inside = self.screen.panel(InsidePanel)
        inside.number, inside.path = self._module(*subject)
        places, model = self.screen.placements, self.screen.model
        return [] if "model" in places or places.keys().isdisjoint(_ABOUT) else [("model", model.request())]

    def moved(self) -> None:
        """Have Source show the line of the row that the cursor of Graph or Model moved to, in a script as well."""
        self._pointed = self.screen.focus_panel in (self.screen.panel(GraphPanel), self.screen.model)

    def queueing(self) -> None:
        """Have Source show the line that a script is stopped at."""
        self._pointed = False

    def stopped(self, stop: Stop) -> None:
        """Move Graph's cursor to what was selected elsewhere."""
        selected, graph = self.screen.model.selected, self.screen.panel(GraphPanel)
        if selected != self._selected and stop.position is None and graph.here is not None:
            graph.seek(selected)
        self._selected = selected

    def _subject(self) -> tuple[int | None, str]:
        """Return the subject of the node panels: a node's number or a path; neither for the current position.

        It is the row under Graph's cursor, or the one the cursor is moving to; without one, the row under Model's.
        """
        graph, model = self.screen.panel(GraphPanel), self.screen.model
        if graph.sought.startswith("#"):
            return int(graph.sought[1:]), ""
        if graph.sought:
            return None, graph.sought
        row = graph.here
        if row is not None and row.group and model.here is not None and model.here.kind == "parameter":
            return None, model.here.path
        if graph.pointed_node is None and self.queue.stop.position is None and row is None:
            return None, model.pointed
        return graph.pointed_node, ""

    def _module(self, number: int | None, path: str) -> tuple[int | None, str]:
        """Return the subject of Inside between phases: the module under Model's cursor, in a node's call of it."""
        if self.queue.stop.position is not None or (
            self.screen.model.here is not None and not self.screen.model.pointed
        ):
            return None, ""  # the current position, or the whole model
        return number, self.screen.model.pointed or path

    def choose_strip(self, direction: Direction, text: str) -> None:
        """Show a row or a column of J in the Jᵀ v panel.

        Args:
            direction: which of the two.
            text: the index of its element; empty for the largest in magnitude; `off` for neither.

        Raises:
            GradstepError: it is not an index.
        """
        panel, parts = self.screen.panel(JtvPanel), [part for part in re.split(r"[\s,\[\]]+", text) if part]
        if parts != ["off"] and not all(re.fullmatch(r"[+-]?\d+", part) for part in parts):
            usage = f"Write: {direction} 3, 17  or  {direction} off"
            raise wrong(f"`{text.strip()}` is not an index", f"It selects a {direction} of J.", usage)
        off = parts == ["off"]
        panel.choose_strip("" if off else direction, () if off else tuple(map(int, parts)))
        self.screen.bring("jtv")
        self.screen.say(f"Jᵀ v: J in a window{'' if off else f', and a {direction} of it'}")
