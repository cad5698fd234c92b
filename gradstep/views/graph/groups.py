"""Groups: the nodes of a graph by the module calls that made them, each foldable into one row."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from gradstep.engine.autograd.graph import GraphRecord

FEW = 200
"""Rows up to which a graph is first shown unfolded; a larger one is folded to at most as many, if possible."""


class Group(NamedTuple):
    """Consecutive nodes made by one call of a module and the modules inside it."""

    key: str
    """The module's path, with the number of the call from the second on: `cell#2`."""
    call: int
    """The index of the call."""
    first: int
    end: int
    """The node after the last one."""
    depth: int
    """In how many groups it is nested."""
    parent: int
    """The index of the enclosing group; -1 for none."""


class Groups:
    """Every group of a graph: one call makes one, or several where other nodes run between its own.

    A call that made a single node is not a group, nor is the call of the model itself.
    """

    def __init__(self, record: GraphRecord) -> None:
        chains = _chains(record)
        calls = record.made.calls
        found: list[Group] = []
        open_: list[int] = []
        """Open groups, outermost first."""
        last = -1
        for node, call in enumerate([*record.calls, -1]):
            if call == last and node:
                continue
            last = call
            chain = chains[call] if call >= 0 else ()
            same = 0
            while same < min(len(open_), len(chain)) and found[open_[same]].call == chain[same]:
                same += 1
            for place in open_[same:]:
                found[place] = found[place]._replace(end=node)
            del open_[same:]
            for which in chain[same:]:
                made = calls[which]
                key = made.path if made.number == 1 else f"{made.path}#{made.number}"
                found.append(Group(key, which, node, node, len(open_), open_[-1] if open_ else -1))
                open_.append(len(found) - 1)
        self.items: list[Group] = _without_single(found)
        self._firsts = [group.first for group in self.items]
        self.total = len(record.nodes)

    def innermost(self, node: int) -> Group | None:
        """Return the innermost group that a node is in; None outside of all."""
        place = bisect_right(self._firsts, node) - 1
        while place >= 0 and self.items[place].end <= node:
            place = self.items[place].parent
        return self.items[place] if place >= 0 else None

    @cached_property
    def level(self) -> int:
        """The depth from which groups are folded by default, so that few rows remain."""
        deepest = max((group.depth for group in self.items), default=-1) + 1
        if self.total <= FEW:
            return deepest
        hidden = [0] * (deepest + 1)
        for group in self.items:
            hidden[group.depth] += group.end - group.first - 1
        fitting = [depth for depth in range(deepest + 1) if self.total - hidden[depth] <= FEW]
        return max(fitting, default=0)

    def folded(self, level: int, toggled: Sequence[str]) -> Callable[[Group], bool]:
        """Return a predicate for folded groups."""
        depth, others = self.level if level < 0 else level, frozenset(toggled)
        return lambda group: (group.depth >= depth) != (group.key in others)


class FoldedRows:
    """The rows that remain when some groups are folded: nodes and groups outside of folded ones.

    A row is named by its first node, so that a row keeps its name when others are folded.
    """

    def __init__(self, groups: Groups, folded: Callable[[Group], bool], edges: Sequence[Sequence[int]]) -> None:
        self._edges, self.nodes = edges, groups.total
        self._places: list[int] = []
        """The indices of the folded groups that are rows."""
        self._firsts: list[int] = []
        self._ends: list[int] = []
        self._rows: list[int] = []
        """For each of them, the number of the row."""
        node = hidden = 0
        for place, group in enumerate(groups.items):
            if group.first < node or not folded(group):
                continue
            self._places.append(place)
            self._firsts.append(group.first)
            self._ends.append(group.end)
            self._rows.append(group.first - hidden)
            node = group.end
            hidden += group.end - group.first - 1
        self.total = self.nodes - hidden
        """The number of rows."""

    def node_of(self, row: int) -> int:
        """Return the first node of a row."""
        place = bisect_right(self._rows, row) - 1
        if place < 0:
            return row
        beyond = row - self._rows[place]
        return self._ends[place] + beyond - 1 if beyond else self._firsts[place]

    def row_of(self, node: int) -> int:
        """Return the row that shows a node."""
        place = bisect_right(self._firsts, node) - 1
        return node if place < 0 else self._rows[place] + max(0, node - self._ends[place] + 1)

    def first_of(self, node: int) -> int:
        """Return the first node of the row that shows a node."""
        place = bisect_right(self._firsts, node) - 1
        return self._firsts[place] if place >= 0 and node < self._ends[place] else node

    def fold_at(self, node: int) -> int | None:
        """Return the index of the folded group that is the row at a node; None where the row is the node alone."""
        place = bisect_left(self._firsts, node)
        return self._places[place] if place < len(self._firsts) and self._firsts[place] == node else None

    def end_of(self, node: int) -> int:
        """Return the node after the last one of the row at a node."""
        place = bisect_left(self._firsts, node)
        return self._ends[place] if place < len(self._firsts) and self._firsts[place] == node else node + 1

    def edges_of(self, node: int) -> tuple[int, ...]:
        """Return the rows that the edges of the row at a node lead to, without edges inside a folded group."""
        end, first = self.end_of(node), self.first_of
        if end == node + 1:
            return tuple([first(target) for target in self._edges[node]])
        targets = (target for each in range(node, end) for target in self._edges[each] if target >= end)
        return tuple(dict.fromkeys(map(first, targets)))

    def walk(self, start: int) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield the rows that begin at node `start` or after it, each with those that its edges lead to."""
        place = bisect_left(self._firsts, start)
        node = max(start, self._ends[place - 1]) if place else start
        first = self.first_of
        for fold in [*self._firsts[place:], self.nodes]:
            for each in range(node, fold):
                yield each, [first(target) for target in self._edges[each]] if self._firsts else self._edges[each]
            if fold < self.nodes:
                yield fold, self.edges_of(fold)
                node = self.end_of(fold)

    def differ(self, other: FoldedRows) -> tuple[int, int]:
        """Return the first node that another folding of the graph may show in another row, and the node after the last.

        At both a row begins in either folding.
        """
        ours, theirs = self._places, other._places
        most = min(len(ours), len(theirs))
        same = next((i for i in range(most) if ours[i] != theirs[i]), most)
        after = next((i for i in range(most - same) if ours[-1 - i] != theirs[-1 - i]), most - same)
        changed = [(each, same, len(each._places) - after) for each in (self, other)]
        firsts = [each._firsts[low] for each, low, high in changed if low < high]
        ends = [each._ends[high - 1] for each, low, high in changed if low < high]
        return min(firsts, default=self.nodes), max(ends, default=0)


def _chains(record: GraphRecord) -> list[tuple[int, ...]]:
    """Return for each call its enclosing calls, outermost first, and itself, without the call of the model."""
    chains: list[tuple[int, ...]] = []
    for place, call in enumerate(record.made.calls):
        outer = chains[call.parent] if call.parent >= 0 else ()
        chains.append((*outer, place) if call.path else outer)
    return chains


def _without_single(found: list[Group]) -> list[Group]:
    """Drop groups of one node, and renumber the rest."""
    kept: list[Group] = []
    places = [-1]
    for group in found:
        outer = places[group.parent + 1]
        if group.end - group.first == 1:
            places.append(outer)
            continue
        places.append(len(kept))
        kept.append(group._replace(parent=outer, depth=kept[outer].depth + 1 if outer >= 0 else 0))
    return kept
