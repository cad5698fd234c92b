"""What a panel can ask the screen to do when a key is pressed in it."""

from __future__ import annotations

from typing import Protocol

from gradstep.values.commands import Break, Command
from gradstep.values.outcomes import Stop
from gradstep.values.views.tensor import Between


class Actions(Protocol):
    """The actions; the controllers of the screen carry them out."""

    @property
    def stop(self) -> Stop:
        """The current stop."""
        ...

    def run(self, command: Command) -> None:
        """Queue a command."""
        ...

    def select(self, path: str) -> None:
        """Select a parameter or buffer."""
        ...

    def show(self, expression: str) -> None:
        """Select a tensor by an expression, and make Tensor visible."""
        ...

    def toggle_break(self, wanted: Break) -> None:
        """Set a breakpoint, or delete the one that is already there."""
        ...

    def go_to_node(self, number: int) -> None:
        """Move the cursor of Graph to a node, and focus it."""
        ...

    def go_to_line(self, file: str, line: int) -> None:
        """Move the cursor of Source to a line, where it shows the file, and focus it."""
        ...

    def focus(self, panel: str) -> None:
        """Focus a panel."""
        ...

    def type(self, line: str) -> None:
        """Open the command line with the start of a command."""
        ...

    def type_into_script(self) -> None:
        """Have every key go to the script's terminal."""
        ...

    def edit(self, line: str) -> None:
        """Open the command line with the start of an edit; in the past, of a what-if."""
        ...

    def edit_element(self, grad: bool = False) -> None:
        """Open the command line with an edit of the selected element, or of its `.grad`."""
        ...

    def compare(self, first: str, second: str) -> None:
        """Return to the present, and show how two points differ."""
        ...

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show a tensor at two points, with the cursor on an element."""
        ...

    def leave_difference(self) -> bool:
        """Close the difference; return False while a command is running, which has to be paused first."""
        ...

    def copy_slice(self) -> None:
        """Copy the whole selected slice."""
        ...

    def say(self, text: str) -> None:
        """Show a message in the footer."""
        ...
