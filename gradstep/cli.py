"""The command line: arguments become a session and a front end. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep import __version__
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.nearest import did_you_mean
from gradstep.values.numbers import read_bytes
from gradstep.values.travels import HISTORY

if TYPE_CHECKING:
    from gradstep.session.local import Session

WRONG = 2
"""Exit code for a command line or a script that is wrong."""
INTERRUPTED = 130

LAYOUTS = ("learn", "inspect", "train")
THEMES = ("dark", "light", "high-contrast")
"""By name, because their tables are of the screen, which is imported after the engine has been started."""

COMMANDS = """\
also:
  gradstep examples              list the built-in examples
  gradstep replay FILE.steps ... run scripts without a screen; `gradstep replay --help`
  gradstep diff A.steps B.steps  run two scripts side by side, and say where they part
  gradstep template [FILE.py]    write a workload of your own to start from
  gradstep keys                  print every key, in the format of the file that binds them anew
  gradstep help steps            the language of .steps scripts
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `gradstep` with arguments (by default those of this process); return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        run = _COMMANDS.get(given[0]) if given else None
        return _open(given) if run is None else run(given[1:])
    except GradstepError as error:
        print(f"gradstep: {_text(error)}", file=sys.stderr)
        return WRONG
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `gradstep examples | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


# -- the screen --------------------------------------------------------------------------------------------------------
def _open(given: list[str]) -> int:
    parser = _parser("gradstep", "Step through PyTorch training: one key a phase.", COMMANDS)
    parser.add_argument(
        "target",
        metavar="TARGET",
        nargs="?",
        help="an example's name (default: mlp), FILE.py:factory, pkg.module:factory, or a script FILE.steps",
    )
    parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
    _add_device_and_seed(parser)
    parser.add_argument("--record", metavar="FILE.steps", help="write the session as a script when it ends")
    _add_look(parser)
    parser.add_argument("--no-unicode", action="store_true", help="draw with ASCII only")
    _add_history(parser)
    parser.add_argument("--last", action="store_true", help="open the session that was quit last")
    parser.add_argument("--version", action="version", version=f"gradstep {__version__}")
    options = parser.parse_args(given)
    if options.more:
        offer = did_you_mean(options.target, _COMMANDS)
        remedy = offer or "Give one TARGET; a workload that needs arguments takes them from its own file."
        raise wrong(f"{options.more[0]} is one argument too many", f"It came after {options.target}.", remedy)

    script = _script_of(options)
    target = options.target or "mlp"
    if script is None:
        _check(target)
    _check_record(options.record)
    _check_terminal()
    return _show(target, script, options)


def _script_of(options: argparse.Namespace) -> str | None:
    """Return the script to open, if it is one."""
    if options.last:
        if options.target is not None:
            raise wrong("--last takes no TARGET", f"{options.target} was given with it.", "Give one of the two.")
        from gradstep.tui.last import last_session

        path = last_session()
        if not path.is_file():
            raise wrong("there is no last session", f"{path} does not exist.", "It is written when a session is quit.")
        return str(path)
    if options.target is None or not options.target.endswith(".steps"):
        return None
    if not Path(options.target).is_file():
        raise wrong("there is no such script", options.target, "Check the path.", options.target)
    if options.seed is not None or options.device is not None:
        raise wrong(
            "a script says itself what it is seeded with and where it runs",
            f"--seed or --device was given with {options.target}.",
            f"Write it in its load line, or run it with `gradstep replay {options.target}`, which takes both.",
        )
    return str(options.target)


def _check(target: str) -> None:
    from gradstep.targets import check_target

    sys.path.append(os.getcwd())  # where pkg.module:factory is looked for, last
    check_target(target)


def _check_record(path: str | None) -> None:
    if path is None:
        return
    if not path.endswith(".steps"):
        raise wrong("--record takes a .steps file", path, f"Write --record {path}.steps.", path)
    if Path(path).exists():
        raise wrong("the file to record to is there already", path, "Give another name, or delete it first.", path)
    if not Path(path).absolute().parent.is_dir():
        raise wrong("the folder to record to does not exist", path, "Make the folder first.", path)


def _check_terminal() -> None:
    name = os.environ.get("TERM", "")
    if name in ("", "dumb"):
        why = f"TERM is {name or 'not set'}, and such a terminal cannot draw a screen."
    else:
        # the screen is drawn on standard error, but its size is that of standard output
        streams = {"Standard input": sys.stdin, "Standard output": sys.stdout, "Standard error": sys.stderr}
        none = next((name for name, stream in streams.items() if not stream.isatty()), None)
        if none is None:
            return
        why = f"{none} is no terminal."
    raise wrong("the screen needs a terminal", why, "Without one, run scripts with `gradstep replay FILE.steps`.")


def _show(target: str, script: str | None, options: argparse.Namespace) -> int:
    from gradstep.examples import EXAMPLES
    from gradstep.session.remote import RemoteSession

    # the engine first: it imports torch while the screen imports textual
    session = RemoteSession.spawn(options.history)
    try:
        from gradstep.tui.run import run_app

        return run_app(
            session,
            target=target,
            script=script,
            seed=options.seed,
            device=options.device,
            record=options.record,
            last=options.last,
            # a learner opens what comes with gradstep, and lessons
            first="learn" if script is not None or target in EXAMPLES else "inspect",
            layout=options.layout or "",
            theme=options.theme or "",
            ascii_only=options.no_unicode,
        )
    finally:
        session.kill()


# -- without a screen --------------------------------------------------------------------------------------------------
def _examples(given: list[str]) -> int:
    _parser("gradstep examples", "List the built-in examples; `gradstep NAME` opens one.").parse_args(given)
    from gradstep.examples import EXAMPLES

    width = max(map(len, EXAMPLES))
    for name, line in EXAMPLES.items():
        print(f"{name:<{width}}  {line}")
    return 0


def _replay(given: list[str]) -> int:
    parser = _parser(
        "gradstep replay",
        "Run scripts without a screen. Exit code 0: every expectation held; 1: one did not; 2: a script is wrong; "
        "3: the debuggee raised.",
    )
    parser.add_argument("files", metavar="FILE.steps", nargs="+", help="the scripts, each in a session of its own")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each command carried out")
    parser.add_argument("--screenshot", metavar="OUT.svg", help="draw the screen as it is at the end")
    _add_look(parser)
    parser.add_argument("--size", type=_size, default=(120, 40), metavar="120x40", help="size of the drawn screen")
    _add_device_and_seed(parser)
    _add_history(parser)
    options = parser.parse_args(given)
    sys.path.append(os.getcwd())
    from gradstep.steps.replay import replay

    return replay(
        options.files,
        json=options.json,
        screenshot=options.screenshot,
        size=options.size,
        device=options.device,
        seed=options.seed,
        draw=partial(_draw, options.layout, options.theme),
        history=options.history,
    )


def _draw(layout: str | None, theme: str | None, session: Session, path: str, size: tuple[int, int]) -> None:
    """Draw a screenshot, however the screen of this user looks; only this needs textual."""
    from gradstep.session.inline import InlineSession
    from gradstep.tui.picture import draw

    draw(InlineSession(session), path, size, session.log, layout=layout or "inspect", theme=theme or "dark")


def _diff(given: list[str]) -> int:
    parser = _parser(
        "gradstep diff",
        "Run two scripts side by side and name the first command, tensor and module or node at which they part. "
        "Exit code 0: they do not; 1: they do; 2: a script is wrong.",
    )
    parser.add_argument("first", metavar="A.steps", help="a script")
    parser.add_argument("second", metavar="B.steps", help="what it is compared with; the same one for two devices")
    parser.add_argument("--device-a", type=_device, metavar="DEVICE", help="in place of the device of A's load")
    parser.add_argument("--device-b", type=_device, metavar="DEVICE", help="in place of the device of B's load")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        metavar="T",
        help="of a difference relative to the norm; 0 compares bits",
    )
    _add_history(parser)
    options = parser.parse_args(given)
    sys.path.append(os.getcwd())
    from gradstep.steps.diff import diff

    devices = (options.device_a, options.device_b)
    return diff((options.first, options.second), devices=devices, tolerance=options.tolerance, history=options.history)


def _template(given: list[str]) -> int:
    parser = _parser("gradstep template", "Print a file with a workload to start from, or write it.")
    parser.add_argument("file", metavar="FILE.py", nargs="?", help="where to write it; never over a file that is there")
    path = parser.parse_args(given).file
    text = Path(__file__).with_name("template.py").read_text("utf-8").replace("FILE.py", path or "FILE.py")
    if path is None:
        print(text, end="")
        return 0
    if not path.endswith(".py"):
        raise wrong("the template is a Python file", path, f"Write gradstep template {path}.py", path)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        remedy = "Give another name." if isinstance(error, FileExistsError) else "Check the path."
        raise wrong(f"{path} cannot be written", f"{error.strerror}.", remedy, path) from None
    print(f"{path} is written. Step it with: gradstep {path}:workload")
    return 0


def _keys(given: list[str]) -> int:
    parser = _parser(
        "gradstep keys",
        "Print every key in the format of the file that binds them anew. Exit code 2: something in that file is wrong.",
    )
    parser.parse_args(given)
    from gradstep.tui.remap import keys_path, keys_text, read_keyboard

    keyboard, faults = read_keyboard(keys_path())
    print(keys_text(keyboard), end="")
    for fault in faults:
        print(f"gradstep: {fault}", file=sys.stderr)
    return WRONG if faults else 0


def _help(given: list[str]) -> int:
    parser = _parser("gradstep help", "Explain gradstep, or the language of its scripts.")
    parser.add_argument("topic", nargs="?", choices=["steps"], help="steps: the language of .steps scripts")
    if parser.parse_args(given).topic is None:
        return main(["--help"])
    from gradstep.steps import help_text

    print(help_text(), end="")
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "examples": _examples,
    "replay": _replay,
    "diff": _diff,
    "template": _template,
    "keys": _keys,
    "help": _help,
}


# -- arguments ---------------------------------------------------------------------------------------------------------
def _parser(program: str, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter
    return argparse.ArgumentParser(program, description=about, epilog=epilog, formatter_class=raw, allow_abbrev=False)


def _add_device_and_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=_device, help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--seed", type=_seed, metavar="N", help="seed torch, python and numpy, then build the workload")


def _add_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layout", choices=LAYOUTS, help="how the panels are laid out (default: as chosen last)")
    parser.add_argument("--theme", choices=THEMES, help="the colours (default: as chosen last)")


def _add_history(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--history", type=_history, default=HISTORY, metavar="1GiB", help="memory to go back in time with, or off"
    )


def _history(text: str) -> int:
    try:
        return read_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device: use auto, cpu, cuda, cuda:N or mps")
    return text


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: use a whole number from 0 to 2**64 - 1")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    if not found or int(found[1]) < 20 or int(found[2]) < 5:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: use COLUMNSxROWS, at least 20x5, such as 120x40")
    return int(found[1]), int(found[2])


def _text(error: GradstepError) -> str:
    """Return title, what happened and remedy on lines of their own; a script's faults as they are."""
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
