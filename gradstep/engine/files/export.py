"""The session as plain PyTorch: a program that needs no gradstep and gives the same bits."""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gradstep.engine.bits import tensor_bytes
from gradstep.engine.debuggee.loading import find_factory
from gradstep.engine.files.as_pytorch import line_for
from gradstep.engine.files.export_parts import FLOW_HELPERS, HEAD, LOOP_HELPERS, SAME
from gradstep.engine.history.points import TimelinePoint
from gradstep.values.commands import Backward, Load
from gradstep.values.errors import GradstepError, wrong

if TYPE_CHECKING:
    from gradstep.engine.held import Held

_PERIOD = 8
"""The longest block of lines that is looked for, to be written as a loop."""


def program(held: Held, load: Load | None, here: TimelinePoint) -> str:
    """Return the program that leads to a point: the workload's own source, and a line for each command.

    Raises:
        GradstepError: the workload was not built from a file, or a command has no counterpart.
    """
    if load is None:
        what = "the workload was handed over as an object, and its source is not known"
        raise wrong("this session can't be exported", what, "load it by its file: `load FILE.py:factory`")
    factory = find_factory(load.target, load.folder)
    source = _source(factory, load)
    commands = [point.command for point in here.path() if point.command is not None][::-1]
    blocks = [line_for(held, command) for command in commands]
    seed = "" if load.seed is None else f"seed_all({load.seed})\n"
    futures, body = _split(source)
    return "\n".join(
        [
            *futures,
            HEAD.format(
                target=load.target,
                torch=torch.__version__,
                threads=torch.get_num_threads(),
                seed=seed,
            ),
            f"# -- the workload, as {load.target} has it " + "-" * 40,
            body,
            "",
            "def main():",
            *_indented(
                LOOP_HELPERS.format(
                    factory=factory.__name__,
                    device=str(held.device),
                    number="taken" if held.batches.takes_number else "",
                ),
                *([FLOW_HELPERS] if any(isinstance(each, Backward) and each.flows for each in commands) else []),
                "# -- the session " + "-" * 60,
                *_folded(blocks),
                SAME.format(expected=_expected(held), loss=repr(str(held.point.value))),
            ),
            "",
            "",
            f"{seed}main()",
            "",
        ]
    )


def _indented(*parts: str) -> Iterator[str]:
    for part in parts:
        yield from ("    " + line if line else "" for line in part.strip("\n").split("\n"))


def write_text(path: Path, text: str) -> None:
    """Write a program, all at once; one that is there already is replaced whole.

    Raises:
        GradstepError: it can't be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(temporary, path.stat().st_mode & 0o777 if path.exists() else 0o644)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise wrong("the program can't be written", f"{path}: {error.strerror or error}", "", path.name) from None


def _source(factory: Callable[[], object], load: Load) -> str:
    module = sys.modules.get(factory.__module__)
    try:
        assert module is not None
        return inspect.getsource(module)
    except (OSError, TypeError, AssertionError) as error:
        raise wrong("this session can't be exported", f"the source of {load.target} can't be read: {error}") from None


def _split(source: str) -> tuple[list[str], str]:
    """Return the future imports, and the rest without what imports gradstep and what runs only as a program."""
    tree, lines = ast.parse(source), source.split("\n")
    futures: list[str] = []
    for node in tree.body:
        future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gradstep"
        named = [n.name.partition(".")[0] for n in node.names] if isinstance(node, ast.Import) else []
        ours = ours or set(named) == {"gradstep"}
        main = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if not (future or ours or main):
            continue
        if future:
            futures.append(ast.unparse(node))
        if ours and isinstance(node, ast.ImportFrom):
            odd = [n.name for n in node.names if n.name != "Workload" or n.asname]
            if odd:
                raise _needs(f"{ast.unparse(node)}")
        for number in range(node.lineno - 1, node.end_lineno or node.lineno):
            lines[number] = ""
    return futures, "\n".join(lines).strip("\n") + "\n"


def _needs(what: str) -> GradstepError:
    return wrong("this session can't be exported", f"its workload needs gradstep: {what}", "only Workload is replaced")


def _folded(blocks: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines, runs of the same few as a loop."""
    place = 0
    while place < len(blocks):
        period, turns = _run_at(blocks, place)
        indent = "    " if turns > 1 else ""
        if turns > 1:
            yield f"for _ in range({turns}):"
        for block in blocks[place : place + period]:
            yield from (indent + line for line in block)
        place += period * turns


def _run_at(blocks: Sequence[tuple[str, ...]], place: int) -> tuple[int, int]:
    best = (1, 1)
    for period in range(1, _PERIOD + 1):
        end = place + period
        while end < len(blocks) and blocks[end] == blocks[end - period]:
            end += 1
        turns = (end - place) // period
        if turns > 1 and turns * period > best[0] * best[1]:
            best = (period, turns)
    return best


def _expected(held: Held) -> str:
    """Return the hash of each parameter, as the lines of a dict."""
    hashes = {name: hashlib.sha256(tensor_bytes(p)).hexdigest()[:16] for name, p in held.model.named_parameters()}
    return "\n".join(f"    {name!r}: {digest!r}," for name, digest in hashes.items())
