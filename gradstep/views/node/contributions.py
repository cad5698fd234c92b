"""The gradients that are added up at one node: the edge of each, its norm, and its share of the sum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from gradstep.engine.autograd.graph import GraphRecord, node_name
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of, norms
from gradstep.engine.observe.source_lines import source_of
from gradstep.engine.reads import read
from gradstep.values.views.contributions import Contribution, ContributionsView, LookContributions, Order, Total
from gradstep.views.graph.naming import Naming

Addends = Sequence[tuple[int, int, Tensor]]
"""The source node of each gradient, its edge, and the gradient, in the order of arrival."""
_CHUNK = 1 << 20
"""Elements that are converted to float64 at a time."""


class AddedGradients:
    """The gradients added up at a node, measured once for all views."""

    def __init__(
        self, held: Held, record: GraphRecord, number: int, arrived: Sequence[Tensor | None], addends: Addends
    ) -> None:
        """Take the gradients.

        Args:
            held: the workload.
            record: its graph.
            number: the node's place in it.
            arrived: the gradients that the engine passed to the node, one for each output of its operation.
            addends: the gradients that were added up; empty when only one arrives.
        """
        self._held, self._record, self._number, self._arrived = held, record, number, arrived
        self._addends = addends or tuple(self._alone())
        self._outputs = [record.nodes[n].next_functions[edge][1] for n, edge, _ in self._addends]
        self._naming = Naming(held, record)

    def view(self, stop: int, request: LookContributions) -> ContributionsView:
        """Return a window onto the rows, and their sum."""
        naming, number = self._naming, self._number
        parameter = naming.parameter(number)
        tensor = self._held.tensor(parameter) if parameter in self._held.owned else None
        order = self._order(request.by)
        first = max(0, min(request.first, len(order) - request.count))
        finite = [share for share in self._shares if share is not None and math.isfinite(share)]
        return ContributionsView(
            stop,
            number,
            node_name(self._record.nodes[number]),
            naming.operation(number),
            naming.module(number),
            parameter,
            "" if tensor is None else self._held.ledger.state(parameter, tensor),
            request.by,
            len(order),
            first,
            tuple([self._row(place) for place in order[first : first + request.count]]),
            max(map(abs, finite), default=0.0),
            any(share < 0 for share in finite),
            self._totals,
            "" if self._addends else "backward starts here: the gradient of the loss, 1, comes from no node",
        )

    def _alone(self) -> Iterator[tuple[int, int, Tensor]]:
        """Yield the gradient from the only edge that leads to the node."""
        node = self._record.nodes[self._number]
        for number, targets in enumerate(self._record.edges[: self._number]):
            if self._number not in targets:
                continue
            for edge, (following, output) in enumerate(self._record.nodes[number].next_functions):
                value = self._arrived[output] if following is node and output < len(self._arrived) else None
                if value is not None:
                    yield number, edge, value

    def _order(self, by: Order) -> list[int]:
        """Return the addends in the order of the rows, those of one output together."""
        places = range(len(self._addends))
        if by == "arrival":
            return sorted(places, key=lambda place: (self._outputs[place], place))
        return sorted(places, key=lambda place: (self._outputs[place], -self._weight(place), place))

    def _weight(self, place: int) -> float:
        known = self._shares[place] if self._shares[place] is not None else self._norms[place]
        return math.inf if known is not None and math.isnan(known) else abs(known or 0.0)

    def _row(self, place: int) -> Contribution:
        record, (number, edge, value) = self._record, self._addends[place]
        owner, call = record.owners[number], record.calls[number]
        times = record.made.times(owner) if owner is not None else 0
        return Contribution(
            number,
            edge,
            node_name(record.nodes[number]),
            self._naming.operation(number),
            self._naming.module(number),
            record.made.calls[call].number if call >= 0 and times > 1 else 0,
            times if times > 1 else 0,
            place,
            self._outputs[place],
            sizes_of(value),
            self._norms[place],
            self._shares[place],
            source_of(self._held.line_of(number)),
        )

    @cached_property
    def _norms(self) -> list[float | None]:
        return read(norms([value for _, _, value in self._addends]))

    @cached_property
    def _shares(self) -> list[float | None]:
        squares: dict[int, float] = {}
        for output in set(self._outputs):
            total = self._arrived[output]
            squares[output] = inner(total, total) if total is not None and _plain(total) else 0.0
        return [
            _share(value, self._arrived[output], squares[output])
            for (_, _, value), output in zip(self._addends, self._outputs, strict=True)
        ]

    @cached_property
    def _totals(self) -> tuple[Total, ...]:
        parts: dict[int, list[Tensor]] = {}
        for (_, _, value), output in zip(self._addends, self._outputs, strict=True):
            parts.setdefault(output, []).append(value)
        return tuple(
            Total(output, sizes_of(total), len(values), norm_of(total), _adds_up(values, total))
            for output, values in sorted(parts.items())
            if (total := self._arrived[output]) is not None
        )


def inner(one: Tensor, other: Tensor) -> float:
    """Return the inner product of two tensors of one shape, in float64."""
    flat, across = one.detach().reshape(-1), other.detach().reshape(-1)
    sums = [
        torch.dot(flat[i : i + _CHUNK].double(), across[i : i + _CHUNK].double()) for i in range(0, len(flat), _CHUNK)
    ]
    return float(torch.stack(sums).sum()) if sums else 0.0


def _plain(tensor: Tensor) -> bool:
    return not tensor.is_nested and tensor.layout is torch.strided and not tensor.is_meta and tensor.is_floating_point()


def _share(value: Tensor, total: Tensor | None, square: float) -> float | None:
    """Return <value, total> / <total, total>; None when it is undefined."""
    if total is None or not square or not math.isfinite(square) or not _plain(value) or value.shape != total.shape:
        return None
    return inner(value, total) / square


def _adds_up(values: Sequence[Tensor], total: Tensor) -> bool:
    """Return whether addends, added in the order in which they arrived, are what the engine used, bit for bit."""
    made = values[0]
    for value in values[1:]:
        made = made + value
    return same_bits(made, total)
