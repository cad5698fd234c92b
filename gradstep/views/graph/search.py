"""Search: the parts of the model and the graph that match the typed words."""

from __future__ import annotations

from collections.abc import Iterator

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor, node_name
from gradstep.engine.held import Held
from gradstep.values.numbers import shape
from gradstep.values.views.search import FoundView, Hit, LookFind
from gradstep.views.graph.operations import operation_of


class FindViewer:
    """Searches by parts of names. The searchable texts of a graph's nodes are made once: there may be 100,000."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._graph: GraphRecord | None = None
        self._texts: list[str] = []
        """For each node, its searchable text in lower case."""

    def view(self, stop: int, request: LookFind) -> FoundView:
        """Return the hits that have all words of the text, at most `limit` of them."""
        words = request.text.lower().split()
        if not words:
            return FoundView(stop, request.text, (), 0)
        named = [(_fit(hit, request.text.lower().strip()), hit) for hit in self._model() if _has(_text(hit), words)]
        hits = [hit for _, hit in sorted(named, key=lambda pair: pair[0])][: request.limit]
        nodes = self._nodes(words)
        hits += [self._node(place) for place in nodes[: request.limit - len(hits)]]
        return FoundView(stop, request.text, tuple(hits), len(named) + len(nodes))

    def _model(self) -> Iterator[Hit]:
        for module, path in self._held.paths.items():
            if path:
                yield Hit("module", path, type(module).__name__, path)
        for name, parameter in self._held.parameters:
            yield Hit("parameter", name, shape(tuple(parameter.shape)), name, name)
        for name, buffer in self._held.buffers():
            yield Hit("buffer", name, shape(tuple(buffer.shape)), name, name)

    def _nodes(self, words: list[str]) -> list[int]:
        record = self._held.graph()
        if record is None:
            self._graph, self._texts = None, []
            return []
        if record is not self._graph:
            self._graph = record
            self._texts = [f"#{i} {self._words(record, i)}".lower() for i in range(len(record.nodes))]
        first, *others = words
        found = [i for i, text in enumerate(self._texts) if first in text and _has(text, others)]
        number = first[1:] if first.startswith("#") else ""
        if number.isdecimal():
            # `#1` also matches #12: the exact number comes first
            found.sort(key=lambda place: place != int(number))
        return found

    def _words(self, record: GraphRecord, place: int) -> str:
        node, path = record.nodes[place], self._path(record, place)
        return f"{node_name(node)} {operation_of(node)} {path}"

    def _path(self, record: GraphRecord, place: int) -> str:
        leaf = leaf_tensor(record.nodes[place])
        return self._held.names.get(leaf, "") if leaf is not None else record.owners[place] or ""

    def _node(self, place: int) -> Hit:
        assert self._graph is not None
        node, path = self._graph.nodes[place], self._path(self._graph, place)
        name = f"#{place} {node_name(node)}"
        if leaf_tensor(node) is not None:
            return Hit("node", name, f"{path}.grad", shows=path, order=place)
        return Hit("node", name, f"{operation_of(node)}  {path}".strip(), order=place)


def _text(hit: Hit) -> str:
    return f"{hit.name} {hit.about} {hit.kind}".lower()


def _has(text: str, words: list[str]) -> bool:
    return all(word in text for word in words)


def _fit(hit: Hit, typed: str) -> int:
    """Return how well a name matches, 0 best: the whole name, its beginning, the beginning of its last part."""
    name = hit.name.lower()
    if name == typed:
        return 0
    if name.startswith(typed):
        return 1
    return 2 if name.rpartition(".")[2].startswith(typed) else 3 if typed in name else 4
