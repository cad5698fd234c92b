"""What a script trains, found by watching it: its models, their names, its optimizers, and tensors without a module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from types import FrameType
from typing import Any
from weakref import WeakSet, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.weak import WeakTensorKeyDictionary

from gradstep.engine.held import Held
from gradstep.engine.observe.addends import Addends
from gradstep.engine.observe.bookkeeper import Bookkeeper
from gradstep.engine.observe.ledger import Accounts, Ledger
from gradstep.engine.observe.strays import leaves_of
from gradstep.engine.script.frames import named_values, names_of
from gradstep.engine.state.saved import Saved
from gradstep.workload import Workload

_FEW = 16
"""Elements of a container that are looked at."""


class Found:
    """The models and optimizers seen so far, as a debuggee that every view can look at."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._models: dict[nn.Module, str] = {}
        """The outermost modules that were called, or what the script calls the whole that they are part of, by name."""
        self._inside: WeakSet[nn.Module] = WeakSet()
        """The models and all that is inside of them."""
        self._without: WeakSet[nn.Module] = WeakSet()
        """Modules that were called and have no parameters: losses, activations."""
        self.optimizers: list[Optimizer] = []
        self._leaves: dict[Tensor, str] = {}
        """The leaves that no module owns, by name."""
        self._passing = WeakTensorKeyDictionary()
        """Leaves that one graph had: the script may have made them only for that."""
        self._schedulers: list[ref[LRScheduler]] = []
        self._changed = True
        self._held: Held | None = None
        self._parts: tuple[int, ...] = ()
        """The ids of all parameters when `_held` was made."""
        self._names: dict[Tensor, str] = {}
        self.ledger, addends = Ledger(), Addends()
        self.bookkeeper = Bookkeeper(self.ledger, self._names, addends, lambda _: self._origin())
        self._addends = addends

    @property
    def owns_parameters(self) -> bool:
        """True where a module or an optimizer holds what is trained; else it is found in each graph anew."""
        return bool(self._models or self.optimizers)

    @property
    def has_models(self) -> bool:
        """True once a module with parameters was called."""
        return bool(self._models)

    # -- what is seen --------------------------------------------------------------------------------------------------
    def module(self, module: nn.Module, frame: FrameType | None) -> None:
        """Note that an outermost module was called, and what the optimizers among the script's variables train."""
        if module in self._models or module in self._inside or module in self._without:
            return
        if next(module.parameters(), None) is None:
            self._without.add(module)
            return
        variables = list(named_values(frame))
        for value in [value for _, value in variables if issubclass(type(value), Optimizer)]:
            if "param_groups" in vars(value):  # of one that wraps another it is a property
                self.optimizer(value, frame, used=False)
        if module not in self._inside:
            modules = [value for _, value in variables if issubclass(type(value), nn.Module)]
            self._add(_whole(module, modules), names_of(frame))

    def optimizer(self, optimizer: Optimizer, frame: FrameType | None, used: bool = True) -> None:
        """Note an optimizer; with `used` it is one that runs, and not one that may only wrap another."""
        for each in self.optimizers:
            if each is optimizer:
                return
        same = [each for each in self.optimizers if each.param_groups is optimizer.param_groups]
        if same and not used:
            return
        self._drop(same)
        if self.optimizers:
            named, own = names_of(frame), {id(each) for each in _of(optimizer)}
            replaced = [each for each in self.optimizers if not own.isdisjoint(map(id, _of(each)))]
            self._drop(each for each in replaced if _gone(each, optimizer, named))
        self.optimizers.append(optimizer)
        self._changed = True
        self._owners(set(_of(optimizer)) - self._owned(), frame)

    @staticmethod
    def names_optimizer(frame: FrameType | None) -> bool:
        """Return whether a variable names an optimizer, also one that wraps another, or a list or dict of some."""
        for _, value in named_values(frame):
            several = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
            if any(issubclass(type(each), Optimizer) for each in (value, *islice(several, _FEW))):
                return True
        return False

    def graph(self, roots: Iterable[Node | None], frame: FrameType | None) -> tuple[str, ...]:
        """Note the leaves of a graph: those that no module owns are parameters of the script itself.

        A leaf of the first graph only may be an input that requires grad: it counts from its second graph on. Return
        the names that now stand for another tensor: `w = w - lr * grad`.
        """
        owned = self._owned()
        there = [leaf for root in roots for leaf in leaves_of(root) if leaf not in owned]
        if any(isinstance(leaf, nn.Parameter) for leaf in there):  # of a module that was not called as one
            self._owners(set(there), frame)
            owned = self._owned()
            there = [leaf for leaf in there if leaf not in owned]
        trained = [each for optimizer in self.optimizers for each in _of(optimizer) if each not in owned]
        if not there and not trained and not self._leaves:
            return ()
        names = names_of(frame)
        new = [
            leaf
            for leaf in there
            if isinstance(leaf, nn.Parameter) or leaf in self._passing or (not self._models and id(leaf) in names)
        ]
        for leaf in there:
            self._passing[leaf] = True
        order = {key: place for place, key in enumerate(names)}  # as the script defines them
        new.sort(key=lambda leaf: order.get(id(leaf), len(order)))
        present, trained_too = set(there), set(trained)
        stay = [
            leaf
            for leaf in self._leaves
            if leaf in trained_too or (leaf not in owned and (leaf in present or id(leaf) in names))
        ]
        found = {each: self._leaves.get(each) or names.get(id(each), "") for each in (*stay, *new, *trained)}
        old = {name: leaf for leaf, name in self._leaves.items() if name}
        if [(id(leaf), name) for leaf, name in found.items()] != [(id(leaf), n) for leaf, n in self._leaves.items()]:
            self._leaves, self._changed = found, True
        return tuple([name for leaf, name in found.items() if name in old and old[name] is not leaf])

    def schedulers(self, frame: FrameType | None) -> None:
        """Note the schedulers that variables name."""
        for _, value in named_values(frame):
            if issubclass(type(value), LRScheduler) and all(each() is not value for each in self._schedulers):
                self._schedulers.append(ref(value))

    # -- as a debuggee -------------------------------------------------------------------------------------------------
    def held(self, checks: bool = False) -> Held:
        """Return what was found as a debuggee; made anew when more was found since the last time.

        Args:
            checks: look whether parameters were added to a model or an optimizer, or replaced.
        """
        if self._held is None or self._changed or (checks and self._parts != self._ids()):
            self._changed, self._parts = False, self._ids()
            self._held = self._make()
        if checks:
            seen = [each() for each in self._schedulers]
            self._held.schedulers_of_script = [each for each in seen if each is not None]
        return self._held

    def _owned(self) -> set[Tensor]:
        return {parameter for model in self._models for parameter in model.parameters()}

    def _owners(self, parameters: set[Tensor], frame: FrameType | None) -> None:
        """Add the models among the script's variables that own some parameters."""
        if not parameters:
            return
        modules = [value for _, value in named_values(frame) if issubclass(type(value), nn.Module)]
        for each in modules:
            if each not in self._inside and any(parameter in parameters for parameter in each.parameters()):
                self._add(_whole(each, modules), names_of(frame))

    def _ids(self) -> tuple[int, ...]:
        owned = [id(parameter) for model in self._models for parameter in model.parameters()]
        return (*owned, *(id(parameter) for optimizer in self.optimizers for parameter in _of(optimizer)))

    def _make(self) -> Held:
        model, old = self._model(), self._held
        self._inside = WeakSet(model.modules())
        optimizer = self.optimizers[-1] if self.optimizers else NoOptimizer()
        if old is not None and any(each is old.optimizer for each in self.optimizers):
            optimizer = old.optimizer
        loose = {name or f"leaf{number}": leaf for number, (leaf, name) in enumerate(self._leaves.items())}
        first = next(model.parameters(), next(iter(self._leaves), torch.empty(0)))
        workload = Workload(
            model,
            compute_loss=_not_run_from_here,
            optimizer=optimizer,
            batches=[()],
            name=self._name,
        )
        made = Held(workload, first.device, loose=loose)
        made.optimizers = list(self.optimizers) or [optimizer]
        made.models = tuple(model._modules) if len(self._models) > 1 else ()
        self._keep_accounts(made)
        if old is not None:
            made.losses, made.loss_rates, made.point = old.losses, old.loss_rates, old.point
            made.loss_series, made.loss_names = old.loss_series, old.loss_names
            made.recording, made.saved, made.batches = old.recording, Saved(known=False), old.batches
        return made

    def _keep_accounts(self, made: Held) -> None:
        """Carry the accounts of the ledger over to a new debuggee, under its names of the parameters."""
        old, accounts = {name: tensor for tensor, name in self._names.items()}, self.ledger.copy()
        renamed = {name: made.names[tensor] for name, tensor in old.items() if tensor in made.names}
        entries = {renamed[name]: entry for name, entry in accounts.entries.items() if name in renamed}
        lines = {renamed[name]: line for name, line in accounts.lines.items() if name in renamed}
        self.ledger.restore(Accounts(entries, lines, forgotten=accounts.forgotten))
        self._names.clear()
        self._names.update(made.names)
        made.ledger, made.addends, made.bookkeeper = self.ledger, self._addends, self.bookkeeper

    def _origin(self) -> tuple[int, float | None]:
        held = self.held()
        return len(held.losses), held.point.value

    def _model(self) -> nn.Module:
        if len(self._models) == 1:
            return next(iter(self._models))
        whole = nn.Module()
        whole.__class__ = type("Models", (nn.Module,), {})
        for model, base in self._models.items():
            name, number = base, 1
            while name in whole._modules:
                number += 1
                name = f"{base}{number}"
            whole._modules[name] = model
        return whole

    def _add(self, model: nn.Module, names: dict[int, str]) -> None:
        """Add a model; it takes the place of one of its class that no variable names any more."""
        inside = set(model.modules())
        gone = {each for each in self._models if type(each) is type(model) and _gone(each, model, names)}
        lost = {id(parameter) for each in gone for parameter in each.parameters()}
        self._models = {each: name for each, name in self._models.items() if each not in inside | gone}
        self._models[model] = names.get(id(model), type(model).__name__.lower())
        self._inside = WeakSet(module for each in self._models for module in each.modules())
        self._drop(each for each in self.optimizers if lost and all(id(p) in lost for p in _of(each)))
        self._changed = True

    def _drop(self, optimizers: Iterable[Optimizer]) -> None:
        ids = {id(each) for each in optimizers}
        self.optimizers = [each for each in self.optimizers if id(each) not in ids]


class NoOptimizer(Optimizer):
    """Stands for the optimizer of a script that has shown none."""

    def __init__(self) -> None:
        self.param_groups, self.defaults = [], {}
        self.state: Any = {}


def _of(optimizer: Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]


def _gone(old: object, new: object, named: Iterable[int]) -> bool:
    """Return whether a variable names what is new, and none names the old one any more."""
    return id(new) in named and id(old) not in named


def _whole(module: nn.Module, named: list[nn.Module]) -> nn.Module:
    """Return the largest module among the script's variables that a module is in, or is."""
    around = [each for each in named if any(inner is module for inner in each.modules())]
    return max(around, key=lambda each: sum(1 for _ in each.modules()), default=module)


def _not_run_from_here(*_: object) -> Tensor:
    raise NotImplementedError("the script computes its loss itself")
