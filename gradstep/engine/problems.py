"""Turn an exception from the debuggee into a problem, with the user's own frames and a remedy."""

from __future__ import annotations

import linecache
import re
import sysconfig
from functools import cache
from pathlib import Path
from types import TracebackType

from msgspec.structs import replace

from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Frame, Problem

_LIBRARIES = tuple(
    str(Path(path).resolve())
    for path in {*(sysconfig.get_path(k) for k in ("stdlib", "platstdlib", "purelib", "platlib"))}
)
_OURS = str(Path(__file__).resolve().parent.parent)

DEVICES_DIFFER = (
    r"[Ee]xpected all tensors to be on the same device|Expected .* on (device|cpu|cuda)"
    r"|device type .* (doesn't|does not) match|Attempted to call .* on meta|is not on the expected device"
)
DTYPES_DIFFER = (
    r"must have the same dtype|to have the same dtype|expected (scalar type|m1 and m2)|Found dtype|can't be cast"
)

REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"non-empty donated buffers",
        "the compiled backward reuses the memory of saved tensors: run `backward` without retain_graph, or set "
        "torch._functorch.config.donated_buffer = False in the factory, before the model is compiled",
    ),
    (
        r"backward through the graph a second time",
        "backward frees the buffers of the graph. Run forward again for a new graph, or keep the graph with "
        "`backward retain_graph=true` the first time",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "the loss must be a single number: reduce it with .sum() or .mean()",
    ),
    (
        r"does not require grad and does not have a grad_fn",
        "nothing that the loss depends on requires grad: are all parameters frozen, or is the loss computed under "
        "no_grad, from .item() or from .detach()?",
    ),
    (
        r"appears? to not have been used in the graph",
        "the output does not depend on that input, so the derivative is 0 (such as the second derivative of a linear "
        "function): `torch.autograd.grad(..., allow_unused=True, materialize_grads=True)` returns zeros",
    ),
    (
        r"modified by an inplace operation",
        "a tensor that backward needs was written in place after the forward saved it (a step updates weights): "
        "run forward again, then backward",
    ),
    (
        DEVICES_DIFFER,
        "model and batch are on different devices: let gradstep place both with --device, or move them in the factory",
    ),
    (
        r"mat1 and mat2 shapes cannot be multiplied|size mismatch|must match the size of tensor|expected input\[",
        "the shapes do not match: compare `print shape(input)` with the shape of the layer's weight in the Model panel",
    ),
    (
        DTYPES_DIFFER,
        "model and batch have different dtypes: convert the batch in the factory, e.g. x.float()",
    ),
    (r"out of memory", "the device is out of memory: use a smaller batch or a smaller model"),
    (
        r"Target \d+ is out of bounds",
        "a class index in the target is not less than the number of classes that the model outputs",
    ),
)
"""Patterns of torch's messages, and a remedy for each."""


_IN_SCRIPTS: tuple[tuple[str, str], ...] = (
    (
        r"non-empty donated buffers",
        "the compiled backward reuses the memory of saved tensors: call backward() without retain_graph, or set "
        "torch._functorch.config.donated_buffer = False before the model is compiled",
    ),
    (
        r"backward through the graph a second time",
        "backward frees the buffers of the graph: run the forward again before this backward, or pass "
        "retain_graph=True to the first one",
    ),
    (
        r"modified by an inplace operation",
        "a tensor that backward needs was written in place after the forward saved it: write `h = h + 1`, not "
        "`h += 1`, and step the optimizer after the backward; torch.autograd.set_detect_anomaly(True) names the op",
    ),
    (DEVICES_DIFFER, "model and batch are on different devices: move both to one, e.g. x.to(device)"),
    (
        r"mat1 and mat2 shapes cannot be multiplied|size mismatch|must match the size of tensor|expected input\[",
        "the shapes do not match: Stack shows those of the variables, Model those of the weights",
    ),
    (DTYPES_DIFFER, "model and batch have different dtypes: convert one, e.g. x.float()"),
)
"""Remedies for what a script raises, where they differ: it has no factory, and runs no commands."""


def problem_of_script(error: BaseException) -> Problem:
    """Return what ended a script as a problem."""
    problem = problem_of(error, "the script")
    if isinstance(error, KeyboardInterrupt):
        return replace(problem, what="KeyboardInterrupt was not caught.", frames=frames_of(error.__traceback__))
    known = next((text for pattern, text in _IN_SCRIPTS if re.search(pattern, problem.what)), problem.remedy)
    return replace(problem, remedy=known)


def problem_of(error: BaseException, title: str, remedy: str = "") -> Problem:
    """Return an exception as a problem: its full message, the user's frames marked, and a remedy if one is known.

    Args:
        error: the exception.
        title: what was running, such as `backward`.
        remedy: the remedy if none is known for the message.
    """
    if isinstance(error, GradstepError):
        return error.problem
    if isinstance(error, KeyboardInterrupt):
        return Problem(
            kind="interrupted", title=f"{title} was interrupted", what="the state is as it was before it", remedy=remedy
        )
    message = printable(str(error)) or "(no message)"
    known = next((text for pattern, text in REMEDIES if re.search(pattern, message)), remedy)
    what = f"{type(error).__name__}: {message}"
    return Problem(
        kind="raised", title=f"{title} raised", what=what, remedy=known, frames=frames_of(error.__traceback__)
    )


def frames_of(traceback: TracebackType | None) -> tuple[Frame, ...]:
    """Return the frames of a traceback below gradstep's own, innermost last."""
    frames: list[Frame] = []
    while traceback is not None:
        code, line = traceback.tb_frame.f_code, traceback.tb_lineno
        if not is_ours(code.co_filename) or frames:
            text = linecache.getline(code.co_filename, line).strip()
            user = is_users(code.co_filename)
            frames.append(Frame(printable(code.co_filename), line, code.co_name, printable(text), user))
        traceback = traceback.tb_next
    return tuple(frames)


@cache
def is_ours(file: str) -> bool:
    """Return whether a file is gradstep's own; its examples count as the user's."""
    return file.startswith(_OURS) and "/examples/" not in file


@cache
def is_users(file: str) -> bool:
    """Return whether a file is the user's: neither a library's nor gradstep's own."""
    installed = "/site-packages/" in file or "/dist-packages/" in file
    return not is_ours(file) and not installed and not file.startswith((*_LIBRARIES, "<frozen"))


def printable(text: str) -> str:
    """Return a plain `str` without lone surrogates, so that it can be encoded."""
    return str(text).encode("utf-8", "replace").decode("utf-8")
