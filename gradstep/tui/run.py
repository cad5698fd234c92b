"""Run the screen in this terminal until it is quit; used by the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress

from gradstep.session.protocol import FrontSession
from gradstep.steps.record import Recorder, save
from gradstep.tui.app import GradstepApp
from gradstep.tui.commands.last import keep
from gradstep.tui.keys.keys_file import keys_path, read_keyboard
from gradstep.tui.layout.preferences import Appearance, preferences_path, read_preferences, save_preferences
from gradstep.tui.render.glyphs import wants_ascii
from gradstep.values.commands import Command, Load, Run
from gradstep.values.outcomes import Outcome

SEED = 0
"""The default seed: without one a session could not be replayed."""


def run_app(
    session: FrontSession,
    *,
    target: str = "",
    run: Run | None = None,
    settings: Sequence[Command] = (),
    notice: str = "",
    script: str | None = None,
    seed: int | None = None,
    device: str | None = None,
    record: str | None = None,
    python: str = "",
    last: bool = False,
    first: str = "inspect",
    layout: str = "",
    theme: str = "",
    ascii_only: bool = False,
) -> int:
    """Run the screen and return its exit code: 0, 128 + n after signal n, 1 after an internal error.

    Args:
        session: the session to step; it stays open.
        target: the workload to load; empty for a session that already holds one.
        run: the training script to run instead.
        settings: breakpoints and checks to begin with.
        notice: what to say at the start; empty for nothing.
        script: the path of a `.steps` script to step through instead.
        seed: the seed of the workload.
        device: the device of the workload.
        record: the path of a script to record the session to.
        python: the interpreter of a training script; empty for gradstep's own.
        last: whether the script is a saved session, which is replayed at once, not stepped through.
        first: the layout for a user who never chose one.
        layout: overrides the stored layout; empty to keep it.
        theme: overrides the stored theme; empty to keep it.
        ascii_only: draw with ASCII only, even on a UTF-8 terminal.

    Raises:
        GradstepError: the script is wrong.
    """
    opened = None
    if script is not None:
        from gradstep.steps.language.parse import read_script

        opened = read_script(script)
    load = Load(target, SEED if seed is None else seed, device or "auto")
    opening: list[Command] = [load, *settings] if target and script is None else []
    if run is not None:
        opening = [*settings, run]
    recorder = Recorder(record) if record is not None else None

    def on_outcome(outcome: Outcome) -> None:
        if recorder is not None:
            for command in outcome.carried_out:
                recorder.add(command)

    script_to_step, resumed = (None, opened) if last else (opened, None)
    preferences, wrong = read_preferences(preferences_path())
    appearance = Appearance(
        layout=layout or preferences.layout or first,
        theme=theme or preferences.theme or "dark",
        ascii_only=ascii_only or wants_ascii(),
        preferences=preferences,
        save=save_preferences,
    )
    keyboard, faults = read_keyboard(keys_path())
    app = GradstepApp(
        session,
        opening,
        script_to_step,
        on_outcome=on_outcome,
        signals=True,
        resumed=resumed,
        keyboard=keyboard,
        appearance=appearance,
    )
    app.step_screen.opening.show_faults([*faults, *filter(None, [wrong, notice])])
    try:
        app.run()
    finally:
        _write(app.step_screen.queue.history, recorder, python, app.step_screen.opening.whole)
    return app.return_code or 0


def _write(history: Sequence[Command], recorder: Recorder | None, python: str, whole: bool) -> None:
    """Save the session, and rewrite its recording with repeats folded."""
    if whole:
        if keep(history, python):
            print("the session is saved: `gradstep --last` reopens it", file=sys.stderr)  # noqa: T201
    else:
        print("the last session was not replayed to its end: its saved file is unchanged", file=sys.stderr)  # noqa: T201
    if recorder is not None:
        recorder.close()
        with suppress(OSError):
            save(recorder.path, history, python)
        print(f"recorded {recorder.path}", file=sys.stderr)  # noqa: T201
