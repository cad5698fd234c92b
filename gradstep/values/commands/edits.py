"""Commands that change what is being trained."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, expression, name, whole, word
from gradstep.values.commands.misfit import MisfitError, place
from gradstep.values.commands.syntax import Form, Syntax, Word
from gradstep.values.expressions import Expression, Name, expression_line

SETTINGS: dict[str, tuple[str, ...]] = {"set_to_none": ("true", "false")}
"""The settings that `set` changes, and their values."""


class Set(Struct, frozen=True, tag=True):
    """Change a setting: `set_to_none` (what a bare zero_grad does). It is read as an `Assign` is."""

    syntax: ClassVar = Syntax(
        role="note", line=lambda setting: f"set {setting.name} = {expression_line(setting.value)}"
    )
    name: str
    value: Expression


def _set(_word: str, fields: dict[str, Any]) -> Set | Assign:
    target = fields["target"]
    return (
        Set(target.name, fields["value"]) if isinstance(target, Name) and target.name in SETTINGS else Assign(**fields)
    )


class Assign(Struct, frozen=True, tag=True):
    """Write a tensor or a part of one, or a hyper-parameter of all groups, or with an index of one."""

    syntax: ClassVar = Syntax(
        Word(
            "set",
            "set lr = 0.01",
            "Write a hyper-parameter, a tensor or a part of one, or what flows (node.in); "
            "or the setting `set_to_none`.",
        ),
        Form(expression("target")._replace(rule="postfix"), word("="), expression("value")),
        role="edit",
        inside=False,  # but for what flows there, which the executor changes at the stop itself
        make=_set,
    )
    target: Expression
    value: Expression


class Freeze(Struct, frozen=True, tag=True):
    """Set `requires_grad` of the parameters that a pattern matches: to False, or with `on` False to True."""

    syntax: ClassVar = Syntax(
        Word("freeze", "freeze 0.*", "Have parameters require no gradient.", {"on": True}),
        Word("unfreeze", "unfreeze 0.*", "Have parameters require a gradient again.", {"on": False}),
        Form(name("pattern", offers=("@parameters",))),
        role="edit",
        inside=False,
    )
    pattern: str
    on: bool = True


def _limit(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        raise MisfitError(f"`{text}` is no limit", "", "Write a number from 0 on.", *place(text))
    return number


def _clip(first: str, fields: dict[str, Any]) -> Clip:
    if len(fields) != 1:
        raise MisfitError("`clip` takes one limit", "", "Write norm=1.0 or value=0.5.", *place(first))
    [(by, limit)] = fields.items()
    return Clip("norm" if by == "norm" else "value", limit)


class Clip(Struct, frozen=True, tag=True):
    """Clip the gradients: all by their common norm, or each element by its value."""

    syntax: ClassVar = Syntax(
        Word("clip", "clip grad norm=1.0", "Clip the gradients, by their common norm or each element by value=."),
        Form(word("grad"), Option("norm", _limit), Option("value", _limit)),
        role="edit",
        inside=False,
        line=lambda clip: f"clip grad {clip.by}={clip.limit!r}",
        make=_clip,
    )
    by: Literal["norm", "value"]
    limit: float


class UseOptimizer(Struct, frozen=True, tag=True):
    """Put a new optimizer of torch's, with a state of its own, in the place of the present one."""

    syntax: ClassVar = Syntax(
        Word("optimizer", "optimizer adamw lr=3e-4", "Put a new optimizer of torch's in the place of this one."),
        Form(
            Argument("WORD", "name"),
            Argument(
                "hyper",
                "options",
                write=lambda pairs: " ".join(f"{key}={expression_line(value)}" for key, value in pairs),
                optional=True,
                many=True,
            ),
        ),
        role="edit",
        inside=False,
    )
    name: str
    options: tuple[tuple[str, Expression], ...] = ()


class Mode(Struct, frozen=True, tag=True):
    """Put the model into training mode, or into evaluation."""

    syntax: ClassVar = Syntax(
        Word("train", "train", "Put the model into training mode.", {"training": True}),
        Word("eval", "eval", "Put the model into evaluation mode.", {"training": False}),
        Form(),
        role="edit",
        inside=False,
    )
    training: bool


class Seed(Struct, frozen=True, tag=True):
    """Seed torch on every device, python and numpy."""

    syntax: ClassVar = Syntax(
        Word("seed", "seed 7", "Seed torch, python and numpy."), Form(whole("seed")), role="edit", inside=False
    )
    seed: int
