"""The options that commands share, and how their values are read."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from gradstep.values.commands import HISTORY, HISTORY_TIME, Break, Check
from gradstep.values.differences import DTYPES
from gradstep.values.errors import wrong
from gradstep.values.numbers import read_bytes, read_share

WRONG = 2
"""Exit code for an invalid command line or script."""
LAYOUTS = ("learn", "inspect", "train")
THEMES = ("dark", "light", "high-contrast")
"""Names only: their tables belong to the screen, which is imported after the engine has been started."""


def parser_of(program: str, about: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """Return a parser; the epilog keeps its line breaks."""
    raw = argparse.RawDescriptionHelpFormatter if epilog else argparse.HelpFormatter
    return argparse.ArgumentParser(program, description=about, epilog=epilog, formatter_class=raw, allow_abbrev=False)


def add_device_and_seed(parser: argparse.ArgumentParser, no_device: str = "auto", no_seed: str = "0") -> None:
    """Add `--device` and `--seed`; `no_device` and `no_seed` describe the defaults."""
    parser.add_argument("--device", type=device, help=f"auto, cpu, cuda, cuda:N or mps (default: {no_device})")
    parser.add_argument(
        "--seed",
        type=_seed,
        metavar="N",
        help=f"seed torch, python and numpy with N before the workload is built (default: {no_seed})",
    )


def add_look(parser: argparse.ArgumentParser, no_layout: str, no_theme: str) -> None:
    """Add `--layout` and `--theme`; `no_layout` and `no_theme` describe the defaults."""
    parser.add_argument("--layout", choices=LAYOUTS, help=f"layout of the panels (default: {no_layout})")
    parser.add_argument("--theme", choices=THEMES, help=f"colour theme (default: {no_theme})")


def add_python(parser: argparse.ArgumentParser) -> None:
    """Add `--python`."""
    parser.add_argument(
        "--python", metavar="PATH", help="run the training script on this interpreter, as .venv/bin/python"
    )


def add_checks(parser: argparse.ArgumentParser) -> None:
    """Take which checks are on, and their thresholds."""
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        type=_check,
        dest="checks",
        metavar="RULE=off",
        help="switch a check, or set its threshold: RULE=off, RULE=on, RULE=0.05; see `gradstep checks`",
    )


def _check(text: str) -> Check:
    name, _, value = text.partition("=")
    if value in ("off", "on"):
        return Check(f"{value} {name}")
    try:
        float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not RULE=off, RULE=on or RULE=NUMBER") from None
    return Check(f"threshold {name} {value}")


def breakpoint_of(where: str) -> Break:
    """Return the breakpoint that `--break` names: what `break` takes, or a condition.

    Raises:
        GradstepError: it is neither.
    """
    from gradstep.steps.language.faults import ScriptError
    from gradstep.steps.language.parse import parse_line

    for line in (f"break {where}", f"break when {where}"):
        try:
            (statement,) = parse_line(line)
        except ScriptError as error:
            fault = error
            continue
        command = getattr(statement, "command", None)
        if isinstance(command, Break):
            return command
    raise wrong(f"--break can't be read: {where}", str(fault), "write a condition such as 'loss > 100', or nan", where)


def add_history(parser: argparse.ArgumentParser) -> None:
    """Add `--history`."""
    parser.add_argument(
        "--history",
        type=_history,
        default=HISTORY,
        metavar="SIZE",
        help="memory for the history, which undo and goto need: 512MiB, 4GB, or off (default: 1GiB)",
    )


def add_history_time(parser: argparse.ArgumentParser) -> None:
    """Add `--history-time`."""
    parser.add_argument(
        "--history-time",
        type=_share,
        default=HISTORY_TIME,
        metavar="SHARE",
        help="time that copying the history into new memory may take, as a share of the time of the phases: 50%%, or "
        "off for no limit (default: 20%%); over it, fewer checkpoints are kept",
    )


def add_offload(parser: argparse.ArgumentParser) -> None:
    """Add `--history-offload`."""
    parser.add_argument(
        "--history-offload", action="store_true", help="keep the history of a model on a GPU in host memory"
    )


def _history(text: str) -> int:
    try:
        return read_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _share(text: str) -> float:
    try:
        return read_share(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def device(text: str) -> str:
    """Read the name of a device, for argparse."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?|mps", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device: use auto, cpu, cuda, cuda:N or mps")
    return text


def dtype(text: str) -> str:
    """Read the name of a floating point dtype, for argparse."""
    if text not in DTYPES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a dtype to cast to: use {', '.join(DTYPES)}")
    return text


def two(read: Callable[[str], str]) -> Callable[[str], tuple[str, str]]:
    """Return a reader of one word for both sides, or of two separated by a comma."""

    def both(text: str) -> tuple[str, str]:
        words = [read(word) for word in text.split(",")]
        if len(words) > 2:
            raise argparse.ArgumentTypeError(f"{text!r} has {len(words)} values: give one or two")
        return words[0], words[-1]

    return both


def tolerance(text: str) -> float:
    """Read a tolerance, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a tolerance: use a number of 0 or more")
    return value


def _seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: use an integer from 0 to 2**64 - 1")
    return int(text)


def size(text: str) -> tuple[int, int]:
    """Read columns and rows, for argparse."""
    found = re.fullmatch(r"([0-9]{1,4})x([0-9]{1,4})", text)
    if not found or int(found[1]) < 20 or int(found[2]) < 5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: use COLUMNSxROWS, at least 20x5, such as 120x40")
    return int(found[1]), int(found[2])
