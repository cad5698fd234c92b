"""The Why view at a stop inside a phase: what is about to happen at the module, op or node, or what just did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from gradstep.engine.autograd.derivatives.find import rule_of, symbol_of, words_of
from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor, node_name
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values import numbers
from gradstep.values.commands import Backward, Forward
from gradstep.values.numbers import listed, shape
from gradstep.values.views import WhyView
from gradstep.values.views.ledger import FormulaLine
from gradstep.views.graph.operations import operation_of
from gradstep.views.node.inside import why_not

_MOST = 3
"""Maximum number of names in one sentence."""


def why_inside(held: Held, stop: int, stepping: Stepping, stop_place: StopPlace) -> WhyView:
    """Return the sentence for the place that a phase is stopped at, and the derivative when it is a node."""
    more = (_reason(stepping.reason),) if stepping.reason not in ("", "step") else ()
    if stop_place.node is None:
        return WhyView(
            stop, _of_forward(stop_place), _forward(stop_place), Forward.torch, (*more, *_parameters(held, stop_place))
        )
    record = held.graph()
    assert record is not None
    node = _Node(held, record, stop_place)
    more = (*more, *stop_place.edits)
    return WhyView(
        stop, node.name, node.sentence(), stop_place.call or Backward.torch, more, lines=tuple(node.formulas())
    )


def _reason(reason: str) -> str:
    known = {"pause": "it was paused here", "until": "the condition holds here"}
    return known.get(reason, f"stopped by {reason}" if reason.startswith("breakpoint") else reason)


# -- forward -----------------------------------------------------------------------------------------------------------
def _of_forward(stop_place: StopPlace) -> str:
    return f"{stop_place.path} {stop_place.name}".strip() if stop_place.kind == "module" else stop_place.name


def _forward(stop_place: StopPlace) -> str:
    given = _shapes(stop_place.inputs)
    if stop_place.kind == "module" and stop_place.outputs is None:
        what = f"{_of_forward(stop_place)} is about to run"
        if stop_place.compiled:
            return f"{what}{f' on {given}' if given else ''}. It is compiled: a region that runs as one operation."
        return f"{what}{f' on {given}' if given else ''}. `into` steps to what it calls, `over` runs it whole."
    if stop_place.outputs is None:
        what = f"{stop_place.name} is about to run backward inside the forward"
        return f"{what}. `into` steps to its nodes, `over` runs it whole."
    made, refused = _shapes(stop_place.outputs or ()), _refused(stop_place)
    way = f"{given} → {made}" if given and made else made or given
    if stop_place.kind == "module":
        did = f"{_of_forward(stop_place)} has run: {way}."
    else:
        where = f" in {stop_place.stack[-1]}" if stop_place.stack else ""
        did = f"{stop_place.name} ran{where}: {way}."
    if refused:
        return f"{did} No node for backward: {refused}."
    nodes = [node_name(t.grad_fn) for _, t in tensors_in(stop_place.outputs, "") if t.grad_fn is not None]
    if stop_place.kind == "op" and nodes:
        return f"{did} It recorded {nodes[0]}, which backward will run."
    return did


def _refused(stop_place: StopPlace) -> str:
    outputs = [tensor for _, tensor in tensors_in(stop_place.outputs, "")]
    return why_not(outputs[0], stop_place) if outputs and not any(t.requires_grad for t in outputs) else ""


def _parameters(held: Held, stop_place: StopPlace) -> Iterator[str]:
    """Name the parameters that an op was given."""
    if stop_place.kind == "op":
        given = (*tensors_in(stop_place.inputs, ""), *tensors_in(stop_place.keywords, ""))
        names = list(dict.fromkeys(held.names[t] for _, t in given if t in held.names))
        if names:
            yield f"it used {listed(names)}"


# -- backward ----------------------------------------------------------------------------------------------------------
class _Node:
    """The sentences for a node that a backward is stopped at."""

    def __init__(self, held: Held, record: GraphRecord, stop_place: StopPlace) -> None:
        self._held, self._record, self._stop_place = held, record, stop_place
        self.name = f"#{stop_place.number} {node_name(record.nodes[stop_place.number])}"

    def sentence(self) -> str:
        stop_place = self._stop_place
        if leaf_tensor(self._record.nodes[stop_place.number]) is not None:
            return self._of_leaf()
        label = f"{node_name(self._record.nodes[stop_place.number])} ({self._label(stop_place.number)})"
        if stop_place.edge == "after":
            targets = list(dict.fromkeys(self._record.edges[stop_place.number]))
            if not targets:
                return f"{label} has run: backward ends there."
            return f"{label} has run: it passed Jᵀv on to {listed([self._numbered(t) for t in targets])}."
        words = words_of(self._record.nodes[stop_place.number])
        happens = f" {_capital(words)}." if words else ""
        return f"{label} is about to run: v ({_shapes(stop_place.inputs)}) {self._arrives()}.{happens}"

    def _of_leaf(self) -> str:
        stop_place = self._stop_place
        name, shape = stop_place.parameter or "a leaf", _shapes(stop_place.inputs)
        leaf = leaf_tensor(self._record.nodes[stop_place.number])
        grad = None if leaf is None else leaf.grad
        if stop_place.edge == "before":
            does = "become its .grad, which is None" if grad is None else f"be added to its .grad (norm {_norm(grad)})"
            return f"v ({shape}) {self._arrives()}, and ends at {name}: it is about to {does}."
        if grad is None:
            return f"{name} was reached, but has no .grad: a hook took the gradient."
        return f"{name}.grad was written: its norm is now {_norm(grad)}. The weight itself has not changed."

    def _arrives(self) -> str:
        """Return the clause on the source of v."""
        stop_place = self._stop_place
        sources = list(dict.fromkeys(source for source, _, _ in stop_place.addends))
        if len(stop_place.addends) > 1:
            count = len(stop_place.addends)
            return f"is the sum of {count} incoming gradients, from {listed([self._numbered(s) for s in sources])}"
        source = sources[0] if sources else self._source()
        if source < 0:
            loss = "the derivative of the loss with respect to itself, 1"
            start = f"the gradient that {stop_place.call} starts from" if stop_place.call else loss
            return f"is where backward begins: {start}"
        return f"arrives from {self._numbered(source)}"

    def _source(self) -> int:
        """Return the node before this one, -1 for none; in execution order it is close."""
        here, edges = self._stop_place.number, self._record.edges
        return next((i for i in range(here - 1, -1, -1) if here in edges[i]), -1)

    def formulas(self) -> Iterator[FormulaLine]:
        """Yield the derivative for each input that receives a gradient; after the node has run, with norms."""
        stop_place = self._stop_place
        node = self._record.nodes[stop_place.number]
        rule = rule_of(node)
        if rule is None or leaf_tensor(node) is not None:
            return
        led = [edge for edge, (following, _) in enumerate(node.next_functions) if following is not None]
        for edge, place in [*zip(led, self._record.edges[stop_place.number], strict=True)][:_MOST]:
            symbol, formula = symbol_of(rule, edge)
            made = (
                stop_place.outputs[edge] if stop_place.outputs is not None and edge < len(stop_place.outputs) else None
            )
            norm = f", norm {_norm(made)}" if isinstance(made, Tensor) else ""
            yield FormulaLine(f"Jᵀv for {symbol}", formula, note=f"→ {self._label(place)} (#{place}){norm}")

    def _numbered(self, place: int) -> str:
        """Return a node's label with its number, since two may share a label; a parameter has only one leaf."""
        leaf = leaf_tensor(self._record.nodes[place]) is not None
        return self._label(place) + ("" if leaf else f" (#{place})")

    def _label(self, place: int) -> str:
        """Return a node's operation in plain words with its module; for a leaf, its `.grad`."""
        record, held = self._record, self._held
        leaf = leaf_tensor(record.nodes[place])
        if leaf is not None:
            return f"{held.names.get(leaf, 'a leaf')}.grad"
        owner = record.owners[place]
        operation = operation_of(record.nodes[place])
        if owner is None:
            return f"{operation} of the loss" if held.point.watched.recorded else operation
        kind = held.kinds[owner]
        return f"{operation} of {owner} {kind}" if owner else f"{operation} of the model"


# -- words -------------------------------------------------------------------------------------------------------------
def _shapes(values: Sequence[object]) -> str:
    shapes = [shape(sizes_of(t)) if t.dim() else "one number" for _, t in tensors_in(tuple(values), "")]
    return listed(shapes)


def _norm(tensor: Tensor) -> str:
    norm = norm_of(tensor)
    return "unknown" if norm is None else numbers.norm(norm)


def _capital(text: str) -> str:
    """Capitalise a sentence, but not the symbol v."""
    return text if text.startswith("v ") else text[:1].upper() + text[1:]
