"""The panels about one node, Jᵀ v and Contributions, and Inside about its module: which it is, and their keys."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradstep.tui.panels.contributions import ContributionsPanel
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.inside import InsidePanel
from gradstep.tui.panels.jtv import JtvPanel
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.stepping import SteppingBoard
from gradstep.values.errors import wrong
from gradstep.values.nodes import Direction
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View


class NodeKeys(SteppingBoard, inherit_bindings=False):
    """A board with an action for every key of a panel that is about a node."""

    _selected = ""
    """The parameter that was selected at the stop before."""

    def requests(self) -> list[tuple[str, Request]]:
        """Return what each visible panel wants to see; those about a node are about the same one."""
        for panel in (self.panel(JtvPanel), self.panel(ContributionsPanel), self.panel(SourcePanel)):
            panel.number, panel.path = self._subject()
        position, source = self._status.stop.position, self.panel(SourcePanel)
        if position is not None and position.kind != "node":
            source.number, source.path = None, ""  # the line that is running
        inside = self.panel(InsidePanel)
        inside.number, inside.path = self._module()
        return super().requests()

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: the cursor of Graph goes to what was selected elsewhere."""
        super().present(stop, outcome, views)
        selected, graph = self.model.selected, self.panel(GraphPanel)
        if selected != self._selected and stop.position is None and graph.here is not None:
            graph.seek(selected)
        self._selected = selected

    def _subject(self) -> tuple[int | None, str]:
        """Return what panels about a node are about: its number, or a path; neither for what is stopped at.

        That is what the cursor of Graph is on or is being sent to; without one, what the cursor of Model is on.
        """
        graph, model = self.panel(GraphPanel), self.model
        if graph.sought.startswith("#"):
            return int(graph.sought[1:]), ""
        if graph.sought:
            return None, graph.sought
        row = graph.here
        if row is not None and row.group and model.here is not None and model.here.kind == "parameter":
            return None, model.here.path
        if graph.pointed_node is None and self.driver.stop.position is None and row is None:
            return None, model.pointed
        return graph.pointed_node, ""

    def _module(self) -> tuple[int | None, str]:
        """Return what Inside is about between phases: the module under the cursor of Model, in the call of a node."""
        number, path = self._subject()
        if self.driver.stop.position is not None or (self.model.here is not None and not self.model.pointed):
            return None, ""  # what is stopped at, or the whole model
        return number, self.model.pointed or path

    def action_jtv(self, what: str) -> None:
        """See more of a node's Jacobian than is computed unasked."""
        panel = self.panel(JtvPanel)
        if "jtv" not in self._places:
            self._focus("jtv")
        turn = {"check": panel.check, "insist": panel.insist, "strip": panel.turn_strip}
        self._say(f"Jᵀ v: {turn[what]()}")
        self._catch_up()

    def choose_strip(self, direction: Direction, text: str) -> None:
        """See a row or a column of J in the panel Jᵀ v.

        Args:
            direction: which of the two.
            text: the index of its element; empty for the one farthest from 0; `off` for neither.

        Raises:
            GradstepError: it is no index.
        """
        panel, parts = self.panel(JtvPanel), [part for part in re.split(r"[\s,\[\]]+", text) if part]
        if parts != ["off"] and not all(re.fullmatch(r"[+-]?\d+", part) for part in parts):
            usage = f"Write: {direction} 3, 17  or  {direction} off"
            raise wrong(f"`{text.strip()}` is no index", f"It says which {direction} of J is seen.", usage)
        off = parts == ["off"]
        panel.choose_strip("" if off else direction, () if off else tuple(map(int, parts)))
        if "jtv" not in self._places:
            self._focus("jtv")
        self._say(f"Jᵀ v: J in a window{'' if off else f', and a {direction} of it'}")
        self._catch_up()

    @property
    def typed_strip(self) -> str:
        """What is typed before the index of a row or a column of J; empty where Jᵀ v has not the focus."""
        panel = self.panel(JtvPanel)
        return f"{panel.direction or 'row'} " if self.focus_panel is panel else ""

    def action_order(self) -> None:
        """Order what met in the other way."""
        if "contributions" not in self._places:
            self._focus("contributions")
        self._say(f"Contributions: {self.panel(ContributionsPanel).turn_order()}")
        self._catch_up()

    def choose_inside(self) -> None:
        """Go to the node under the cursor of Contributions in Graph."""
        met = self.panel(ContributionsPanel)
        if self.focus_panel is met and met.here is not None:
            self.panel(GraphPanel).seek(f"#{met.here.number}")
            self._focus("graph")
        else:
            super().choose_inside()
