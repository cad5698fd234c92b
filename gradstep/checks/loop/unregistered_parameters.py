"""`unregistered-parameters`: layers in a plain list, or created in each forward, that are not registered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from weakref import ref

from torch import Tensor, nn

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.checks.loop.ownership import in_no_optimizer, parameters_of, without_module
from gradstep.engine.observe.strays import leaves_of
from gradstep.values.findings import Rule

_OWN = frozenset({"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"})
_SOME = 16
"""Elements of a plain tensor that are compared."""
_MOST = 10_000
"""Elements of a container that are looked at."""


class UnregisteredParameters(Check):
    """Looks for parameters in the graph that no model has, and for the attribute that holds them."""

    rule = Rule(
        id="unregistered-parameters",
        severity="error",
        title="parameters are not registered with the model",
        why="A module registers layers that are attributes, not those in a plain list, tuple or dict. parameters(), "
        "state_dict() and to() leave them out, so no optimizer trains them.",
        detects="The graph of the loss reaches parameters that are in no model and no optimizer; they are in a list, "
        "tuple or dict of a module, or differ from one forward to the next, or are plain tensors, attributes of a "
        "module, that nothing updates. A parameter that only the script holds, "
        "and that nothing updates, is a warning.",
        remedy="Register them: self.layers = nn.ModuleList([...]), nn.ModuleDict({...}) or nn.ParameterList([...]).",
        source="torch.nn.ModuleList documentation; pytorch#59925",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._strangers: list[tuple[tuple[int, ...], ref[Tensor]]] = []
        """The shapes of the parameters of unknown origin in the last graph, and they themselves."""
        self._versions: dict[int, int] = {}
        """The version counters of those that came again, by id."""
        self._plain: dict[int, tuple[ref[Tensor], int, Tensor]] = {}
        """By id, the plain tensors in the last graph that are attributes of modules: version, and some elements."""

    @at("backward")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the graph that a backward is about to run through."""
        if not sampled(moment.count):
            return
        own = {id(p) for _, root in moment.roots() for p in root.parameters()}
        own |= {id(p) for p in parameters_of(moment.held.optimizers)}
        roots = [each.grad_fn for each in moment.of.outputs if isinstance(each, Tensor)]
        leaves = {id(leaf): leaf for root in roots for leaf in leaves_of(root)}
        yield from self._plain_tensors(moment, {number for number in leaves if number not in own})
        strangers = {number: p for number, p in leaves.items() if number not in own and isinstance(p, nn.Parameter)}
        before, self._strangers = self._strangers, [(tuple(p.shape), ref(p)) for p in strangers.values()]
        if not strangers:
            return
        free = {id(p) for _, p in in_no_optimizer([("", p) for p in strangers.values()])}
        for path, module, attribute, held in _containers(moment):
            lost = [p for p in held if id(p) in free and id(p) in strangers]
            if lost:
                kind = type(vars(module)[attribute]).__name__
                where = moment.at(module=path, panel="model")
                what = f"self.{attribute} of {type(module).__name__} is a plain {kind}: {len(lost)} parameters in it "
                what += "get gradients, and are not among the model's."
                yield Seen(what, where, {"parameters": len(lost)})
                free -= {id(p) for p in lost}
        left = [p for number, p in strangers.items() if number in free]
        known = [(shape, each()) for shape, each in before]
        alive = [p for _, p in known if p is not None and id(p) not in leaves]
        lost_their_module = without_module(alive) if alive and left else set()
        old = [shape for shape, p in known if p is None or id(p) in lost_their_module]
        anew = [p for p in left if tuple(p.shape) in old]
        if anew:
            sizes = ", ".join("×".join(map(str, p.shape)) for p in anew[:3])
            what = f"{len(anew)} parameters ({sizes}) in the graph are new at each forward: a layer is built in it."
            remedy = "Build layers in __init__, and call them in forward: self.fc = nn.Linear(...)."
            yield Seen(what, moment.at(panel="graph"), {"parameters": len(anew)}, remedy)
        yield from self._alone(moment, [p for p in left if all(p is not each for each in anew)], known)

    def _plain_tensors(self, moment: Moment, others: set[int]) -> Iterable[Seen]:
        """Look for tensors that are attributes of modules, that get gradients, and that nobody updates."""
        before, self._plain = self._plain, {}
        if not others:
            return
        for path, module, attribute, tensor in _plain_attributes(moment, others):
            number, some = id(tensor), tensor.detach().reshape(-1)[:_SOME].clone()
            self._plain[number] = ref(tensor), tensor._version, some
            known, version, values = before.get(number, (None, 0, some))
            same = known is not None and known() is tensor and version == tensor._version and values.equal(some)
            if same and moment.held.point.steps and in_no_optimizer([(attribute, tensor)]):
                what = f"self.{attribute} of {type(module).__name__} is a plain tensor that gets gradients: it is not "
                what += "among the model's parameters, and no optimizer has it."
                remedy = f"Make it a parameter: self.{attribute} = nn.Parameter(torch.tensor(...))."
                yield Seen(what, moment.at(module=path, panel="model"), {"parameters": 1}, remedy)

    def _alone(self, moment: Moment, left: list[Tensor], known: list[tuple[Any, Tensor | None]]) -> Iterable[Seen]:
        """Yield the parameters of the script's own that stay the same, graph after graph."""
        before = {id(p) for _, p in known}
        again = {id(p): p._version for p in left if id(p) in before}
        same = [p for p in left if self._versions.get(id(p)) == p._version and id(p) in again]
        self._versions = again
        alone = without_module(same) if same and moment.held.point.steps else set()
        for p in same:
            if id(p) in alone:
                names = (name for name, value in moment.find_variables() if value is p)
                name = next(names, f"a parameter of {'×'.join(map(str, p.shape))}")
                what = f"{name} gets a gradient in each backward, and is in no module and no optimizer."
                remedy = f"Give it to the optimizer: torch.optim.Adam([*model.parameters(), {name}]); or make it an "
                remedy += "attribute of the model."
                where = moment.at(parameter=name, panel="graph")
                yield Seen(what, where, {"parameters": 1}, remedy, severity="warning")


def _containers(moment: Moment) -> Iterator[tuple[str, nn.Module, str, list[Tensor]]]:
    """Yield the plain containers of all modules that hold modules or parameters, with those parameters."""
    for name, root in moment.roots():
        for path, module in root.named_modules():
            for attribute, value in list(vars(module).items()):
                if attribute not in _OWN and isinstance(value, (list, tuple, dict)) and len(value) <= _MOST:
                    found = list(_inside(value))
                    if found:
                        yield ".".join(filter(None, (name, path))), module, attribute, found


def _plain_attributes(moment: Moment, others: set[int]) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Yield the attributes of modules that are tensors, and neither parameters nor buffers."""
    for name, root in moment.roots():
        for path, module in root.named_modules():
            for attribute, value in list(vars(module).items()):
                if type(value) is Tensor and id(value) in others:
                    yield ".".join(filter(None, (name, path))), module, attribute, value


def _inside(value: Any, depth: int = 3) -> Iterator[Tensor]:
    if isinstance(value, nn.Module):
        yield from value.parameters()
    elif isinstance(value, nn.Parameter):
        yield value
    elif depth and isinstance(value, (list, tuple, Mapping)) and len(value) <= _MOST:
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _inside(each, depth - 1)
