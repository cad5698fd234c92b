"""The account of one parameter's `.grad`: a line for each write since it was last cleared, in the engine's order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from gradstep.engine.numbers.norms import norm_of, norms
from gradstep.engine.reads import Reading

Index = tuple[int, ...]


@dataclass(eq=False)
class Amount:
    """A copy of a tensor; of one too large to keep, its norm and the selected element."""

    whole: Tensor | None = None
    element: Index = ()
    value: Tensor | None = None
    given_norm: float | None = None

    @staticmethod
    def of(tensor: Tensor, element: Index | None) -> Amount:
        """Keep a copy of a tensor, or with `element` only that element and the norm."""
        plain = tensor.detach()
        if plain.layout is not torch.strided or plain.is_meta:
            return Amount()
        if element is None:
            return Amount(plain.clone())
        value = plain[element].clone() if len(element) == plain.dim() else None
        return Amount(element=element, value=value, given_norm=norm_of(plain))

    @staticmethod
    def zeros(tensor: Tensor) -> Amount:
        """Return zeros of a tensor's shape in one element of memory."""
        return Amount(tensor.detach().new_zeros(()).expand(tensor.shape))

    def at(self, element: Index) -> Tensor | None:
        """Return an element as a 0-dim tensor; None where it was not kept."""
        if self.whole is not None:
            return self.whole[element]
        return self.value if element == self.element else None

    @staticmethod
    def norms(amounts: Sequence[Amount]) -> Reading[list[float | None]]:
        """Read the L2 norm of each tensor, once; None where it was not kept."""
        new = [each for each in amounts if each.whole is not None and each.given_norm is None]
        found = yield from norms([each.whole for each in new if each.whole is not None])
        for each, norm in zip(new, found, strict=True):
            each.given_norm = norm
        return [each.given_norm for each in amounts]


class AccountLine(NamedTuple):
    """One line of an account: a write to `.grad`, or a step that used it."""

    kind: Literal["cleared", "earlier", "backward", "step", "changed"]
    """earlier: the contents when recording began, or lines folded into one; changed: written by other code."""
    parts: tuple[Amount, ...] = ()
    """Of a backward its addends, in the engine's order (several for nested backwards); else `.grad` at that time,
    nothing for None."""
    number: int = 0
    """Backwards since it was last cleared, including this one."""
    forward: int = 0
    loss: float | None = None
    used: int = 0
    """The number of steps folded into an `earlier` line."""


class Standing(NamedTuple):
    """The value of `.grad` at some moment: a tensor or one element; None for no `.grad`, or where it is unknown."""

    known: bool = True
    value: Tensor | None = None


class LineEffect(NamedTuple):
    """The effect of one part of one line."""

    line: AccountLine
    place: int
    """The index of the line."""
    part: Amount | None
    before: Standing
    amount: Tensor | None
    after: Standing


Pick: TypeAlias = "Callable[[Amount], Tensor | None]"
"""Selects the part of an amount to follow: the whole tensor, or an element; None where it was not kept."""


def replayed(lines: tuple[AccountLine, ...], pick: Pick) -> Iterator[LineEffect]:
    """Yield the effect of each line, adding as the engine does: in its order, in the dtype of `.grad`."""
    now = Standing()
    for place, line in enumerate(lines):
        if line.kind == "step" or not line.parts:
            after = now if line.kind == "step" else Standing()
            yield LineEffect(line, place, None, now, None, after)
            now = after
        for part in line.parts:
            picked = pick(part)
            if picked is None:
                after = Standing(known=False)
            elif line.kind != "backward":
                after = Standing(value=picked)
            elif now.known:
                after = Standing(value=picked if now.value is None else now.value + picked)
            else:
                after = now
            yield LineEffect(line, place, part, now, picked, after)
            now = after


def standing(lines: tuple[AccountLine, ...], pick: Pick) -> Standing:
    """Return the sum of the lines."""
    return next((moment.after for moment in reversed(list(replayed(lines, pick)))), Standing())


def folded(lines: tuple[AccountLine, ...], most: int) -> tuple[AccountLine, ...]:
    """Return the lines with the oldest backwards added up into one, so that at most `most` of them remain."""
    places = [i for i, line in enumerate(lines) if line.kind == "backward"]
    if len(places) <= most:
        return lines
    head, rest = lines[: places[-most]], lines[places[-most] :]
    total = standing(head, lambda amount: amount.whole)
    number = max(line.number for line in head)
    used = sum(line.used + (line.kind == "step") for line in head)
    return (AccountLine("earlier", (Amount(total.value),), number=number, used=used), *rest)
