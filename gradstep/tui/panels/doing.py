"""What a panel may have done when a key is pressed in it."""

from __future__ import annotations

from typing import Protocol

from gradstep.values.commands import Break, Command
from gradstep.values.outcomes import Stop
from gradstep.values.views.tensor import Between


class Doing(Protocol):
    """Who does it: the screen, by its controllers."""

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        ...

    def run(self, command: Command) -> None:
        """Queue a command."""
        ...

    def select(self, path: str) -> None:
        """Select a parameter or buffer."""
        ...

    def show(self, expression: str) -> None:
        """Select a tensor by an expression, and bring Tensor into sight."""
        ...

    def toggle_break(self, wanted: Break) -> None:
        """Set a breakpoint, or delete the one that is there."""
        ...

    def go_to_node(self, number: int) -> None:
        """Go to a node in Graph."""
        ...

    def type(self, line: str) -> None:
        """Begin to type a command."""
        ...

    def edit(self, line: str) -> None:
        """Begin to type a change; in the past, one to do the same again with."""
        ...

    def edit_element(self, grad: bool = False) -> None:
        """Begin to type a change of the element that is selected, or of its `.grad`."""
        ...

    def compare(self, first: str, second: str) -> None:
        """Show in what two points differ, and come back from the past."""
        ...

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show a tensor at two points, with the cursor on an element."""
        ...

    def leave_difference(self) -> bool:
        """Come back from that; False while something runs that is to be paused first."""
        ...

    def copy_slice(self) -> None:
        """Copy all of the selected slice."""
        ...

    def say(self, text: str) -> None:
        """Say something on the footer."""
        ...
