"""`gradstep replay FILE...`: run scripts headless in this process, and report."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradstep.steps.headless import Draw, Headless, session_for
from gradstep.steps.jsonlines import JsonLines
from gradstep.steps.language.faults import ScriptError
from gradstep.steps.language.parse import read_script
from gradstep.steps.language.script import Script, StepsLine
from gradstep.steps.page import Camera, Page
from gradstep.steps.report import failure_text, stop_text
from gradstep.steps.runner import Failure
from gradstep.values import numbers
from gradstep.values.commands import HISTORY, Let, Say, Set
from gradstep.values.numbers import count
from gradstep.values.outcomes import Outcome, Problem

if TYPE_CHECKING:
    from gradstep.session.local import Session

Carried = Callable[[StepsLine, Outcome], None]
Film = Callable[["Session", tuple[int, int]], Camera]
"""Returns a camera on a session's screen, options its columns and rows."""

EXIT = {"expectation": 1, "wrong": 2, "raised": 3, "interrupted": 130}
"""Exit codes by the kind of problem that ended a replay; 0 when all expectations held."""


def replay(
    paths: Sequence[str],
    *,
    json: bool = False,
    screenshot: str | None = None,
    html: str | None = None,
    size: tuple[int, int] = (120, 40),
    device: str | None = None,
    seed: int | None = None,
    draw: Draw | None = None,
    film: Film | None = None,
    history: int = HISTORY,
    history_offload: bool = False,
) -> int:
    """Run each script in its own session and return the highest exit code.

    Results go to standard output, faults and progress to standard error. With `json`, standard output has one object
    per line and nothing else: the debuggee's output goes to standard error.

    Args:
        paths: the script files.
        json: print an object for each command, see `gradstep.steps.jsonlines`.
        screenshot: where to draw the final screen; None for no screenshot.
        html: where to write the replay as a page to step through; None for no page.
        size: columns and rows of the screenshots, and of the screen on that page.
        device: overrides the device of each script's `load`.
        seed: overrides its seed.
        draw: draws a screenshot; passed in, for this package never imports textual.
        film: makes the camera for the page.
        history: memory budget of the history, in bytes.
        history_offload: whether to keep the history of a model on a GPU in host memory.
    """
    read = [_read(path) for path in paths]
    scripts = [script for script in read if script is not None]
    code = 0 if len(scripts) == len(read) else EXIT["wrong"]
    options = _Options(json, screenshot, html, size, device, seed, draw, film, history, history_offload)
    try:
        for script in scripts:
            code = max(code, _replay(script, options))
            if code == EXIT["interrupted"]:
                break
        sys.stdout.flush()
    except BrokenPipeError:  # as in `gradstep replay | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return code


def _read(path: str) -> Script | None:
    try:
        return read_script(path)
    except ScriptError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return None


class _Options(NamedTuple):
    """The options of the command line."""

    json: bool
    screenshot: str | None
    html: str | None
    size: tuple[int, int]
    device: str | None
    seed: int | None
    draw: Draw | None
    film: Film | None
    history: int
    offload: bool


def _replay(script: Script, options: _Options) -> int:
    """Run one script, print its output and a closing line, and return its exit code."""
    began = time.perf_counter()
    progress = _Progress()
    session: Session | None = None
    run: Headless | None = None
    camera: Camera | None = None
    page: Page | None = None
    try:
        progress.say("importing torch")
        session = session_for(script, options.history, options.offload, progress.say)
        run = Headless(
            script,
            session,
            draw=options.draw,
            size=options.size,
            seed=options.seed,
            device=options.device,
            observed=options.json or options.screenshot is not None or options.html is not None,
        )
        listeners = [JsonLines(session, sys.stdout).carried if options.json else _Printer(progress).carried]
        if options.html is not None and options.film is not None:
            camera = options.film(session, options.size)
            page = Page(run, camera, options.size)
            listeners.append(page.carried)
        ticker = _Ticker(run, progress, listeners)
        with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
            run.run(ticker.carried)
            if run.failure is not None and not run.observed and _may_be_named(run.failure.problem):
                progress.say("running it again, observed, to find the cause")
                run.failure = _watched_again(script, options, run.failure)
            ended = _end(script, run, options, page, progress)
    except KeyboardInterrupt:
        ended = EXIT["interrupted"]
    finally:
        progress.clear()
        if camera is not None:
            camera.close()
    closing = _closing(script, run, ended, time.perf_counter() - began)
    print(closing, file=sys.stderr if options.json else sys.stdout)
    if session is not None:
        session.close()
    return ended


_UNNAMED = ("modified by an inplace operation", "backward through the graph a second time")
"""Torch errors whose cause only an observed session can name."""


def _may_be_named(problem: Problem) -> bool:
    return problem.kind == "raised" and any(words in problem.what for words in _UNNAMED)


