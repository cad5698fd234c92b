"""Groups: the nodes of a graph by the module calls that made them, each foldable into one row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
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
                path, number = calls[which][:2]
                key = path if number == 1 else f"{path}#{number}"
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

    def level(self) -> int:
        """Return the depth from which groups are folded by default, so that few rows remain."""
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
        depth, others = self.level() if level < 0 else level, frozenset(toggled)
        return lambda group: (group.depth >= depth) != (group.key in others)


class FoldedRows:
    """The rows that remain when some groups are folded: nodes and groups outside of folded ones."""

    def __init__(self, groups: Groups, folded: Callable[[Group], bool]) -> None:
        self.firsts: list[int] = []
        """The node of each row; of a folded group its first."""
        self.folds: dict[int, int] = {}
        """The index of the group of each row that is a folded group."""
        self._groups = groups
        node = 0
        for place, group in enumerate(groups.items):
            if group.first < node or not folded(group):
                continue
            self.firsts.extend(range(node, group.first))
            self.folds[len(self.firsts)] = place
            self.firsts.append(group.first)
            node = group.end
        self.firsts.extend(range(node, groups.total))

    def row_of(self, node: int) -> int:
        """Return the row that shows a node."""
        return bisect_right(self.firsts, node) - 1

    def end_of(self, row: int) -> int:
        """Return the node after the last one of a row."""
        place = self.folds.get(row)
        return self.firsts[row] + 1 if place is None else self._groups.items[place].end

    def edges(self, record: GraphRecord) -> Sequence[tuple[int, ...]]:
        """Return for each row the rows that its edges lead to, without edges inside a folded group."""
        if not self.folds:
            return record.edges
        row_of = [row for row in range(len(self.firsts)) for _ in range(self.firsts[row], self.end_of(row))]
        edges: list[tuple[int, ...]] = []
        for row, node in enumerate(self.firsts):
            if row not in self.folds:
                edges.append(tuple([row_of[target] for target in record.edges[node]]))
                continue
            inside = (row_of[target] for n in range(node, self.end_of(row)) for target in record.edges[n])
            edges.append(tuple(dict.fromkeys(target for target in inside if target != row)))
        return edges


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
