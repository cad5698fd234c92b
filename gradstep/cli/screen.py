"""`gradstep TARGET`: turns arguments into a session with a screen."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from gradstep import __version__
from gradstep.cli.arguments import (
    add_checks,
    add_device_and_seed,
    add_history,
    add_history_time,
    add_look,
    add_offload,
    add_python,
    breakpoint_of,
    parser_of,
)
from gradstep.targets import check_script
from gradstep.values.commands import Run
from gradstep.values.errors import wrong
from gradstep.values.nearest import did_you_mean

COMMANDS = """\
Options go before the script; everything after it is passed to the script.
  gradstep train.py --lr 0.1     step through a training script
  gradstep -m pkg.train --lr 0.1 step through a module, as `python -m` runs it

also:
  gradstep examples              list the built-in examples
  gradstep run SCRIPT.py         run a training script headless, with a report
  gradstep checks [RULE]         list the checks, or explain one
  gradstep replay FILE.steps ... run .steps scripts without a screen
  gradstep diff A [B]            find where runs or saved states diverge
  gradstep template [FILE.py]    print or write a template of a workload
  gradstep keys                  print the key bindings, as in keys.toml
  gradstep help steps            print the reference of the .steps language
`gradstep COMMAND --help` lists the options of each.
"""


def open_screen(given: list[str], words: Iterable[str]) -> int:
    """Open the screen; `words` are the commands to suggest for a misspelled one."""
    parser = parser_of("gradstep", "Step through PyTorch training, one key per phase.", COMMANDS)
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="a training script SCRIPT.py, or -m MODULE, with its own arguments after it; an example's name (default: "
        "mlp); a workload's factory FILE.py:factory or pkg.module:factory; or a .steps script FILE.steps",
    )
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    add_device_and_seed(parser)
    add_python(parser)
    parser.add_argument("--record", metavar="FILE.steps", help="record the session as a new script")
    add_look(parser, "the last one used", "the last one used")
    parser.add_argument("--no-unicode", action="store_true", help="draw with ASCII only")
    add_history(parser)
    add_history_time(parser)
    add_offload(parser)
    parser.add_argument(
        "--break",
        action="append",
        default=[],
        dest="breaks",
        metavar="WHERE",
        help="set a breakpoint: a condition such as 'iteration == 312', or nan, train.py:41, module 0, ...",
    )
    add_checks(parser)
    parser.add_argument("--last", action="store_true", help="reopen the last session, in place of a TARGET")
    parser.add_argument("--version", action="version", version=f"gradstep {__version__}")
    before, run = split_at_script(parser, given)
    options = parser.parse_args(before)
    if options.more:
        offer = did_you_mean(options.target, words)
        remedy = offer or "Give one TARGET. A factory takes no arguments."
        raise wrong(f"{options.more[0]} is one argument too many", f"It came after {options.target}.", remedy)

    if run is not None:
        _check_last(options, run.target)
        if options.seed is not None or options.device is not None:
            what = "--seed or --device was given with it."
            raise wrong("a training script sets its own seed and device", what, "Set them in its own arguments.")
        from gradstep.cli.interpreter import python_for

        options.python, notice = python_for(options.python, run)
        _check_record(options.record)
        _check_terminal()
        return _show(options, run=run, notice=notice)
    script = _script_of(options)
    if options.last and script is not None:
        _go_to_last(script, options)
    notice = ""
    if options.python is not None:
        if script is None or not _run_line(script):
            raise wrong("--python takes a training script", "A workload runs on gradstep's own interpreter.")
        from gradstep.cli.interpreter import check_python

        options.python, notice = check_python(options.python)
    target = options.target or "mlp"
    if script is None:
        _check(target)
    _check_record(options.record)
    _check_terminal()
    return _show(options, target, script, notice=notice)


def _check_last(options: argparse.Namespace, target: str | None) -> None:
    if options.last and target is not None:
        raise wrong("--last takes no TARGET", f"{target} was given with it.", "Give one of the two.")


def _script_of(options: argparse.Namespace) -> str | None:
    """Return the script to open; None for any other target."""
    path = options.target
    if options.last:
        _check_last(options, path)
        from gradstep.tui.commands.last import last_session

        path = str(last_session())
        if not Path(path).is_file():
            raise wrong("there is no last session", f"{path} does not exist.", "Quitting a session writes it.")
    elif path is None or not path.endswith(".steps"):
        return None
    elif not Path(path).is_file():
        raise wrong(f"{path}: no such file", "", "", path)
    if options.seed is not None or options.device is not None:
        raise wrong(
            "a script sets its own seed and device",
            f"--seed or --device was given with {'--last' if options.last else path}.",
            f"Set them in its load line, or use `gradstep replay {path}`, which takes both.",
        )
    return str(path)


def _run_line(path: str) -> str:
    """Return the line of a .steps script that runs a training script; empty where it loads a workload.

    It is read without its parser, which is slow.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        first = next((line for line in file if line.strip() and line.split(maxsplit=1)[0] in ("load", "run")), "")
    return first if first.split(maxsplit=1)[:1] == ["run"] else ""


