"""What a script can't do that a held workload can, and why nothing that a script does was stepped."""

from __future__ import annotations

from gradstep.engine.problems import printable
from gradstep.engine.script.loop import ScriptLoop, child_time
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.errors import wrong
from gradstep.values.expressions import expression_line

_HOLD = "`hold` copies model, optimizer and batch into a held workload"
_NOT_HERE: dict[type, str] = {
    cmd.NextBatch: "a script takes its batches itself: `next_iteration` runs on to its next iteration",
    cmd.Load: "quit, and name the workload in place of the script",
    cmd.Pause: "`break` stops a script inside a phase; the pause key stops it where it is",
    cmd.Checkpoint: _HOLD,
    cmd.Export: _HOLD,
    cmd.Branch: _HOLD,
}
"""What only a held workload can do besides edits and time travel, each with the remedy."""


def refuse(command: Command) -> None:
    """Raise for what only a held workload can do.

    Raises:
        GradstepError: it goes back in time, edits what is trained, or needs the whole state.
    """
    line, role = cmd.line_of(command), cmd.role_of(command)
    if isinstance(command, cmd.Diff):
        remedy = f"`compare {command.first} {command.second}` shows how two recorded stops differ"
        raise wrong("a script can't be rerun", f"`{line}` reruns commands to find where they diverge", remedy)
    if isinstance(command, cmd.WhoWrote):
        remedy = f"`watch {expression_line(command.what)}` reports each change from here on"
        raise wrong("a script can't be run backwards", f"`{line}` reruns commands", remedy)
    if role == "travel" and not isinstance(command, cmd.Compare):
        raise wrong(
            "a script can't be run backwards",
            f"`{line}` needs a held workload",
            f"Timeline shows the recorded stops; {_HOLD}",
        )
    if role == "edit" or isinstance(command, cmd.Set):
        remedy = f"{_HOLD}, which can be edited"
        raise wrong("a script's state is never edited", f"`{line}` is an edit", remedy)
    if type(command) in _NOT_HERE:
        raise wrong("a script can't do this", f"`{line}` needs a held workload", _NOT_HERE[type(command)])


def trained_nothing(loop: ScriptLoop | None) -> str:
    """Return why nothing that a script does was stepped, in a sentence."""
    if loop is not None and loop.elsewhere:
        return f"It trains on the thread {printable(loop.elsewhere)}, and gradstep steps the main thread only."
    if loop is not None and child_time() > loop.child_time:
        return "No backward was seen: it ran as `python` runs it. Its child processes are not stepped."
    return "No backward was seen: it ran as `python` runs it."
