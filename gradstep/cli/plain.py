"""The commands of the command line that open no screen."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import gradstep
from gradstep.cli.arguments import (
    WRONG,
    add_device_and_seed,
    add_history,
    add_look,
    add_offload,
    device,
    dtype,
    parser_of,
    size,
    tolerance,
    two,
)
from gradstep.cli.screen import open_screen
from gradstep.values.errors import wrong

if TYPE_CHECKING:
    from gradstep.session.local import Session
    from gradstep.tui.film import Film


def examples(given: list[str]) -> int:
    """`gradstep examples`."""
    parser_of("gradstep examples", "List the built-in examples; `gradstep NAME` opens one.").parse_args(given)
    from gradstep.examples import EXAMPLES

    width = max(map(len, EXAMPLES))
    for name, line in EXAMPLES.items():
        print(f"{name:<{width}}  {line}")
    return 0


def replay(given: list[str]) -> int:
    """`gradstep replay`."""
    parser = parser_of(
        "gradstep replay",
        "Run scripts without a screen. Exit code 0: every expectation held; 1: one did not; 2: a script is wrong; "
        "3: the debuggee raised; 130: it was interrupted. Of several scripts, the highest.",
    )
    parser.add_argument("files", metavar="FILE.steps", nargs="+", help="the scripts, each in a session of its own")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each command carried out")
    parser.add_argument("--screenshot", metavar="OUT.svg", help="draw the screen at the end of the script")
    parser.add_argument("--html", metavar="FILE.html", help="write the replay as a page to step through in a browser")
    add_look(parser, "learn", "dark")
    parser.add_argument(
        "--size",
        type=size,
        default=(120, 40),
        metavar="COLUMNSxROWS",
        help="of a drawn screen, unless its `screenshot` line has a size, and of the page (default: 120x40)",
    )
    add_device_and_seed(parser, "as each load line says", "as each load line says")
    add_history(parser)
    add_offload(parser)
    options = parser.parse_args(given)
    if options.screenshot is not None and len(options.files) > 1:
        what = f"{len(options.files)} scripts would draw to {options.screenshot}, each over the one before."
        raise wrong("--screenshot takes one script", what, "End each script with a `screenshot` line of its own.")
    if options.html is not None:
        _check_page(options.html, options.files)
    sys.path.append(os.getcwd())
    from gradstep.steps import replay as scripts

    return scripts.replay(
        options.files,
        json=options.json,
        screenshot=options.screenshot,
        html=options.html,
        size=options.size,
        device=options.device,
        seed=options.seed,
        draw=partial(_draw, options.layout, options.theme),
        film=partial(_film, options.layout, options.theme),
        history=options.history,
        history_offload=options.history_offload,
    )


def _draw(layout: str | None, theme: str | None, session: Session, path: str, size: tuple[int, int]) -> None:
    """Draw a screenshot, however the screen of this user looks; only this needs textual."""
    from gradstep.session.transport.inline import InlineSession
    from gradstep.tui.picture import draw

    draw(InlineSession(session), path, size, session.log, layout=layout or "learn", theme=theme or "dark")


def _film(layout: str | None, theme: str | None, session: Session, size: tuple[int, int]) -> Film:
    """Show a session on a screen, however the screen of this user looks."""
    from gradstep.session.transport.inline import InlineSession
    from gradstep.tui.film import Film
    from gradstep.tui.layout.remembered import Look

    return Film(InlineSession(session), size, Look(layout=layout or "learn", theme=theme or "dark"))


def _check_page(path: str, scripts: list[str]) -> None:
    if len(scripts) > 1:
        what = f"{len(scripts)} scripts would be written to {path}, each over the one before."
        raise wrong("--html takes one script", what, "Write a page for each of them.")
    if not path.endswith((".html", ".htm")):
        raise wrong("--html takes a .html file", path, f"Write --html {path}.html.", path)
    if not Path(path).absolute().parent.is_dir():
        raise wrong("the folder of the page does not exist", path, "Make the folder first.", path)


def diff(given: list[str]) -> int:
    """`gradstep diff`."""
    parser = parser_of(
        "gradstep diff",
        "Run two scripts side by side and name the first command, tensor and module or node at which they part; or one "
        "script against itself, on two devices or in two dtypes; or say in what two saved states differ. "
        "Exit code 0: they do not; 1: they do; 2: something given is wrong.",
    )
    parser.add_argument("first", metavar="A", help="a script FILE.steps, or a state FILE.safetensors")
    parser.add_argument("second", metavar="B", nargs="?", help="what it is compared with; a script, itself unless told")
    parser.add_argument(
        "--device", type=two(device), metavar="D[,D]", help="in place of what the scripts load on: cpu,cuda"
    )
    parser.add_argument(
        "--dtype", type=two(dtype), metavar="T[,T]", help="cast the same weights and batches: float32,float64"
    )
    parser.add_argument(
        "--rtol",
        type=tolerance,
        metavar="R",
        help="let |b - a| <= atol + rtol * |a| pass. Unless told: nothing, and between devices or dtypes what "
        "torch.testing.assert_close lets pass for them",
    )
    parser.add_argument("--atol", type=tolerance, metavar="A", help="0 where only --rtol is given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_history(parser)
    options = parser.parse_args(given)
    saved = options.first.endswith(".safetensors")
    if saved and (options.second is None or options.device or options.dtype):
        what = "It is compared with nothing." if options.second is None else "--device or --dtype was given with it."
        remedy = "Name two saved states; devices and dtypes are of scripts, which are run."
        raise wrong("a saved state is only read", what, remedy, options.first)
    sys.path.append(os.getcwd())
    from gradstep.steps import diff as sides
    from gradstep.values.differences import Tolerance

    told = options.rtol is not None or options.atol is not None
    return sides.diff(
        (options.first, options.second or options.first),
        devices=options.device or (None, None),
        dtypes=options.dtype or ("", ""),
        tolerance=Tolerance(options.rtol, options.atol) if told else None,
        history=options.history,
        as_json=options.json,
    )


def template(given: list[str]) -> int:
    """`gradstep template`."""
    parser = parser_of("gradstep template", "Print a file with a workload to start from, or write it.")
    parser.add_argument("file", metavar="FILE.py", nargs="?", help="where to write it; never over a file that is there")
    path = parser.parse_args(given).file
    text = Path(gradstep.__file__).with_name("template.py").read_text("utf-8").replace("FILE.py", path or "FILE.py")
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


def keys(given: list[str]) -> int:
    """`gradstep keys`."""
    parser = parser_of(
        "gradstep keys",
        "Print every key in the format of keys.toml, which binds them anew; it lies in $XDG_CONFIG_HOME/gradstep, by "
        "default ~/.config/gradstep. Exit code 2: something in that file is wrong.",
    )
    parser.parse_args(given)
    from gradstep.tui.keys.keys_file import keys_path, keys_text, read_keyboard

    keyboard, faults = read_keyboard(keys_path())
    print(keys_text(keyboard), end="")
    for fault in faults:
        print(f"gradstep: {fault}", file=sys.stderr)
    return WRONG if faults else 0


def help(given: list[str]) -> int:
    """`gradstep help`."""
    parser = parser_of("gradstep help", "Print the options of gradstep, or the language of its scripts.")
    parser.add_argument("topic", nargs="?", choices=["steps"], help="steps: the language of .steps scripts")
    if parser.parse_args(given).topic is None:
        return open_screen(["--help"], ())
    from gradstep.steps import help_text

    print(help_text(), end="")
    return 0
