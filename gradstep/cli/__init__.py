"""The command line: turns arguments into a session and a front end. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence

from gradstep.cli import plain
from gradstep.cli.arguments import WRONG
from gradstep.cli.run import run
from gradstep.cli.screen import open_screen
from gradstep.values.errors import GradstepError

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `gradstep` with arguments (by default those of this process); return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = _COMMANDS.get(given[0]) if given else None
        return open_screen(given, _COMMANDS) if command is None else command(given[1:])
    except GradstepError as error:
        print(f"gradstep: {_text(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `gradstep examples | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _text(error: GradstepError) -> str:
    """Return the title, what happened and the remedy on separate lines; the faults of a script unchanged."""
    problem = error.problem
    if type(error) is not GradstepError:
        return str(error)
    wrap = textwrap.TextWrapper(
        width=max(40, min(100, shutil.get_terminal_size().columns - 1)),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    paragraphs = [text for part in (problem.what, problem.remedy) for text in part.splitlines()]
    return "\n".join([problem.title, *map(wrap.fill, paragraphs)])


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "examples": plain.examples,
    "run": run,
    "checks": plain.checks,
    "replay": plain.replay,
    "diff": plain.diff,
    "template": plain.template,
    "keys": plain.keys,
    "help": plain.help,
}
