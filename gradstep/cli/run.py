"""`gradstep run SCRIPT`: a training script through to its end without a screen, and a report of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

from gradstep.cli.arguments import add_checks, add_python, breakpoint_of, parser_of
from gradstep.cli.screen import split_at_script
from gradstep.values.commands import Run
from gradstep.values.errors import wrong

_HELP = """\
Options go before the script; everything after it is passed to the script. Its output and exit code pass through; the
exit code is 1 when --break ended it.
"""


def run(given: list[str]) -> int:
    """`gradstep run`."""
    parser = parser_of("gradstep run", "Run a training script without a screen, and report on it.", _HELP)
    parser.usage = "gradstep run [OPTIONS] SCRIPT.py [ARGUMENTS]   or   gradstep run [OPTIONS] -m MODULE [ARGUMENTS]"
    parser.add_argument("--iterations", type=_count, default=0, metavar="N", help="end the script after N iterations")
    parser.add_argument(
        "--break",
        action="append",
        default=[],
        dest="breaks",
        metavar="WHERE",
        help="end the script at a breakpoint: a condition such as 'loss > 100', or nan, train.py:41, module 0, ...",
    )
    parser.add_argument("--report", metavar="FILE", help="write the report: FILE.json or FILE.html")
    parser.add_argument(
        "--fail-on",
        choices=("error", "warning"),
        help="exit with code 1 when a check has found an error, or a warning too",
    )
    add_checks(parser)
    add_python(parser)
    before, script = split_at_script(parser, given)
    options = parser.parse_args(before)
    if script is None:
        raise wrong("gradstep run takes a training script", "None was given.", "Write gradstep run train.py.")
    report = _report_file(options.report)
    _choose_python(options.python, script, given, len(before))
    from gradstep.session.headless_script import HeadlessScript

    settings = [*map(breakpoint_of, options.breaks), *options.checks]
    headless = HeadlessScript(script, settings, options.iterations, records=report is not None)
    _leave_path()
    made: dict[str, Any] = {}

    def conclude() -> None:
        made.update(headless.report())
        if report is not None:
            write_report(report, made)
        where = f"; report in {report}" if report is not None else ""
        with suppress(OSError, ValueError):  # the script may have closed it
            print(f"gradstep: {_summary(made)}{where}", *_details(made), sep="\n  ", file=sys.stderr, flush=True)

    def before_exec() -> None:
        headless.replaced = True
        conclude()

    _call_before_exec(before_exec)
    code = 1
    try:
        code = headless.run()
    finally:
        conclude()
    failing = {None: (), "error": ("error",), "warning": ("error", "warning")}[options.fail_on]
    return code or int(any(each["severity"] in failing for each in made["findings"]))


def _call_before_exec(before: Callable[[], None]) -> None:
    """Call something before this process replaces its program; not in a child that it has forked."""
    ours = os.getpid()

    def calling(own: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(own)
        def replace(*args: Any, **kwargs: Any) -> Any:
            if os.getpid() == ours:
                before()
            return own(*args, **kwargs)

        return replace

    os.execv, os.execve = calling(os.execv), calling(os.execve)


def _leave_path() -> None:
    """Remove from `sys.path` what starting `gradstep` or `python -m gradstep` put first."""
    program = Path(sys.argv[0]).resolve()
    folder = os.getcwd() if program.name == "__main__.py" else str(program.parent)
    if not sys.flags.safe_path and program.is_file() and sys.path[0] == folder:
        del sys.path[0]


def _choose_python(path: str | None, script: Run, given: list[str], options: int) -> None:
    """Run on another interpreter where one is asked for; else name that of the script's project.

    Args:
        path: the interpreter; None for the present one.
        script: what is run.
        given: the arguments of `gradstep run`.
        options: how many of them are its own options.
    """
    from gradstep.cli.interpreter import python_for, run_cli_on

    if path is not None and os.path.abspath(path) == sys.executable:
        return
    python, notice = python_for(path, script, "gradstep run")
    if notice:
        print(f"gradstep: {notice}", file=sys.stderr, flush=True)
    if python:
        run_cli_on(python, "run", *given[:options], f"--python={python}", *given[options:])


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON or HTML, by the ending of the path. NaN and inf are strings in JSON."""
    from gradstep.values.files import write_text

    if path.suffix == ".html":
        from gradstep.sheets.script_report import report_page

        write_text(path, report_page(report))
    else:
        write_text(path, json.dumps(_spelled(report), indent=1, allow_nan=False) + "\n")


def _spelled(value: Any) -> Any:
    """Return a report with NaN and inf, which JSON lacks, as strings."""
    from gradstep.steps.jsonlines import spelled

    if isinstance(value, dict):
        return {key: _spelled(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_spelled(each) for each in value]
    return spelled(value) if isinstance(value, float) else value


def _report_file(given: str | None) -> Path | None:
    if given is None:
        return None
    path = Path(given).absolute()
    if path.suffix not in (".json", ".html"):
        raise wrong("--report takes a .json or .html file", given, f"Write --report {given}.html.", given)
    if not path.parent.is_dir():
        raise wrong("the folder of the report does not exist", str(path.parent), "Make the folder first.", given)
    return path


def _summary(report: dict[str, Any]) -> str:
    losses = [loss for _, loss in report["losses"] if loss is not None]
    course = f", loss {losses[0]:.4g} to {losses[-1]:.4g}" if losses else ""
    several = "" if report["iterations"] == 1 else "s"
    found = len(report["findings"])
    course += f", {found} finding{'s' * (found != 1)}" if found else ""
    done = f", {report['iterations']:,} iteration{several}" if losses else ""
    return f"{report['verdict']}{done}{course}"


def _details(report: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each error and warning, and for each breakpoint that was never hit."""
    for each in report["findings"]:
        if each["severity"] != "hint":
            file, line = each["where"].get("file", ""), each["where"].get("line", 0)
            place = f" at {Path(file).name}:{line}" if file else ""
            yield f"{each['severity']} {each['rule']}{place}: {each['what']}"
    if report["exit_code"] != 1 or not report["verdict"].startswith("stopped"):
        yield from (f"never hit: {line}" for line in report["never_hit"])


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of iterations: use a whole number from 1 on")
    return int(text)
