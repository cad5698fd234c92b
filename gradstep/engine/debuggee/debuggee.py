"""The debuggee: model, loss, optimizer, schedulers and batches of a workload, and the names of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from gradstep.engine.debuggee import loading
from gradstep.engine.debuggee.attributes import Attributes, is_users
from gradstep.engine.debuggee.batches import Batches
from gradstep.engine.debuggee.generators import RandomKeeper
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.debuggee.optimizers import needs_closure, optimizer_of, schedulers_of
from gradstep.engine.debuggee.strays import Stray
from gradstep.engine.observe.forward import Watched
from gradstep.engine.observe.ledger import Ledger
from gradstep.values.errors import wrong
from gradstep.workload import Workload


class Debuggee:
    """Builds a workload on its device, and looks up its tensors by name. It runs nothing."""

    def __init__(
        self,
        workload: Workload,
        device: torch.device,
        progress: Callable[[str], None] = lambda _: None,
        loose: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Build a workload on a device.

        Args:
            workload: the workload.
            device: the device that model and loss are moved to.
            progress: called with a message at each stage.
            loose: for a running script, where nothing is moved: the leaves that no module owns, by name.
        """
        loading.check(workload)
        self.workload = workload
        self.device = device
        self.model = workload.model
        self.keeper = RandomKeeper()
        own = _module_of_the_loss(workload)
        if loose is None:
            progress(f"moving the model to {device}")
            self.model.to(device)
            if own is not None:
                own.to(device)
            progress("building the optimizer")
        self.optimizer = optimizer_of(workload)
        self.schedulers = schedulers_of(workload, self.optimizer)
        self.schedulers_of_script: Sequence[Any] = ()
        """The schedulers that were found in a running script, which steps them itself."""
        self.optimizers = [self.optimizer]
        """All of them: a script may have several, of which `optimizer` is the one that stepped last."""
        self.script = loose is not None
        """True for a running script: it runs itself, and only forward."""
        self.calls_closure = needs_closure(self.optimizer)
        self.batches = Batches(workload.batches, device, self.keeper)
        self.paths: dict[nn.Module, str] = {module: path for path, module in self.model.named_modules()}
        self.kinds: dict[str, str] = {path: type(module).__name__ for module, path in self.paths.items()}
        """The class of each module, by its path."""
        named = list(self._named_modules(own))
        self.modules = [module for _, module in named]
        """The modules of the model, and of a loss that is a module."""
        self.parameters = list(self._all_parameters(named, loose or {}))
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in self.parameters}
        self.owned = frozenset(name for name, _ in self.model.named_parameters())
        """The names of the model's own parameters; the optimizer may have more."""
        self.buffer_slots = list(_buffer_slots(named))
        self._slots = [module._buffers for module in self.modules if not isinstance(module, torch.jit.ScriptModule)]
        self._slots_told = [*chain.from_iterable(self._slots)]
        self._buffers_told = {(id(slots), key) for _, slots, key in self.buffer_slots}
        self.renormalised = list(_written_in_forward(self.model))
        self._user_forward = workload.loss is None or not all(map(is_torchs_module, self.modules))
        """True when a forward runs user code, which could write the weights."""
        self.attributes = Attributes(named, [*self.names, *(buffer for _, buffer in self.buffers())])
        self.unrepeatable = ""
        """The objects that may hold state that can't be captured, once a rerun of a forward gave another result."""
        self.strays: dict[int, Stray] = {}
        """The leaves that get a gradient and are not among the parameters, by id."""
        self.passing_leaves = WeakTensorKeyDictionary()
        """Unnamed leaves that one graph had: the forward may have created them only for itself."""
        self.point = Point()
        self.ledger = Ledger()
        self.losses: list[tuple[int, float]] = []
        self.loss_rates: list[tuple[float, ...]] = []
        """The learning rates at each of `losses`."""
        self.loss_series: list[int] = []
        """Of a script with several losses, which of them each of `losses` is; else empty."""
        self.loss_names: list[str] = []
        """What the script calls each of them."""

    def buffers(self) -> list[tuple[str, Tensor]]:
        """Return the buffers of the model, and of a loss that is a module, by name."""
        found = ((name, slots.get(key)) for name, slots, key in self.buffer_slots)
        return [(name, buffer) for name, buffer in found if buffer is not None]

    def writes_weights(self) -> bool:
        """Return whether a forward runs code that could write the weights: the user's modules, or hooks."""
        return self._user_forward or any(m._forward_hooks or m._forward_pre_hooks for m in self.modules)

    def mark_unrepeatable(self) -> str:
        """Record that a forward did not repeat; return the objects that may hold the state it depends on."""
        objects = [(path, type(each)) for path, each in self.attributes.capture().opaque()]
        own = [f"`self.{path}` (a {kind.__name__})" for path, kind in objects if is_users(kind)]
        several = f" and {len(own) - 3} more" if len(own) > 3 else ""
        self.unrepeatable = ", ".join(own[:3]) + several or "something outside of the model's attributes"
        return self.unrepeatable

    def late_buffers(self) -> list[str]:
        """Return the buffers registered since the workload was built, each once; they are not part of the state."""
        found: list[str] = []
        names = [*chain.from_iterable(self._slots)]
        if names == self._slots_told:
            return found
        self._slots_told = names
        for module in self.modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            for key in module._buffers:
                if (place := (id(module._buffers), key)) not in self._buffers_told:
                    self._buffers_told.add(place)
                    path = self.paths.get(module, type(module).__name__)
                    found.append(f"{path}.{key}" if path else key)
        return found

    def tensor(self, name: str) -> Tensor | None:
        """Return the parameter or buffer with a name; a shared one has several names."""
        path, _, own = name.rpartition(".")
        module = next((m for m in (self._module(path),) if m is not None), None)
        parts = () if module is None else (module._parameters, module._buffers)
        found = next((part[own] for part in parts if own in part), None)  # those of a scripted module have no `get`
        others = (*self.parameters, *self.buffers()) if found is None else ()
        return found if found is not None else next((t for n, t in others if n == name), None)

    def parameter(self, name: str) -> nn.Parameter:
        """Return the parameter with a name in `parameters`."""
        found: nn.Parameter = next(parameter for each, parameter in self.parameters if each == name)
        return found

    def tensor_names(self) -> list[str]:
        """Return the names of all parameters and buffers, with every name of shared ones."""
        named = [n for n, _ in self.model.named_parameters(remove_duplicate=False)]
        named += [n for n, _ in self.model.named_buffers(remove_duplicate=False)]
        return list(dict.fromkeys([*named, *(n for n, _ in (*self.parameters, *self.buffers()))]))

    def rates(self) -> tuple[float, ...]:
        """Return the learning rate of each parameter group."""
        return tuple([float(group.get("lr", 0.0)) for group in self.optimizer.param_groups])

    def owner(self, parameter: Tensor) -> torch.optim.Optimizer:
        """Return the optimizer that has a parameter, the present one where several have or none has."""
        for optimizer in (self.optimizer, *self.optimizers):
            if any(parameter is each for group in optimizer.param_groups for each in group["params"]):
                return optimizer
        return self.optimizer

    def stateful(self) -> dict[str, Any]:
        """Return the schedulers and the objects in `state=`, by name."""
        schedulers = {f"scheduler {i}": s for i, s in enumerate(self.schedulers)}
        return {**schedulers, **self.workload.state}

    def use_optimizer(self, optimizer: torch.optim.Optimizer, schedulers: Sequence[Any]) -> None:
        """Replace the optimizer and its schedulers."""
        if optimizer is not self.optimizer:
            if all(each is not optimizer for each in self.optimizers):
                self.optimizers = [optimizer if each is self.optimizer else each for each in self.optimizers]
            self.optimizer, self.calls_closure = optimizer, needs_closure(optimizer)
        self.schedulers = list(schedulers)

    def compute(self, batch: Any, seen: Watched | None = None) -> Tensor:
        """Run model and loss on a batch; return the loss, and store the model's output in `seen`."""
        loss = self.workload.loss
        if loss is None:
            assert self.workload.compute_loss is not None
            return self.workload.compute_loss(self.model, batch)
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise wrong(
                "a batch is not an (input, target) pair",
                f"it is a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else ""),
                "give (input, target) batches, or compute_loss=(model, batch) instead of loss=",
            )
        output = self.model(batch[0])
        if seen is not None:
            seen.output = output
        return loss(output, batch[1])

    def _named_modules(self, loss: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
        seen: set[nn.Module] = set()
        yield from self.model.named_modules(seen)
        if loss is not None:
            prefix = "loss"
            while hasattr(self.model, prefix):
                prefix += "_"
            yield from loss.named_modules(seen, prefix)

    def _all_parameters(
        self, named: Sequence[tuple[str, nn.Module]], loose: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Any]]:
        seen: set[Tensor] = set()
        for path, module in named:
            for name, parameter in module.named_parameters(path, recurse=False):
                if parameter not in seen:
                    seen.add(parameter)
                    yield name, parameter
        yield from ((name, leaf) for name, leaf in loose.items() if leaf not in seen)
        seen.update(loose.values())
        for g, group in enumerate(self.optimizer.param_groups):
            for i, parameter in enumerate(group["params"]):
                if parameter not in seen:
                    seen.add(parameter)
                    yield f"group{g}.{i}", parameter

    def _module(self, path: str) -> nn.Module | None:
        """Return the module at a path; without getattr, which would compute a parametrized weight."""
        found: nn.Module | None = self.model
        for part in path.split(".") if path else ():
            inner = {} if found is None else found._modules  # of a scripted module without `get`
            found = inner[part] if part in inner else None  # noqa: SIM401
        return found


def _module_of_the_loss(workload: Workload) -> nn.Module | None:
    """Return the loss if it is a module outside of the model."""
    loss = workload.loss if workload.loss is not None else workload.compute_loss
    return loss if isinstance(loss, nn.Module) and loss not in set(workload.model.modules()) else None


def is_torchs_module(module: nn.Module) -> bool:
    """Return whether a module's class is torch's own."""
    return type(module).__module__.startswith("torch.nn.")


def _buffer_slots(
    named: Sequence[tuple[str, nn.Module]],
) -> Iterator[tuple[str, dict[str, Tensor | None], str]]:
    """Yield each buffer's name, and the dict and key that hold it: a module may replace the tensor."""
    for path, module in named:
        # a scripted module has no such dict, and never replaces the tensor
        scripted = isinstance(module, torch.jit.ScriptModule)
        slots: dict[str, Tensor | None] = dict(module.named_buffers(recurse=False)) if scripted else module._buffers
        for key in slots:
            yield f"{path}.{key}" if path else key, slots, key


def _written_in_forward(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that a forward writes: an embedding with max_norm renormalises the rows it looks up."""
    for path, module in model.named_modules():
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.max_norm is not None:
            yield f"{path}.weight" if path else "weight", module.weight
