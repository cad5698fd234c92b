"""Commands that edit what is trained."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, expression, name, whole, word
from gradstep.values.commands.statement_error import StatementError, place
from gradstep.values.commands.syntax import CommandForm, Syntax, Word
from gradstep.values.expressions import Expression, Name, expression_line

SETTINGS: dict[str, tuple[str, ...]] = {"set_to_none": ("true", "false")}
"""The settings of `set`, and their values."""


class Set(Struct, frozen=True, tag=True):
    """Change a setting: `set_to_none`, the default of zero_grad. It is parsed as an `Assign`."""

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
    """Write a tensor or a part of one, or a hyper-parameter of all groups or, with an index, of one."""

    syntax: ClassVar = Syntax(
        Word(
            "set",
            "set lr = 0.01",
            "Write a hyper-parameter, a tensor or a part of one, the gradient at a node (node.in), "
            "or the setting `set_to_none`.",
        ),
        CommandForm(expression("target")._replace(rule="postfix"), word("="), expression("value")),
        role="edit",
        inside=False,  # except for a gradient at a node, which the executor edits at the stop
        make=_set,
    )
    target: Expression
    value: Expression


class Freeze(Struct, frozen=True, tag=True):
    """Set `requires_grad` of the parameters that match a pattern to False; with `on` False, to True."""

    syntax: ClassVar = Syntax(
        Word("freeze", "freeze 0.*", "Set requires_grad = False for matching parameters.", {"on": True}),
        Word("unfreeze", "unfreeze 0.*", "Set requires_grad = True for matching parameters.", {"on": False}),
        CommandForm(name("pattern", offers=("@parameters",))),
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
        raise StatementError(f"`{text}` is not a limit", "", "Write a number from 0.", *place(text))
    return number


def _clip(first: str, fields: dict[str, Any]) -> Clip:
    if len(fields) != 1:
        raise StatementError("`clip` takes one limit", "", "Write norm=1.0 or value=0.5.", *place(first))
    [(by, limit)] = fields.items()
    return Clip("norm" if by == "norm" else "value", limit)


class Clip(Struct, frozen=True, tag=True):
    """Clip the gradients: by their total norm, or each element by value."""

    syntax: ClassVar = Syntax(
        Word("clip", "clip grad norm=1.0", "Clip the gradients by their total norm, or each element by value=."),
        CommandForm(word("grad"), Option("norm", _limit), Option("value", _limit)),
        role="edit",
        inside=False,
        line=lambda clip: f"clip grad {clip.by}={clip.limit!r}",
        make=_clip,
    )
    by: Literal["norm", "value"]
    limit: float


class UseOptimizer(Struct, frozen=True, tag=True):
    """Replace the optimizer with a new torch optimizer, with fresh state."""

    syntax: ClassVar = Syntax(
        Word("optimizer", "optimizer adamw lr=3e-4", "Replace the optimizer with a new torch optimizer."),
        CommandForm(
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
    """Put the model in training or evaluation mode."""

    syntax: ClassVar = Syntax(
        Word("train", "train", "Put the model in training mode.", {"training": True}),
        Word("eval", "eval", "Put the model in evaluation mode.", {"training": False}),
        CommandForm(),
        role="edit",
        inside=False,
    )
    training: bool


class Seed(Struct, frozen=True, tag=True):
    """Seed torch on every device, python and numpy."""

    syntax: ClassVar = Syntax(
        Word("seed", "seed 7", "Seed torch, python and numpy."), CommandForm(whole("seed")), role="edit", inside=False
    )
    seed: int
