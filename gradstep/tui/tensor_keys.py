"""The keys of the Tensor panel: other ways to look at the selected tensor, and going to an element of it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from gradstep.tui.element import place_words, read_dims, read_place
from gradstep.tui.keys import KeyedBoard
from gradstep.values.errors import wrong
from gradstep.values.tensors import LookPlace, PlaceView, TensorView


class TensorKeys(KeyedBoard, inherit_bindings=False):
    """A board with an action for every key that is Tensor's own."""

    def type_command(self, text: str) -> None:
        """Begin to type a command that starts with `text`."""
        raise NotImplementedError

    def action_tensor(self, what: str) -> None:
        """Look at the selected tensor in another way."""
        panel = self.tensor
        turn: dict[str, Callable[[], str]] = {
            "heat": panel.turn_heat,
            "quantity": panel.turn_quantity,
            "statistics": panel.turn_statistics,
            "dims": panel.turn_dims,
            "back": lambda: panel.step_plane(-1),
            "on": lambda: panel.step_plane(1),
        }
        self._see_tensor(turn[what]())

    def action_element(self) -> None:
        """Begin to type which element to go to: of the selected tensor, or in Jᵀ v that of a row or column of J."""
        self.type_command(self.typed_strip or "element ")

    def go_to_element(self, text: str) -> None:
        """Go to an element of the selected tensor: an index, or an extreme that is looked for first.

        Raises:
            GradstepError: it is no element of what is selected.
        """
        place = read_place(text, self._seen_tensor())
        if isinstance(place, LookPlace):
            self.run_worker(self._find(place), name="find element")
        else:
            self.tensor.go(place)
            self._see_tensor(f"at {list(place)}")

    def choose_dims(self, text: str) -> None:
        """See two dimensions as rows and columns.

        Raises:
            GradstepError: the selection does not have them.
        """
        self._see_tensor(self.tensor.see_dims(*read_dims(text, self._seen_tensor())))

    def _seen_tensor(self) -> TensorView:
        view = self.tensor.view
        if view is None or view.kind == "none":
            raise wrong("there is no tensor to go to", "Nothing is selected.", "Choose a parameter in Model first.")
        return view

    def _see_tensor(self, said: str) -> None:
        if "tensor" not in self._places:
            self._focus("tensor")
        self._say(f"Tensor: {said}")
        self.tensor.redraw()
        self._catch_up()

    async def _find(self, look: LookPlace) -> None:
        try:
            [found] = await self._session.look(
                [replace(look, opening=self.tensor.opening, between=self.tensor.between)]
            )
        except ConnectionError:
            return
        if not isinstance(found, PlaceView):
            return
        if found.index is not None:
            self.tensor.go(found.index)
        self._see_tensor(place_words(found))
