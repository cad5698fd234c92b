"""Layouts, themes and panel sizes, by key and by mouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from msgspec.structs import replace
from textual import events

from gradstep.tui.desk import Controller, Desk
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.layout.plan import LayoutState
from gradstep.tui.layout.preferences import Preferences
from gradstep.tui.layout.sizes import Divider, divider_at, resized
from gradstep.tui.render.tones import PLAIN, THEMES
from gradstep.values.errors import wrong
from gradstep.values.nearest import did_you_mean


class Layouts(Controller):
    """Chooses layouts and themes, and resizes panels; the choices are remembered."""

    def __init__(self, screen: Desk) -> None:
        """Attach to the screen."""
        super().__init__(screen)
        self._held: tuple[Divider, int, int, LayoutState] | None = None
        """The edge being dragged, where the drag began, and the layout at that time."""

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {
            **{name: partial(self.choose_layout, name) for name in LAYOUTS},
            "theme": self.next_theme,
            "maximise": self.maximise,
            "narrower": partial(self.resize, -2, 0),
            "wider": partial(self.resize, 2, 0),
            "lower": partial(self.resize, 0, -1),
            "higher": partial(self.resize, 0, 1),
            "sizes": self.reset_sizes,
        }

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        return {
            "layout": lambda name: self.choose_layout(one_of("layout", name, LAYOUTS)),
            "theme": lambda name: self.choose_theme(one_of("theme", name, THEMES)),
        }

    def choose_layout(self, name: str) -> None:
        """Switch to a layout, and remember it."""
        self.screen.layout_name = self.screen.prompt.layout_name = name
        self.screen.maximised = False
        self._keep(replace(self.screen.preferences, layout=name))
        self.screen.go_to(self.screen.recent[0])
        self.screen.say(f"layout {name}")

    def choose_theme(self, name: str) -> None:
        """Switch to a theme, and remember it."""
        if self.screen.app.theme == PLAIN:
            self.screen.say("NO_COLOR is set: there are no colours to choose from")
            return
        self.screen.app.theme = name
        self._keep(replace(self.screen.preferences, theme=name))
        self.screen.redraw()
        self.screen.say(f"theme {name}")

    def _keep(self, preferences: Preferences) -> None:
        if preferences != self.screen.preferences:
            self.screen.preferences = preferences
            self.screen.save_preferences(preferences)

    def _resize(self, sizes: Mapping[str, int]) -> None:
        """Set the panel sizes of this layout and size class; empty restores the defaults."""
        own = {name: cells for name, cells in self.screen.preferences.sizes.items() if name != self.screen.sized}
        self.screen.preferences = replace(
            self.screen.preferences, sizes=own | ({self.screen.sized: dict(sizes)} if sizes else {})
        )
        self.screen.rearrange()

    def maximise(self) -> None:
        """Maximise the focused panel, or restore it."""
        self.screen.maximised = not self.screen.maximised
        self.screen.rearrange()
        self.screen.redraw()

    def next_theme(self) -> None:
        """Switch to the next theme."""
        names = list(THEMES)
        following = names.index(self.screen.app.theme) + 1 if self.screen.app.theme in names else 0
        self.choose_theme(names[following % len(names)])

    def resize(self, across: int, down: int) -> None:
        """Resize the focused panel, within what the others allow."""
        state = self.screen.layout_state
        sizes = resized(*self.screen.size, state, self.screen.recent[0], across, down)
        if sizes == state.sizes:
            back = f"{self.keyboard.key('maximise').shown} restores the panel first"
            self.screen.say(back if state.maximised else "the panels beside it can't shrink further")
        else:
            self._resize(sizes)
            self.screen.save_preferences(self.screen.preferences)

    def reset_sizes(self) -> None:
        """Restore the default panel sizes of this layout."""
        self._resize({})
        self.screen.save_preferences(self.screen.preferences)
        self.screen.say(f"layout {self.screen.layout_name}: default sizes")

    # -- the mouse ----------------------------------------------------------------------------------------------------
    def grab(self, event: events.MouseDown) -> None:
        """Begin to drag an edge."""
        x, y = event.screen_offset
        state = self.screen.layout_state
        divider = divider_at(*self.screen.size, state, x, y) if event.button == 1 and not state.maximised else None
        self._held = None if divider is None else (divider, x, y, state)

    def drag(self, event: events.MouseMove) -> None:
        """Drag the edge."""
        if self._held is None:
            return
        divider, x, y, state = self._held
        across = event.screen_offset.x - x if divider.across else 0
        down = 0 if divider.across else event.screen_offset.y - y
        self._resize(resized(*self.screen.size, state, divider.panel, across, down) if across or down else state.sizes)

    def let_go(self) -> None:
        """End the drag, and remember the sizes."""
        if self._held is not None and self._held[3].sizes != self.screen.layout_state.sizes:
            self.screen.save_preferences(self.screen.preferences)
        self._held = None


def one_of(word: str, given: str, names: Iterable[str]) -> str:
    """Return the validated name given to a command.

    Raises:
        GradstepError: it is not one of `names`.
    """
    name, known = given.strip(), tuple(names)
    if name in known:
        return name
    remedy = did_you_mean(name, known) or f"Write: {word} {' or '.join(known)}"
    raise wrong(
        f"There is no {word} {name}" if name else f"{word} takes a name", f"There are {', '.join(known)}.", remedy
    )
