"""Weights that the script writes itself, outside of an optimizer's `step`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gradstep.engine.bits import same_bits


class Writes:
    """Finds which weights were written between the end of a phase and the beginning of the next.

    A write through `.data` leaves the version counter as it is: where there is no optimizer, contents are compared.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, str, int]] = []
        self._copies: Mapping[str, Tensor] = {}

    def mark(self, names: Mapping[Tensor, str], copies: Mapping[str, Tensor]) -> None:
        """Note the weights as they are now.

        Args:
            names: the weights.
            copies: their contents, by name, where those are to be compared.
        """
        self._seen = [(weight, name, weight._version) for weight, name in names.items()]
        self._copies = copies

    def found(self) -> tuple[str, ...]:
        """Return the names of the weights that were written since `mark`, once."""
        seen, copies, self._seen, self._copies = self._seen, self._copies, [], {}
        return tuple(
            [name for weight, name, version in seen if weight._version != version or _other(weight, copies.get(name))]
        )


def _other(weight: Tensor, copy: Tensor | None) -> bool:
    return copy is not None and not same_bits(weight.detach(), copy)