def _go_to_last(script: str, options: argparse.Namespace) -> None:
    """Use the working directory and the interpreter of the last session, if it ran a training script.

    Raises:
        GradstepError: the directory no longer exists.
    """
    from gradstep.steps.record import PYTHON

    words = shlex.split(_run_line(script))
    if words[1:2] == ["-C"]:
        try:
            os.chdir(words[2])
        except OSError as error:
            raise wrong("the folder of the last session cannot be used", f"{words[2]}: {error.strerror}.") from error
    text = Path(script).read_text(encoding="utf-8", errors="replace")
    named = next((line.removeprefix(PYTHON) for line in text.splitlines() if line.startswith(PYTHON)), None)
    options.python = options.python or named


def _check(target: str) -> None:
    from gradstep.targets import check_target

    sys.path.append(os.getcwd())  # for pkg.module:factory; last, where it shadows nothing
    check_target(target)


def _check_record(path: str | None) -> None:
    if path is None:
        return
    if not path.endswith(".steps"):
        raise wrong("--record takes a .steps file", path, f"Write --record {path}.steps.", path)
    if Path(path).exists():
        raise wrong("the file to record to already exists", path, "Give another name, or delete it first.", path)
    if not Path(path).absolute().parent.is_dir():
        raise wrong("the folder to record to does not exist", path, "Create the folder first.", path)


def _check_terminal() -> None:
    name = os.environ.get("TERM", "")
    if name in ("", "dumb"):
        why = f"TERM is {name or 'not set'}: this terminal cannot draw a screen."
    else:
        # the screen is drawn on standard error, but its size is that of standard output
        streams = {"Standard input": sys.stdin, "Standard output": sys.stdout, "Standard error": sys.stderr}
        none = next((name for name, stream in streams.items() if not stream.isatty()), None)
        if none is None:
            return
        why = f"{none} is not a terminal."
    raise wrong("the screen needs a terminal", why, "Without one, run scripts with `gradstep replay FILE.steps`.")


def split_at_script(parser: argparse.ArgumentParser, given: list[str]) -> tuple[list[str], Run | None]:
    """Return the options before a training script, and the script with everything after it.

    Raises:
        GradstepError: there is no such script, or it is not valid Python.
    """
    place = 0
    while place < len(given):
        word = given[place]
        action = parser._option_string_actions.get(word)
        if word == "-m" and place + 1 < len(given):
            return given[:place], Run(given[place + 1], tuple(given[place + 2 :]), True)
        if action is not None:
            place += 1 + (action.nargs is None)
        elif word.startswith("-"):
            place += 1
        elif word.endswith(".py") or (Path(word) / "__main__.py").is_file():
            if not any(each.startswith("--python") for each in given[:place]):  # another one may have another grammar
                check_script(word)
            return given[:place], Run(word, tuple(given[place + 1 :]))
        else:
            break
    return given, None


def _show(
    options: argparse.Namespace, target: str = "", script: str | None = None, run: Run | None = None, notice: str = ""
) -> int:
    from gradstep.examples import EXAMPLES
    from gradstep.session.transport.remote import RemoteSession

    # the engine first: it imports torch while the screen imports textual
    runs = run is not None or (script is not None and bool(_run_line(script)))
    session = RemoteSession.spawn(
        options.history, options.history_offload, runs, options.python or "", options.history_time
    )
    try:
        from gradstep.tui.run import run_app

        return run_app(
            session,
            target=target,
            run=run,
            settings=[*map(breakpoint_of, options.breaks), *options.checks],
            notice=notice,
            script=script,
            seed=options.seed,
            device=options.device,
            record=options.record,
            python=options.python or "",
            last=options.last,
            # examples and lessons are for learners
            first="learn" if script is not None or target in EXAMPLES else "inspect",
            layout=options.layout or "",
            theme=options.theme or "",
            ascii_only=options.no_unicode,
        )
    finally:
        session.kill()
