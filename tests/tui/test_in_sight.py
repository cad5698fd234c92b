"""What is in sight belongs to the present stop, or says that it is loading: on the real engine in its own process.

Nothing here asks the screen to look again: after a key a test only waits, as a person does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from textual import events
from textual.geometry import Size

from gradstep.session.transport.remote import RemoteSession
from gradstep.steps.language.parse import parse_script
from gradstep.tui.app import GradstepApp
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.panels.panel import Panel
from gradstep.tui.screen import StepScreen
from gradstep.values.commands import Load
from gradstep.values.views import NoView
from gradstep.values.views.graph import GraphView
from gradstep.values.views.node import LookNode

NETWORK = """
import torch
from gradstep.workload import Workload

def workload():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    batches = [(torch.randn(5, 3), torch.randn(5, 2)) for _ in range(3)]
    sgd = lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    return Workload(model=model, loss=torch.nn.functional.mse_loss, optimizer=sgd, batches=batches)
"""
SCRIPT = (
    "forward\nbackward\nsay two phases\nstep\nzero_grad\nbreak node Mse*\nforward\nbackward\nover\ncontinue\nstep\n"
)
SIZES = [(80, 24), (120, 40), (200, 60)]
NOTHING = ("Nothing is loaded", "No graph yet", "No line is running")
"""What panels say where there is nothing to show: not where there is a graph, or a line that is running."""


class Eyes:
    """A person before the screen: presses keys, waits until it is at rest, looks."""

    def __init__(self, app: GradstepApp, session: RemoteSession) -> None:
        self.app, self.session = app, session

    @property
    def screen(self) -> StepScreen:
        return self.app.step_screen

    async def press(self, *keys: str) -> None:
        """Press keys, or type a line (`:show 0.bias`) or resize (`80x24`), with a look after each."""
        for key in keys:
            if key[0] == ":":
                for letter in ["colon", *key[1:], "enter"]:
                    self._key(letter)
            elif "x" in key[1:] and key[0].isdigit():
                size = Size(*map(int, key.split("x")))
                self.app.post_message(events.Resize(size, size))
            else:
                self._key(key)
            await self.rest()
            self.look(after=key)

    def _key(self, key: str) -> None:
        character = key if len(key) == 1 else None
        self.app.post_message(events.Key("space" if key == " " else key, character))

    async def rest(self) -> None:
        """Wait until all keys are taken, nothing runs, and the screen has done what it does by itself."""

        async def at_rest() -> None:
            calm = 0
            while calm < 3:
                await asyncio.sleep(0.001)
                screen = self.screen
                queues = [pump._message_queue for pump in (self.app, screen, *screen.children)]
                calm = (
                    calm + 1
                    if all(q.empty() for q in queues) and not screen.queue.busy and screen.looking.at_rest
                    else 0
                )

        try:
            await asyncio.wait_for(at_rest(), 60)
        except TimeoutError:
            owed = [(name, panel.shown_request, panel.shown_stop) for name, panel in self.visible.items()]
            pytest.fail(f"it never comes to rest: stop {self.screen.queue.stop.number}, {owed}")

    @property
    def visible(self) -> dict[str, Panel]:
        return {name: panel for name, panel in self.screen.panels.items() if name in self.screen.placements}

    def text(self) -> str:
        rows = self.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in rows)

    def look(self, after: str) -> None:
        """Hold the invariant: each panel in sight has the view of the stop that it is to show, and shows it."""
        stop = self.screen.queue.stop
        for name, panel in self.visible.items():
            if panel.request() is not None:
                assert panel.shown_stop == self.screen.looking.moment_of(name), (after, name, panel.shown_stop, stop)
        text = self.text()
        assert "Loading" not in text, (after, text)
        if self.screen.past.row is not None:
            return
        node = stop.position is not None and stop.position.kind == "node"
        if "forward" in stop.done or node:
            for words in NOTHING[:2]:
                assert words not in text, (after, text)
        if node and stop.position is not None:
            graph, jtv = self.visible.get("graph"), self.screen.panels["jtv"]
            assert f"#{stop.position.number} of " in text, (after, text)
            if graph is not None and isinstance(graph.view, GraphView):  # type: ignore[attr-defined]
                nodes = [row for row in graph.view.rows if not row.group]  # type: ignore[attr-defined]
                here = stop.position.number
                assert all(row.done == (row.order < here) for row in nodes if row.order != here), (after, text)
            if "jtv" in self.visible and jtv.number is None and not jtv.path:  # type: ignore[attr-defined]
                assert jtv.view.number == stop.position.number, after  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def engine(loop: asyncio.AbstractEventLoop) -> Iterator[RemoteSession]:
    """One engine process for every test of this file."""
    session = RemoteSession.spawn()
    loop.run_until_complete(session.attach())
    yield session
    loop.run_until_complete(session.close())


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.py"
    path.write_text(NETWORK)
    return path


@asynccontextmanager
async def eyes(
    engine: RemoteSession, target: str, size: tuple[int, int], layout: str = "learn", script: str = ""
) -> AsyncIterator[Eyes]:
    load = Load(target, seed=0)
    lines = parse_script(f"load {target}\n{script}", "lesson.steps") if script else None
    app = GradstepApp(engine, [] if script else [load], lines, rest=0.0, appearance=Appearance(layout=layout))
    async with app.run_test(size=size):
        person = Eyes(app, engine)
        while not person.screen.showing.frames or not person.screen.queue.stop.number:
            await asyncio.sleep(0.001)
        await person.rest()
        yield person


@pytest.fixture
def see(engine: RemoteSession, loop: asyncio.AbstractEventLoop, network: Path) -> Any:
    """Return a function that opens a screen, presses keys, and returns what is then seen."""

    def run(
        *keys: str, size: tuple[int, int] = (120, 40), layout: str = "learn", script: str = "", of: str = ""
    ) -> str:
        async def test() -> str:
            async with eyes(engine, of or f"{network}:workload", size, layout, script) as person:
                await person.press(*keys)
                return person.text()

        return loop.run_until_complete(asyncio.wait_for(test(), 120))

    return run


# -- each case that was found, and its siblings -----------------------------------------------------------------------
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_step_into_a_backward_shows_the_graph_and_the_node(see, size, layout):
    shown = see("f", "i", size=size, layout=layout)
    assert "#0 of 10" in shown
    assert "MseLossBackward0" in shown
    assert "v ()" in shown


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_step_into_a_forward_shows_what_is_passed(see, layout):
    shown = see("i", layout=layout)
    assert "passed" in shown
    assert "module.in" in shown


@pytest.mark.parametrize(
    "keys",
    [
        (":break node Relu*", "f", "b"),
        (":break node Addmm*", ":forward", ":backward"),
        ("f", "i", "2", "m", "m"),
        ("f", "m", "i", "m"),
        ("f", "b", "J", "1", "z", "f", "i"),
        ("f", "b", "J", "1", "z", "f", "i", "i", "o"),
        ("2", "f", "b", "z", "f", "i"),
        ("f", "b", "2", "1", "z", "f", "i", "c", "f", "i"),
        ("f", "i", "f7", "f6", "f8"),
        ("f", "i", "80x24", "200x60", "120x40"),
        ("f", "80x24", "i", "x", "J", "S", "w", "K", "200x60"),
        ("f", "i", "T", "up", "up", "down", "escape"),
        ("f", "i", "O", "u", "i"),
        ("f", "b", "s", "u", "u", "u", "i", "i"),
        ("f", "b", "s", "a", ":try set lr = 0.01", "C"),
        ("f", "b", "s", "2", "C", "escape"),
    ],
    ids=" ".join,
)
def test_what_comes_into_sight_is_loaded(see, keys):
    see(*keys, layout="inspect" if keys[0] == "f" else "learn")


def test_a_panel_that_the_next_layout_hides_is_not_asked_for(see, engine, monkeypatch):
    asked: list[Any] = []
    look = engine.look

    async def noted(requests: Any, *more: Any) -> Any:
        asked.extend(requests)
        return await look(requests, *more)

    monkeypatch.setattr(engine, "look", noted)
    shown = see("f", "i", "c", size=(80, 24))
    assert "Jᵀv" not in shown
    nodes = [each for each in asked if isinstance(each, LookNode)]
    assert nodes
    assert all(each.number is None for each in nodes), "the whole backward would be rerun for it"


def test_a_view_that_takes_a_long_rerun_comes_after_what_a_command_did(see, engine, monkeypatch):
    asked: list[list[Any]] = []
    run, look = engine.execute_and_look, engine.look

    def left(requests: Any, views: Any) -> Any:
        several = zip(requests, views, strict=True) if views else ()
        return [NoView(view.stop, "", due=True) if isinstance(each, LookNode) else view for each, view in several]

    async def leaving(command: Any, requests: Any) -> Any:
        outcome, views = await run(command, requests)
        asked.append([])
        return outcome, left(requests, views)

    async def noted(requests: Any, *more: Any) -> Any:
        asked[-1].append([type(each) for each in requests])
        return await look(requests, *more)

    monkeypatch.setattr(engine, "execute_and_look", leaving)
    monkeypatch.setattr(engine, "look", noted)
    assert "Jᵀ v" in see("f", "b", "J", "f", "b")
    again = [each for each in asked[-1] if LookNode in each]
    assert again[0] == [LookNode], "requested once more, alone"


def test_a_panel_that_comes_into_sight_during_a_rerun_ends_it(engine, loop, network, monkeypatch):
    look = engine.look

    async def test() -> None:
        asked, hastened = asyncio.Event(), asyncio.Event()

        async def rerunning(requests: Any, *more: Any) -> Any:
            if any(isinstance(each, LookNode) for each in requests) and not hastened.is_set():
                asked.set()
                await hastened.wait()
                return [NoView(engine.stop.number, "", due=True) for _ in requests]
            if not requests:
                hastened.set()
            return await look(requests, *more)

        async with eyes(engine, f"{network}:workload", (120, 40), "inspect") as person:
            await person.press("f", "b")
            monkeypatch.setattr(engine, "look", rerunning)
            person._key("J")
            await asked.wait()
            person._key("2")
            await person.rest()
            person.look(after="2")
            assert "graph" in person.visible

    loop.run_until_complete(asyncio.wait_for(test(), 120))


@pytest.mark.parametrize("size", SIZES)
def test_the_ledger_comes_in_place_of_the_log_with_its_rows(see, size):
    shown = see("f7", "a", "tab", "N", size=size)
    assert "loss" in shown
    see("N", layout="inspect", size=size)


@pytest.mark.parametrize("size", SIZES)
def test_what_if_leads_to_a_comparison_that_is_there(see, size):
    shown = see("N", "z", "n", "f", "b", "s", ":try set lr = 0.01", size=size)
    assert "Nothing to compare yet" not in shown
    assert "lr-0.01" in shown


def test_a_stop_at_a_nan_shows_what_was_passed_there(see, tmp_path):
    (tmp_path / "sick.py").write_text(NETWORK.replace("torch.randn(5, 3)", "torch.full((5, 3), float('nan'))"))
    shown = see(":break nan", "f", of=f"{tmp_path / 'sick.py'}:workload")
    assert "passed" in shown
    assert "nan" in shown


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_line_of_a_script_shows_what_it_led_to(see, layout):
    see(*["space"] * 8, "c", layout=layout, script=SCRIPT)


@pytest.mark.parametrize(("panel", "at"), [("batch", 2), ("optimizer", 2), ("timeline", 0), ("model", 7)])
def test_keys_that_are_faster_than_a_panel_are_kept_until_it_has_its_view(engine, loop, network, panel, at):
    async def test() -> None:
        async with eyes(engine, f"{network}:workload", (60, 20), "train") as person:
            await person.press("f", "b")
            person.screen.panel_keys.focus(panel)
            for _ in range(2):
                person._key("up" if panel == "timeline" else "down")
            assert person.screen.panels[panel].view is None
            await person.rest()
            assert person.screen.panels[panel].at == at

    loop.run_until_complete(asyncio.wait_for(test(), 120))


def test_keys_that_are_pressed_while_a_model_is_loaded_are_kept_for_the_panel(engine, loop, network):
    async def test() -> None:
        app = GradstepApp(
            engine, [Load(f"{network}:workload", seed=0)], None, rest=0.0, appearance=Appearance(layout="train")
        )
        async with app.run_test(size=(60, 20)):
            person = Eyes(app, engine)
            for key in ("f", "b", "0", "down", "down"):
                person._key(key)
            while person.screen.queue.stop.phase != "backward":
                await asyncio.sleep(0.001)
            await person.rest()
            assert person.screen.panels["batch"].at == 2

    loop.run_until_complete(asyncio.wait_for(test(), 120))


@pytest.mark.parametrize("panel", ["J", "w", "S"])
def test_what_is_about_the_selected_parameter_needs_no_model_in_sight(see, panel):
    shown = see("f", "b", panel, size=(60, 20))
    assert "select one in Graph" not in shown
    assert {"J": "AccumulateGrad", "w": "2.weight", "S": "network.py"}[panel] in shown


def test_the_footer_names_help_wherever_it_is_opened(see):
    for keys in (["f"], ["f", "i"], ["space"] * 11):
        assert "? help" in see(*keys, size=(80, 24), script=SCRIPT if len(keys) > 2 else "").splitlines()[-1]


@pytest.mark.parametrize("keys", [["f", "m"], ["f", "i", "m"]])
def test_the_footer_of_a_maximised_panel_says_how_it_is_restored(see, keys):
    assert "m restore" in see(*keys, size=(80, 24)).splitlines()[-1]


def test_a_panel_says_that_it_is_loading_until_its_view_comes(engine, loop, network):
    async def test() -> None:
        async with eyes(engine, f"{network}:workload", (120, 40)) as person:
            await person.press("f")
            look, open_ = engine.look, asyncio.Event()

            async def slow(requests: Any, at: int = 0) -> Any:
                await open_.wait()
                return await look(requests, at)

            engine.look = slow  # type: ignore[method-assign]
            try:
                person.app.simulate_key("2")
                while "Loading stop 2 ..." not in person.text():
                    await asyncio.sleep(0.001)
                assert "No graph yet" not in person.text()
            finally:
                engine.look = look  # type: ignore[method-assign]
                open_.set()
            await person.rest()
            person.look(after="the answer")
            assert "mean (a − b)²" in person.text()

    loop.run_until_complete(asyncio.wait_for(test(), 60))


# -- the invariant ----------------------------------------------------------------------------------------------------
KEYS = (
    *["f", "b", "s", "z", "n", "space", "N"] * 2,
    *["i", "o", "O", "c", "u", "U", "B"] * 2,
    *("f6", "f7", "f8", "tab", "shift+tab", "m", "escape", "enter", "left_square_bracket", "right_curly_bracket"),
    *("1", "2", "3", "4", "5", "6", "7", "8", "9", "0", "a", "x", "J", "w", "S", "K", "T", "C", "delete", "minus"),
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown", "H", "v", "D", "g", "L", "F", "X"),
    *(":break node Addmm*", ":break nan", ":break module 0", ":show 0.bias", ":show 2.weight.grad", ":goto 1"),
    *(":try set lr = 0.01", ":set lr = 0.2", ":set 2.bias.grad = 0", ":undo 2", ":continue", ":compare 1 2"),
    *("80x24", "120x40", "200x60", "60x20"),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.sampled_from(KEYS), min_size=6, max_size=14),
    layout=st.sampled_from(sorted(LAYOUTS)),
    size=st.sampled_from(SIZES),
    scripted=st.booleans(),
)
def test_whatever_is_pressed_what_is_in_sight_belongs_to_the_present_stop(see, keys, layout, size, scripted):
    see(*keys, layout=layout, size=size, script=SCRIPT if scripted else "")
