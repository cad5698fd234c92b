"""Commands that change what is being trained, and those that write it to a file, and what they are as lines."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.expressions import Expression, expression_line, quote


class Assign(Struct, frozen=True, tag=True):
    """Write a tensor or a part of one, or a hyper-parameter of all groups, or with an index of one."""

    target: Expression
    value: Expression


class Flow(Struct, frozen=True):
    """What was changed by hand at a stop inside a backward; its place is counted from 1 as `Position.place` is."""

    place: int
    change: Assign


class Freeze(Struct, frozen=True, tag=True):
    """Set `requires_grad` of the parameters that a pattern matches: to False, or with `on` False to True."""

    pattern: str
    on: bool = True


class Clip(Struct, frozen=True, tag=True):
    """Clip the gradients: all by their common norm, or each element by its value."""

    by: Literal["norm", "value"]
    limit: float


class UseOptimizer(Struct, frozen=True, tag=True):
    """Put a new optimizer of torch's, with a state of its own, in the place of the present one."""

    name: str
    options: tuple[tuple[str, Expression], ...] = ()


class Mode(Struct, frozen=True, tag=True):
    """Put the model into training mode, or into evaluation."""

    training: bool


class Seed(Struct, frozen=True, tag=True):
    """Seed torch on every device, python and numpy."""

    seed: int


class Checkpoint(Struct, frozen=True, tag=True):
    """Write everything to a .safetensors file.

    `folder` is where a relative path begins, and with `over` a file that is there is overwritten. Neither is part of
    the line: a script may overwrite what it wrote when it ran before.
    """

    path: str
    folder: str = ""
    over: bool = False


class Restore(Struct, frozen=True, tag=True):
    """Read everything back from a file that `checkpoint` wrote."""

    path: str
    folder: str = ""


class Export(Struct, frozen=True, tag=True):
    """Write what led here as a plain PyTorch program; `folder` and `over` as for `Checkpoint`."""

    path: str
    folder: str = ""
    over: bool = False


EditCommand: TypeAlias = Assign | Freeze | Clip | UseOptimizer | Mode | Seed | Restore
"""Those that change something: each leads to a new point of the timeline."""
FileCommand: TypeAlias = Checkpoint | Export


def edit_line(command: EditCommand | FileCommand) -> str:
    """Write a command as the line of a `.steps` script that replays it."""
    match command:
        case Assign(target, value):
            return f"set {expression_line(target)} = {expression_line(value)}"
        case Freeze(pattern, on):
            return f"{'freeze' if on else 'unfreeze'} {pattern}"
        case Clip(by, limit):
            return f"clip grad {by}={limit!r}"
        case UseOptimizer(name, options):
            return " ".join([f"optimizer {name}", *(f"{key}={expression_line(value)}" for key, value in options)])
        case Mode(training):
            return "train" if training else "eval"
        case Seed(seed):
            return f"seed {seed}"
        case Checkpoint(path):
            return f"checkpoint {path_word(path)}"
        case Restore(path):
            return f"restore {path_word(path)}"
        case Export(path):
            return f"export {path_word(path)}"


def path_word(path: str) -> str:
    """Return a path as it must be written: in quotes where it is not one plain word."""
    plain = path and not any(c.isspace() or c in '"{};#=' for c in path)
    return path if plain else quote(path)