def _watched_again(script: Script, options: _Options, failure: Failure) -> Failure:
    """Run a failed script once more, observed; return its more detailed failure, if it fails at the same line.

    For speed, a replay records nothing that only an error report needs; the second run does.
    """
    session = session_for(script, options.history, options.offload)
    run = Headless(script, session, seed=options.seed, device=options.device, observed=True, lines=True)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        again = run.run(lambda *_: None)
    session.close()
    return again if again is not None and again.number == failure.number else failure


def _end(script: Script, run: Headless, options: _Options, page: Page | None, progress: _Progress) -> int:
    """Report a failure, draw the final screenshot, write the page, and return the exit code."""
    progress.clear()
    code = 0
    if run.failure is not None:
        code = EXIT[run.failure.problem.kind]
        print(failure_text(script, run.failure), file=sys.stderr)  # noqa: T201
    if options.screenshot is not None:
        problem = run.draw(options.screenshot)
        if problem is not None:
            print(f"{problem.title}: {problem.what}", file=sys.stderr)  # noqa: T201
            code = max(code, 2)
    if page is not None and options.html is not None:
        try:
            page.write(options.html)
        except OSError as error:
            print(f"the page cannot be written: {options.html}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
            code = max(code, 2)
    return code


def _closing(script: Script, run: Headless | None, code: int, seconds: float) -> str:
    if run is None:
        return f"{script.path}: interrupted before the first command"
    stop = run.stop
    counts = [count(run.commands, "command"), f"{count(run.held, 'expectation')} held"]
    if code == EXIT["expectation"]:
        counts.append("1 failed")
    counts.append(count(stop.iteration, "iteration"))
    counts += [f"loss {numbers.loss(stop.loss)}"] if stop.loss is not None else []
    line = run.failure.number if run.failure is not None else run.runner.line.number if run.runner.line else 0
    how = {0: "ok", 130: f"interrupted at line {line}"}.get(code, f"stopped at line {line}" if line else "failed")
    return f"{script.path}: {how}: {', '.join(counts)}, {seconds:.1f} s"


class _Printer:
    """Prints narration, output, watchpoint hits and breakpoint stops of a script."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        self._stopped = 0
        """The number of the last stop printed."""
        self._printed = self._narrates = False
        """Whether anything was printed; whether the last command was narration."""

    def carried(self, line: StepsLine, outcome: Outcome) -> None:
        """Print the outcome of one command."""
        command = outcome.command
        if isinstance(command, Say):
            self._narrate(command.text)
            return
        self._narrates = False
        if not outcome.text and not outcome.watches and not outcome.stop.hit:
            return
        if outcome.text and not isinstance(command, (Let, Set)):
            self._print(f"{line.text}\n{outcome.text}")
        for hit in outcome.watches:
            self._print(f"watchpoint {hit.number}: {hit.line}\n  before {hit.before}\n  after  {hit.after}")
        stop = outcome.stop
        if stop.hit and stop.number != self._stopped:
            self._stopped = stop.number
            self._print(f"line {line.number}: {stop_text(stop)}")

    def _narrate(self, text: str) -> None:
        """Print narration, with an empty line before a new text or a heading."""
        from gradstep.steps.narration import rendered

        gap = self._printed and (not self._narrates or text.startswith("#"))
        self._print("\n" * gap + rendered(text))
        self._narrates = True

    def _print(self, text: str) -> None:
        self._progress.clear()
        self._printed = True
        print(text)  # noqa: T201


class _Ticker:
    """Passes outcomes on, and shows the progress of a long replay."""

    def __init__(self, run: Headless, progress: _Progress, listeners: Sequence[Carried]) -> None:
        self._run, self._progress, self._listeners = run, progress, listeners
        self.carried: Carried = self._watched if progress.on or len(listeners) > 1 else listeners[0]

    def _watched(self, line: StepsLine, outcome: Outcome) -> None:
        for carried in self._listeners:
            carried(line, outcome)
        if time.perf_counter() >= self._progress.due:
            stop, runner = outcome.stop, self._run.runner
            number = runner.line.number if runner.line is not None else line.number
            turn = "".join(f" turn {done:,} of {count:,}" for done, count in runner.turns[:1])
            loss = f", loss {numbers.loss(stop.loss)}" if stop.loss is not None else ""
            self._progress.say(f"line {number}{turn}, {count(self._run.commands, 'command')}{loss}")


class _Progress:
    """A progress line on standard error, overwritten in place; nothing when that is not a terminal."""

    EVERY = 0.25

    def __init__(self) -> None:
        self.on = sys.stderr is not None and sys.stderr.isatty()
        self.due = time.perf_counter() + 2 * self.EVERY
        self._shown = False

    def say(self, text: str) -> None:
        """Overwrite the line."""
        if self.on:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
            sys.stderr.write(f"\r\x1b[K{text[: width - 1]}")
            sys.stderr.flush()
            self._shown = True
            self.due = time.perf_counter() + self.EVERY

    def clear(self) -> None:
        """Erase the line."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False
