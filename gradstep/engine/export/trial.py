"""Runs an exported program once, in a separate process where gradstep can't be imported."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

LONG = 120.0
"""Seconds after which a program is stopped."""

_RUN = """\
import sys

class gradstep_is_hidden:
    @staticmethod
    def find_spec(name, *_):
        if name.partition(".")[0] == "gradstep":
            raise ModuleNotFoundError("No module named 'gradstep'", name="gradstep")

sys.meta_path.insert(0, gradstep_is_hidden)
sys.argv[:] = sys.argv[1:]
__file__ = sys.argv[0]
sys.path[0] = __file__.rpartition("/")[0]
exec(compile(open(__file__, encoding="utf-8").read(), __file__, "exec"))
"""
"""Does what `python FILE` does where gradstep is not installed."""


class TrialResult(NamedTuple):
    """The result of a run."""

    seconds: float
    ended: bool
    """False if it was stopped because it took too long."""
    fault: str
    """What it raised, with the line; empty if it succeeded."""


def run(program: Path) -> TrialResult:
    """Run a program to its end.

    Raises:
        KeyboardInterrupt: interrupted while waiting; the program is stopped.
    """
    began = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUN, str(program)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            status = process.wait(LONG)
        except subprocess.TimeoutExpired:
            return TrialResult(LONG, False, "")
        finally:
            process.kill()
            process.wait()
        errors.seek(0)
        stderr = errors.read().decode("utf-8", "replace")
    return TrialResult(time.monotonic() - began, True, fault_of(program, status, stderr))


def fault_of(program: Path, status: int, stderr: str) -> str:
    """Return what a program raised, and its line; empty if it succeeded.

    Args:
        program: its file.
        status: its exit status.
        stderr: its standard error.
    """
    if status == 0:
        return ""
    lines = stderr.split("\n")
    last = next((line for line in reversed(lines) if line.strip()), f"it exited with status {status}")
    places = re.findall(rf'File "{re.escape(str(program))}", line (\d+)', stderr)
    if not places:
        return last
    text = program.read_text("utf-8").split("\n")[int(places[-1]) - 1].strip()
    return f"{last}, at `{text}`"
