"""Writes the program: the workload's file, a line for each command, and the check that the bits are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from gradstep.engine.bits import tensor_bytes
from gradstep.engine.debuggee.loading import Origin, origin_of
from gradstep.engine.export.as_pytorch import line_for
from gradstep.engine.export.loop import HEAD, SHARED, STAND_IN, VERIFICATION, training_loop
from gradstep.engine.export.source import MODULE, Source, rewrite
from gradstep.engine.export.trial import run
from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.runner import Runner
from gradstep.values.commands import Load
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.files import replacing
from gradstep.values.repeats import repeats
from gradstep.workload import Workload


def export(runner: Runner, load: Load | None, here: TimelinePoint, place: Path, progress: Callable[[str], None]) -> str:
    """Write the program that leads to a point, and run it once; return a message.

    Args:
        runner: runs the workload.
        load: the command that loaded it; None if it was passed as an object.
        here: the point.
        place: the file.
        progress: called with a message before the program runs.

    Raises:
        GradstepError: there is no such program, it can't be written, or it does not give the same bits.
    """
    origin, source = _workload(load)
    assert load is not None
    text = program(runner.held, load, here, origin, source)
    try:
        with replacing(place) as draft:
            draft.write_text(text, "utf-8")
            progress(f"running {place.name} once to verify it")
            runner.running = True  # it can be interrupted: the workload is not touched
            try:
                seconds, ended, fault = run(draft)
            finally:
                runner.running = False
            if fault:
                raise _refused(fault, load, origin, source, place)
    except OSError as error:
        raise wrong("the program can't be written", f"{place}: {error.strerror or error}", "", place.name) from None
    lines = [f"{place} is written: run without gradstep, it gave the same bits in {seconds:.0f} s"]
    if not ended:
        lines = [f"{place} is written, but not verified: it was stopped after {seconds:.0f} s"]
    if source.beside:
        lines.append(f"it imports {', '.join(source.beside)}: send that with it")
    return "\n".join(lines)


def program(held: Held, load: Load, here: TimelinePoint, origin: Origin, source: Source) -> str:
    """Return the text of the program that leads to a point.

    Raises:
        GradstepError: a command has no equivalent.
    """
    commands = [point.command for point in here.path() if point.command is not None][::-1]
    session = "\n".join(_folded([line_for(held, command) for command in commands]))
    verification = VERIFICATION.format(expected=_expected(held), loss=held.point.value)
    named = MODULE in source.text or source.shared
    stand_in = (STAND_IN if named else "") + (SHARED if source.shared else "")
    numpy = "import numpy\n" if "numpy." in session else ""
    body = "\n\n".join(
        [
            '"""Train the workload that `build` returns, as the session did."""',
            f"import hashlib\n\n{numpy}import torch",
            *(block.strip("\n") for block in training_loop(held, session)),
            f"{_title('the session', 96)}\n{session}",
            f"{_title('the verification', 96)}\n{verification}".rstrip(),
        ]
    )
    seed = "" if load.seed is None else f"gradstep_seed({load.seed})\n"
    beside = f"\nIt imports {', '.join(source.beside)}, which must be in the same folder.\n" if source.beside else ""
    head = HEAD.format(
        target=load.target,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        beside=beside,
        futures="".join(f"{line}\n" for line in source.futures),
        imports=("import sys\n" if source.shared else "") + ("import types\n" if named else ""),
        fields="\n".join(_fields()),
        stand_in=f"{stand_in}\n\n" if named else "",
    )
    return f"""{head}{seed}
{_title(f"the workload, as {load.target} has it")}
{source.text}

{_title("the training")}
def gradstep_session(build):
{textwrap.indent(body, "    ")}


if __name__ == "__main__":
{textwrap.indent(seed, "    ")}    gradstep_session({origin.name})
"""


def _title(text: str, width: int = 100) -> str:
    return f"# -- {text} ".ljust(width, "-")


def _fields() -> Iterator[str]:
    """Yield the fields of a workload, for its stand-in."""
    for field in dataclasses.fields(Workload):
        value = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
        if field.default_factory is not dataclasses.MISSING:
            value = f" = dataclasses.field(default_factory={getattr(field.default_factory, '__name__', 'dict')})"
        yield f"    {field.name}: object{value}"


def _workload(load: Load | None) -> tuple[Origin, Source]:
    if load is None:
        what = "the workload was passed as an object, and its source is unknown"
        raise wrong("this session can't be exported", what, "load it by its file: `load FILE.py:factory`")
    try:
        origin = origin_of(load.target, load.folder)
        return origin, rewrite(origin.file, origin.package)
    except (OSError, SyntaxError, ValueError) as error:
        raise wrong("this session can't be exported", f"the source of {load.target} can't be read: {error}") from None


def _refused(fault: str, load: Load, origin: Origin, source: Source, place: Path) -> GradstepError:
    """Return the error for a program that failed when it ran, with a remedy."""
    missing = fault.partition("No module named '")[2].partition("'")[0].partition(".")[0]
    if "'gradstep" in fault:
        remedy = (
            "the program has a stand-in for gradstep.Workload only: import anything else of gradstep where the factory "
            'does not run, such as under `if __name__ == "__main__":`'
        )
    elif missing and {f"{missing}.py", f"{missing}/"} & set(source.beside):
        remedy = f"write it to the folder of what it imports: `export {origin.root / place.name}`"
    elif "the bits differ" in fault:
        remedy = (
            "was its file edited after it was loaded, or does it keep state outside of parameters and buffers?"
            if load.seed is not None
            else f"nothing was seeded before it was built: `load {load.target} seed=0`"
        )
    else:
        remedy = f"does `python {origin.file.name}` work in {place.parent}?"
    return wrong("this session can't be exported", f"run on its own, the program failed: {fault}", remedy)


def _folded(blocks: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines, with repeated blocks as loops."""
    for block, turns in repeats(blocks):
        if turns > 1:
            yield f"for _ in range({turns}):"
        yield from ("    " * (turns > 1) + line for lines in block for line in lines)


def _expected(held: Held) -> str:
    """Return the hash of each parameter and buffer, as the lines of a dict."""
    named = [*held.model.named_parameters(), *held.model.named_buffers()]
    hashes = {name: hashlib.sha256(tensor_bytes(each)).hexdigest()[:16] for name, each in named}
    return "\n".join(f"    {name!r}: {digest!r}," for name, digest in hashes.items())
