"""The panel Output: what a script prints, and typing into its terminal."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from fake_session import FakeSession
from msgspec.structs import replace
from stage import Stage, stage
from textual import events

from gradstep.values.commands import Command, Continue, Forward, Load, Run, line_of
from gradstep.values.outcomes import Died, Outcome, Output, Running
from gradstep.values.views import LossPoint, LossView

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


class FakeScript(FakeSession):
    """A session that runs a script, which ends at `continue`."""

    def __init__(self) -> None:
        super().__init__()
        self.terminal: FakeTerminal = FakeTerminal()

    async def execute(self, command: Command) -> Outcome:
        match command:
            case Run():
                outcome = await super().execute(Load("mlp"))
                self.executed[-1] = command
            case Continue():
                outcome = await super().execute(Forward())
                self.executed[-1] = command
                self.stop = replace(self.stop, ended="ended with exit code 0", natural=())
            case _:
                outcome = await super().execute(command)
        self.stop = replace(self.stop, workload="train.py", script=True)
        return replace(outcome, command=command, stop=self.stop)

    async def restart(self) -> None:
        await super().restart()
        self.terminal = FakeTerminal()


class Script:
    """A stage whose session runs a script."""

    def __init__(self, on: Stage, session: FakeScript) -> None:
        self.on, self.session, self.screen = on, session, on.screen

    @property
    def terminal(self) -> FakeTerminal:
        return self.session.terminal

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

    async def restarted(self) -> None:
        """Wait until the script runs again and is stopped."""
        await self.on.until(lambda: self.session.restarts == 1 and self.screen.queue.stop.number == 1)
        await self.on.idle()

    async def waits(self) -> None:
        """Have the script wait for input, and the screen notice it."""
        self.terminal.waits = True
        self.screen.script_output._watch()
        self.screen.script_output._watch()
        await self.on.pilot.pause(0)


@asynccontextmanager
async def script(size: tuple[int, int] = (120, 40)) -> AsyncIterator[Script]:
    session = FakeScript()
    async with stage(session, size, opening=[Run("train.py", ("--lr", "0.1"))]) as on:
        yield Script(on, session)


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
async def test_the_keys_that_edit_and_rerun_say_that_a_script_is_neither() -> None:
    async with script() as run:
        for key in ("W", "e"):
            await run.on.press(key)
            assert "a script is never edited or rerun: & holds a copy" in run.screen.footer.said


@in_loop
async def test_a_script_that_runs_on_shows_how_far_it_is_and_how_to_pause_it() -> None:
    async with script() as run:
        await run.on.press("f", "3")
        stop = run.screen.status.stop
        points = (LossPoint(1, 0, 5.0), LossPoint(2, 311, 0.25))
        running = Running(replace(stop, iteration=312, loss=0.25), LossView(stop.number, points, 2))
        await run.runs_on()
        run.session.on_event(running)
        await run.on.pilot.pause(0)
        text = run.on.text()
        assert "train.py is running: iteration 312, loss 0.2500. esc pauses it." in text
        assert "iteration 312" in run.on.rows()[0]
        assert "forward 2, iteration 311" in text
        run.session.gate.set()
        await run.on.idle()
        assert "is running" not in run.on.text()
        run.session.on_event(running)  # it was under way when the script stopped
        assert run.screen.status.stop.iteration != 312


@in_loop
async def test_the_terminal_has_the_size_of_the_panel() -> None:
    async with script() as run:
        await run.on.press("exclamation_mark", "m")
        panel = run.screen.output
        assert run.terminal.sizes[-1] == (panel.size.width - 2, panel.body)
        assert panel.size.width == 120


@in_loop
async def test_a_terminal_has_a_size_before_its_panel_was_ever_visible() -> None:
    async with script((80, 24)) as run:
        assert run.terminal.sizes == [(80, 24)]


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


@in_loop
async def test_a_script_that_has_ended_is_looked_at_and_not_run_on() -> None:
    async with script() as run:
        await run.on.press("f", "c")
        assert "ended with exit code 0" in run.on.rows()[0]
        executed = len(run.session.executed)
        await run.on.press("f")
        assert run.screen.footer.said == "train.py ended with exit code 0: R runs it again"
        await run.on.press("2")
        assert len(run.session.executed) == executed
        assert "R run again" in run.on.rows()[-1]
        assert "space" not in run.on.rows()[-1]


@in_loop
async def test_R_runs_the_script_again_with_its_breakpoints_and_arguments() -> None:
    async with script() as run:
        run.prints("the first run")
        await run.on.press("f", "b", "f")
        for line in ("break when loss < 1", "watch loss", "show 2.weight"):
            run.screen.typing.given(line)
        await run.on.idle()
        before = run.terminal
        await run.on.press("R")
        assert "end train.py and run it again? R again does it" in run.screen.footer.said
        assert run.session.restarts == 0
        await run.on.press("R")
        await run.restarted()
        again = [line_of(each) for each in run.session.executed[-4:]]
        assert again == ["break when loss < 1", "run train.py --lr 0.1", "watch loss", "show 2.weight"]
        assert run.screen.output.terminal is not before
        text = run.on.text()
        assert "the first run" in text
        assert "run again" in text


@in_loop
async def test_R_asks_nothing_of_a_script_that_has_ended() -> None:
    async with script() as run:
        await run.on.press("c", "R")
        await run.restarted()
        assert line_of(run.session.executed[-1]) == "run train.py --lr 0.1"


@in_loop
async def test_how_a_script_died_is_said_and_its_last_stop_stays() -> None:
    async with script() as run:
        await run.on.press("f", "b")
        await run.runs_on()
        run.session.dead = "killed by SIGKILL"
        run.session.on_event(Output("last words"))
        run.session.on_event(Died("killed by SIGKILL"))
        run.session.gate.set()
        await run.on.until(lambda: bool(run.screen.queue.dead) and not run.screen.queue.busy)
        await run.on.until(lambda: "R runs it again with the same breakpoints" in run.on.text())
        text = run.on.text()
        assert "train.py was killed by SIGKILL." in text
        assert "2.weight.grad" in text
        assert "last words" in text
        assert "process gone" in run.on.rows()[0]
        await run.on.press("f")
        assert run.screen.footer.said == "the script has ended: R runs it again"
        await run.on.press("8")
        await run.on.press("m")
        assert "The script's process is gone: stop 3 was not loaded here before." in run.on.text()
        await run.on.press("R")
        await run.restarted()
        assert "killed" not in run.on.text().replace("✗", "")[:300]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("ended with exit code 3", "train.py ended with exit code 3 without a normal exit, as os._exit does"),
        ("segmentation fault (SIGSEGV)", "train.py died: segmentation fault (SIGSEGV)"),
        ("closed gradstep's socket", "train.py closed gradstep's socket"),
    ],
)
def test_the_words_for_a_death(how: str, words: str) -> None:
    @in_loop
    async def test() -> None:
        async with script() as run:
            run.session.on_event(Died(how))
            await run.on.pilot.pause(0)
            assert words in run.on.text()

    test()


@in_loop
async def test_keys_and_help_say_what_they_do_to_a_script() -> None:
    async with script((160, 50)) as run:
        await run.on.press("f")
        assert "next iteration" in run.on.rows()[-1]
        assert "space  " not in run.on.rows()[1]
        await run.on.press("question_mark")
        pages = ""
        for _ in range(10):
            pages += " ".join(run.on.text().split())
            await run.on.press("pagedown")
        assert "It cannot be run backward: T shows the recorded stops" in pages
