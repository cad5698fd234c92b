"""`--python`: the interpreter that a training script runs on, and whether gradstep can run there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from gradstep.session.transport.process import WHEELS, command_of
from gradstep.values.commands import Run
from gradstep.values.errors import wrong

OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)
OLDEST_TORCH, NEWEST_TORCH = (2, 6), (2, 13)
"""What gradstep needs, and the newest that it is tested with; see pyproject.toml."""
_PROBE = """\
import json, sys, sysconfig
from importlib.util import find_spec
from importlib.metadata import version, PackageNotFoundError
try:
    torch = version("torch") if find_spec("torch") else ""
except PackageNotFoundError:
    torch = "unknown"
found = [name for name in sys.argv[1:] if find_spec(name)]
print(json.dumps([sys.version_info[:2], torch, found, sysconfig.get_config_var("SOABI") or ""]))
"""
_TIMEOUT = 30


def check_python(path: str) -> tuple[str, str]:
    """Return the interpreter's absolute path, and what is untested about it; empty for nothing.

    Raises:
        GradstepError: it does not run, is too old, has no torch, or can't load what gradstep needs.
    """
    found = shutil.which(path)
    if found is None:
        raise wrong(f"{path} is not a program", "--python takes a Python interpreter.", "", path)
    python, version, torch, wheels, abi = _probe(os.path.abspath(found))
    name = f"Python {version[0]}.{version[1]}"
    if version < OLDEST_PYTHON:
        raise wrong(f"{path} is {name}", "gradstep needs Python 3.11 or later there.", "", path)
    if not torch:
        raise wrong(f"{path} has no torch", "A training script needs PyTorch.", f"{path} -m pip install torch", path)
    missing = [wheel for wheel in WHEELS if wheel not in wheels]
    if missing and abi != _own_abi():
        what = f"It is {name}, and gradstep's own {', '.join(missing)} are built for Python {_own_version()}."
        raise wrong(f"{path} cannot load what gradstep needs", what, f"{path} -m pip install {' '.join(missing)}", path)
    return python, "; ".join(_untested(name, version, torch))


def python_for(path: str | None, run: Run, program: str = "gradstep") -> tuple[str, str]:
    """Return the interpreter to run a script on, empty for the present one, and a notice; empty for none.

    Args:
        path: what `--python` names; None where it was not given: then the notice offers that of the script's project.
        run: the script.
        program: the command to offer.

    Raises:
        GradstepError: as `check_python` does.
    """
    if path is not None:
        return check_python(path)
    own = "" if run.module else own_python(run.target)
    return "", own and f"{run.target} is in a project with its own Python: {program} --python {own} runs it there"


def run_cli_on(python: str, *arguments: str) -> NoReturn:
    """Replace this process by `gradstep` with these arguments on another interpreter."""
    os.execv(python, command_of("gradstep.cli", *arguments, python=python))


def own_python(script: str) -> str:
    """Return the interpreter of the project that a script lies in, if it has torch and is not the one that runs.

    It is that of an activated virtual environment, or of `.venv` in a folder above the script; empty for none.
    """
    active = os.environ.get("VIRTUAL_ENV")
    folders = [Path(active)] if active else []
    folders += [folder / ".venv" for folder in Path(script).resolve().parents]
    for folder in folders:
        python = folder / "bin" / "python"
        if any(folder.glob("lib/python*/site-packages/torch")) and os.access(python, os.X_OK):
            return "" if folder.resolve() == Path(sys.prefix).resolve() else _short(python)
    return ""


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _probe(python: str) -> tuple[str, tuple[int, int], str, list[str], str]:
    command = [python, "-c", _PROBE, *WHEELS]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT, stdin=subprocess.DEVNULL, cwd="/")
        first, *more = json.loads(done.stdout)
        version: Any = tuple(first)
        return python, version, *more
    except (OSError, subprocess.SubprocessError) as error:
        raise wrong(f"{python} does not run", str(error), "--python takes a Python interpreter.") from error
    except ValueError as error:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        what = said or f"It ended with status {done.returncode}."
        raise wrong(f"{python} is not a Python 3.8 or later", what, "--python takes a Python interpreter.") from error


def _untested(name: str, version: tuple[int, int], torch: str) -> list[str]:
    numbers = tuple(int(part) for part in torch.split("+")[0].split(".")[:2] if part.isdecimal())
    untested = []
    if version > NEWEST_PYTHON:
        untested.append(f"gradstep is not tested on {name}")
    if len(numbers) == 2 and not OLDEST_TORCH <= numbers <= NEWEST_TORCH:
        low, high = (".".join(map(str, each)) for each in (OLDEST_TORCH, NEWEST_TORCH))
        untested.append(f"torch {torch} is outside of what gradstep is tested with, {low} to {high}")
    return untested


def _own_abi() -> str:
    import sysconfig

    return str(sysconfig.get_config_var("SOABI") or "")


def _own_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"
