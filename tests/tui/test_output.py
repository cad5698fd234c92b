"""The panel Output: what a script prints, and typing into its terminal."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fake_session import FakeSession
from stage import Stage, stage
from textual import events

from gradstep.values.commands import Forward
from gradstep.values.outcomes import Output

_CHARACTERS = {"space": " ", "enter": "\r", "escape": "\x1b", "exclamation_mark": "!", "ctrl+c": "\x03"}


def in_loop(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in an event loop."""

    @functools.wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    return run


class FakeTerminal:
    """Notes what is typed and the sizes that it is given."""

    def __init__(self) -> None:
        self.typed = ""
        self.sizes: list[tuple[int, int]] = []
        self.waits = False
        self.room = True

    def write(self, text: str) -> bool:
        self.typed += text
        return self.room

    def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    def awaits_input(self) -> bool:
        return self.waits


class Script:
    """A stage whose session runs a script."""

    def __init__(self, on: Stage, terminal: FakeTerminal) -> None:
        self.on, self.terminal, self.screen = on, terminal, on.screen

    def prints(self, text: str) -> None:
        """Have the script print something, and draw it."""
        self.on.session.on_event(Output(text))
        self.screen.output.catch_up(whole=True)
        self.screen.output.redraw()

    async def press(self, *keys: str) -> None:
        """Press keys as a terminal sends them, without waiting for the command that runs."""
        for key in keys:
            self.on.app.post_message(events.Key(key, _CHARACTERS.get(key, key if len(key) == 1 else None)))
            await self.on.pilot.pause(0)

    async def runs_on(self) -> None:
        """Begin a forward that does not end before `gate` is set."""
        self.on.session.hold()
        self.on.app.simulate_key("f")
        await self.on.until(lambda: self.screen.queue.running is not None)

    async def waits(self) -> None:
        """Have the script wait for input, and the screen notice it."""
        self.terminal.waits = True
        self.screen.script_output._watch()
        self.screen.script_output._watch()
        await self.on.pilot.pause(0)


@asynccontextmanager
async def script(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Script]:
    session = FakeSession()
    session.terminal = terminal = FakeTerminal()
    async with stage(session, size) as on:
        yield Script(on, terminal)


@in_loop
async def test_output_is_drawn_in_its_panel_and_not_in_the_log() -> None:
    async with script() as run:
        run.prints("\x1b[31mepoch 1\x1b[0m\r\n50%\r100%")
        assert "epoch 1" in run.on.text()
        assert "100%" in run.on.text()
        assert not any(entry.kind == "output" for entry in run.screen.log_panel.entries)


@in_loop
async def test_without_a_script_there_is_no_such_panel() -> None:
    async with stage() as on:
        on.session.on_event(Output("printed by a workload\n"))
        await on.press("exclamation_mark")
        assert "! Output" not in on.text()
        assert on.screen.log_panel.entries[-1].text == "printed by a workload"
        assert "Log" in on.screen.footer.said


@in_loop
async def test_the_terminal_has_the_size_of_the_panel() -> None:
    async with script() as run:
        await run.on.press("exclamation_mark", "m")
        panel = run.screen.output
        assert run.terminal.sizes[-1] == (panel.size.width - 2, panel.body)
        assert panel.size.width == 120


@in_loop
async def test_a_script_that_waits_is_answered_with_one_key() -> None:
    async with script() as run:
        await run.runs_on()
        assert "waits for input" not in run.on.text()
        await run.waits()
        assert "waits for input" in run.on.text()
        assert "! answer" in run.on.text()
        await run.press("exclamation_mark", "y", "q", "space", "enter", "up", "ctrl+c", "f")
        assert run.terminal.typed == "yq \r\x1b[A\x03f"
        assert "typing into" in run.on.text()


@in_loop
async def test_esc_ends_typing_and_keys_are_gradsteps_again() -> None:
    async with script() as run:
        await run.runs_on()
        await run.press("exclamation_mark", "enter", "a", "escape", "f")
        assert run.terminal.typed == "a"
        run.on.session.gate.set()
        await run.on.idle()
        assert [type(each) for each in run.on.session.executed[-2:]] == [Forward, Forward]


@in_loop
async def test_a_stop_ends_typing() -> None:
    async with script() as run:
        await run.runs_on()
        await run.press("exclamation_mark", "exclamation_mark")
        assert run.screen.output.typing
        run.on.session.gate.set()
        await run.on.idle()
        assert not run.screen.output.typing
        assert "waits for input" not in run.on.text()


@in_loop
async def test_at_a_stop_nothing_is_typed() -> None:
    async with script() as run:
        await run.press("exclamation_mark", "enter")
        assert "once it runs again" in run.screen.footer.said
        await run.press("f")
        assert run.terminal.typed == ""


@in_loop
async def test_pasted_text_is_typed_as_lines() -> None:
    async with script() as run:
        await run.runs_on()
        await run.press("exclamation_mark", "enter")
        await run.screen.take(events.Paste("one\ntwo"))
        assert run.terminal.typed == "one\rtwo"


@in_loop
async def test_a_full_terminal_is_said() -> None:
    async with script() as run:
        await run.runs_on()
        run.terminal.room = False
        await run.press("exclamation_mark", "enter", "a")
        assert "does not read its input" in run.screen.footer.said


@in_loop
async def test_it_follows_what_is_printed_until_it_is_scrolled() -> None:
    async with script() as run:
        run.prints("".join(f"line {i}\r\n" for i in range(100)))
        await run.on.press("exclamation_mark")
        assert "line 99" in run.on.text()
        await run.on.press("home")
        assert "line 0" in run.on.text()
        run.prints("more\r\n")
        assert "line 0" in run.on.text()
        await run.on.press("end")
        assert "more" in run.on.text()
