"""Going to an element of the selected tensor, and choosing the dimensions shown as rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.tensor.element import place_words, read_dims, read_place
from gradstep.values.errors import wrong
from gradstep.values.views.tensor import LookPlace, PlaceView, TensorView


class Tensor(Controller):
    """Goes to an element of the selected tensor, and chooses the dimensions shown."""

    def __init__(self, screen: Desk, typing: CommandLines) -> None:
        """Attach to the screen; `typing` opens the command line."""
        super().__init__(screen)
        self._typing = typing

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {"tensor_element": lambda: self._typing.begin("element ")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        return {"element": self.go_to_element, "dims": self.choose_dims}

    def go_to_element(self, text: str) -> None:
        """Go to an element of the selected tensor: an index, or an extreme, which is searched for.

        Raises:
            GradstepError: the selection has no such element.
        """
        place = read_place(text, self._seen_tensor())
        if isinstance(place, LookPlace):
            self.screen.run_worker(self._find(place), name="find element")
        else:
            self.screen.tensor.go(place)
            self._see_tensor(f"at {list(place)}")

    def choose_dims(self, text: str) -> None:
        """Show two dimensions as rows and columns.

        Raises:
            GradstepError: the selection does not have them.
        """
        self._see_tensor(self.screen.tensor.show_dims(*read_dims(text, self._seen_tensor())))

    def _seen_tensor(self) -> TensorView:
        view = self.screen.tensor.view
        if view is None or view.kind == "none":
            raise wrong("there is no tensor to go to", "Nothing is selected.", "Choose a parameter in Model first.")
        return view

    def _see_tensor(self, said: str) -> None:
        self.screen.bring("tensor")
        self.screen.say(f"Tensor: {said}")
        self.screen.tensor.redraw()

    async def _find(self, look: LookPlace) -> None:
        try:
            [found] = await self.screen.session.look(
                [replace(look, opening=self.screen.tensor.opening, between=self.screen.tensor.between)]
            )
        except ConnectionError:
            return
        if not isinstance(found, PlaceView):
            return
        if found.index is not None:
            self.screen.tensor.go(found.index)
        self._see_tensor(place_words(found))
        self.screen.check_idle()
