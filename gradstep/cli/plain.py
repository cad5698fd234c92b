"""The commands that open no screen."""

from __future__ import annotations

import os
import sys
import textwrap
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


def checks(given: list[str]) -> int:
    """`gradstep checks [RULE]`."""
    parser = parser_of("gradstep checks", "List the checks, or explain one.")
    parser.add_argument("rule", metavar="RULE", nargs="?", help="the id of the check to explain")
    options = parser.parse_args(given)
    from gradstep.checks.checker import all_checks, all_requests, rule_of

    if options.rule is None:
        rules = [check.rule for check in all_checks().values()]
        width = max(len(rule.id) for rule in rules)
        for rule in rules:
            print(f"{rule.severity:<8} {rule.id:<{width}}  {rule.title}")
        print("\non request, at a stop:")
        for word, request in all_requests().items():
            print(f"{'':8} :check {word:<{width - 7}}  {request.rule.title}")
        return 0
    rule = rule_of(options.rule)
    threshold = "none" if rule.threshold is None else f"{rule.threshold:g} {rule.unit}".strip()
    print(f"{rule.id} ({rule.severity}): {rule.title}")
    for head, text in (
        ("Why", rule.why),
        ("Detected", rule.detects),
        ("Threshold", threshold),
        ("Remedy", rule.remedy),
        ("Source", rule.source),
    ):
        print(textwrap.fill(text, 100, initial_indent=f"  {head:<10}", subsequent_indent=" " * 12))
    return 0


def replay(given: list[str]) -> int:
    """`gradstep replay`."""
    parser = parser_of(
        "gradstep replay",
        "Run scripts without a screen. Exit code 0: every expectation held; 1: one did not; 2: a script is invalid; "
        "3: the model raised; 130: interrupted. For several scripts, the highest.",
    )
    parser.add_argument("files", metavar="FILE.steps", nargs="+", help="the scripts, each run in its own session")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each command")
    parser.add_argument("--screenshot", metavar="OUT.svg", help="draw the screen at the end of the script")
    parser.add_argument("--html", metavar="FILE.html", help="write the replay as a page to step through in a browser")
    add_look(parser, "learn", "dark")
    parser.add_argument(
        "--size",
        type=size,
        default=(120, 40),
        metavar="COLUMNSxROWS",
        help="size of the page, and of a screenshot whose `screenshot` line has no size (default: 120x40)",
    )
    add_device_and_seed(parser, "from each load line", "from each load line")
    add_history(parser)
    add_offload(parser)
    options = parser.parse_args(given)
    if options.screenshot is not None and len(options.files) > 1:
        what = f"{len(options.files)} scripts would overwrite each other's {options.screenshot}."
        raise wrong("--screenshot takes one script", what, "End each script with its own `screenshot` line.")
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
    """Draw a screenshot, ignoring the user's saved layout and theme; only this imports textual."""
    from gradstep.session.transport.inline import InlineSession
    from gradstep.tui.picture import draw

    draw(InlineSession(session), path, size, session.log, layout=layout or "learn", theme=theme or "dark")


def _film(layout: str | None, theme: str | None, session: Session, size: tuple[int, int]) -> Film:
    """Open a session on a screen that is not displayed, ignoring the user's saved layout and theme."""
    from gradstep.session.transport.inline import InlineSession
    from gradstep.tui.film import Film
    from gradstep.tui.layout.preferences import Appearance

    return Film(InlineSession(session), size, Appearance(layout=layout or "learn", theme=theme or "dark"))


def _check_page(path: str, scripts: list[str]) -> None:
    if len(scripts) > 1:
        raise wrong(
            "--html takes one script",
            f"{len(scripts)} scripts would overwrite each other's {path}.",
            "Run them one by one.",
        )
    if not path.endswith((".html", ".htm")):
        raise wrong("--html takes a .html file", path, f"Write --html {path}.html.", path)
    if not Path(path).absolute().parent.is_dir():
        raise wrong("the folder of the page does not exist", path, "Create the folder first.", path)


def diff(given: list[str]) -> int:
    """`gradstep diff`."""
    parser = parser_of(
        "gradstep diff",
        "Run two scripts side by side, or one twice, also on two devices or in two dtypes, and name the first command, "
        "tensor and module or node at which they diverge; or compare two saved states. "
        "Exit code 0: equal; 1: different; 2: an argument or a script is invalid.",
    )
    parser.add_argument("first", metavar="A", help="a script FILE.steps, or a state FILE.safetensors")
    parser.add_argument(
        "second", metavar="B", nargs="?", help="what A is compared with (default: A itself, for a script)"
    )
    parser.add_argument(
        "--device", type=two(device), metavar="D[,D]", help="override the device of both scripts, or of each: cpu,cuda"
    )
    parser.add_argument(
        "--dtype", type=two(dtype), metavar="T[,T]", help="cast the same weights and batches: float32,float64"
    )
    parser.add_argument(
        "--rtol",
        type=tolerance,
        metavar="R",
        help="accept |b - a| <= atol + rtol * |a| (default: equal bits; between devices or dtypes, the tolerances of "
        "torch.testing.assert_close)",
    )
    parser.add_argument("--atol", type=tolerance, metavar="A", help="see --rtol (default with --rtol: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_history(parser)
    options = parser.parse_args(given)
    saved = options.first.endswith(".safetensors")
    if saved and (options.second is None or options.device or options.dtype):
        what = "No second file was given." if options.second is None else "--device or --dtype was given with it."
        remedy = "Give two saved states; --device and --dtype apply to scripts."
        raise wrong("a saved state is compared with another saved state", what, remedy, options.first)
    sys.path.append(os.getcwd())
    from gradstep.steps import diff as sides
    from gradstep.values.differences import Tolerance

    has_tolerance = options.rtol is not None or options.atol is not None
    return sides.diff(
        (options.first, options.second or options.first),
        devices=options.device or (None, None),
        dtypes=options.dtype or ("", ""),
        tolerance=Tolerance(options.rtol, options.atol) if has_tolerance else None,
        history=options.history,
        as_json=options.json,
    )


def template(given: list[str]) -> int:
    """`gradstep template`."""
    parser = parser_of("gradstep template", "Print a template of a workload, or write it to a file.")
    parser.add_argument(
        "file", metavar="FILE.py", nargs="?", help="where to write it; an existing file is not overwritten"
    )
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
    print(f"Wrote {path}. Step it with: gradstep {path}:workload")
    return 0


def keys(given: list[str]) -> int:
    """`gradstep keys`."""
    parser = parser_of(
        "gradstep keys",
        "Print every key binding in the format of keys.toml, which overrides them. That file is in "
        "$XDG_CONFIG_HOME/gradstep, by default ~/.config/gradstep. Exit code 2: it has an error.",
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
    parser = parser_of("gradstep help", "Print the options of gradstep, or the reference of its script language.")
    parser.add_argument("topic", nargs="?", choices=["steps"], help="steps: the language of .steps scripts")
    if parser.parse_args(given).topic is None:
        return open_screen(["--help"], ())
    from gradstep.steps import help_text

    print(help_text(), end="")
    return 0
