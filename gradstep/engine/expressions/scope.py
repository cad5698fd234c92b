"""The names in expressions at a stop: the model's tensors, the loss, the batch, and those defined by `let`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, ModuleType

import torch

from gradstep.engine.expressions.names import GIVEN, PLACES, fields_of
from gradstep.engine.held import Held
from gradstep.engine.stepping.stop_places import StopPlace, passed_at
from gradstep.values import expressions as x
from gradstep.values.errors import wrong
from gradstep.values.expressions import Expression

VALUES = ("loss", "iteration", "lr", "input", "target", "prediction", "batch")
"""Names besides those of the model's tensors."""
_KNOWN_OF_SCRIPTS = ("loss", "iteration", "lr")
"""Those that mean the same in every frame of a script, where it has a variable of that name as well."""


class HeldScope:
    """The names of a held workload; those of the model take precedence."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self.lets: dict[str, object] = {}
        """The values defined by `let`, by name."""
        self.stop_place: Callable[[], StopPlace | None] = lambda: None
        """Returns the place that a phase is stopped at; None between phases."""
        self.variables: Callable[[], Mapping[str, object]] = dict
        """Returns the variables of a script that are visible at the stop; empty for a held workload."""

    @property
    def inside(self) -> str:
        """The phase that the stop is inside; empty between phases."""
        stop_place = self.stop_place()
        return "" if stop_place is None else stop_place.phase

    def find(self, name: str) -> object:
        """Return the value of exactly this name.

        Raises:
            KeyError: there is no such name.
        """
        tensor = self._held.tensor(name)
        if tensor is not None:
            return tensor
        if name in self.lets:
            return self.lets[name]
        if name in PLACES:
            return self._place(name)
        if name in VALUES and not self.is_variable(name):
            return self._value(name)
        return readable(self.variables()[name])

    def is_variable(self, name: str) -> bool:
        """Return whether a name means a variable of the script: not the name of a weight, a `let`, or the loss."""
        taken = (*self.lets, *PLACES, *_KNOWN_OF_SCRIPTS)
        return name not in taken and self._held.tensor(name) is None and name in self.variables()

    def means(self, name: str, value: object) -> bool:
        """Return whether a name means this value of a variable, which may be the loss."""
        return self.is_variable(name) or (name in _KNOWN_OF_SCRIPTS and self._value(name) is value)

    def names(self) -> Sequence[str]:
        """Return all names."""
        places = PLACES if self.stop_place() is not None else ()
        return (*self.model_names(), *self.lets, *VALUES, *self.variable_names(), *places)

    def variable_names(self) -> Sequence[str]:
        """Return the names of a script's variables that expressions can read; private ones are left out."""
        named = self.variables().items()
        return [name for name, value in named if not name.startswith("_") and not issubclass(type(value), _NOT_READ)]

    def model_names(self) -> tuple[str, ...]:
        """Return the names of the model's parameters and buffers."""
        return tuple(self._held.tensor_names())

    def is_place(self, target: Expression) -> bool:
        """Return whether the left side of a `set` names an input or output at a stop inside a phase."""
        while isinstance(target, x.Index):
            target = target.base
        if not isinstance(target, x.Name) or target.quoted:
            return False
        first = target.name.partition(".")[0]
        return first in PLACES and first not in self.lets and self._held.tensor(target.name) is None

    def state_of(self, tensor: torch.Tensor) -> Mapping[str, object]:
        """Return the optimizer's state of a parameter; empty before its first step."""
        state: Mapping[str, object] = self._held.owner(tensor).state.get(tensor, {})
        return state

    def _place(self, name: str) -> object:
        """Return the node, module or op that a phase is stopped at; None if it is stopped at another kind."""
        stop_place = self.stop_place()
        return None if stop_place is None or stop_place.kind != name else passed_at(stop_place)

    def _value(self, name: str) -> object:
        held, point = self._held, self._held.point
        match name:
            case "loss":
                return point.loss
            case "iteration":
                return point.iteration
            case "lr":
                rates = held.rates()
                return rates[0] if len(rates) == 1 else list(rates)
            case "prediction":
                return point.watched.output
            case "input" | "target":
                batch = held.batches.batch
                pair = isinstance(batch, (tuple, list)) and len(batch) == 2
                return batch[("input", "target").index(name)] if pair else None
            case _:
                return held.batches.batch


_READ = (bool, int, float, complex, str, type(None), list, tuple, dict)


_NOT_READ = (ModuleType, FunctionType, BuiltinFunctionType, type)


def readable(value: object) -> object:
    """Return a script's value where an expression can read it without running code of the script's.

    Raises:
        GradstepError: it is an object of another kind.
    """
    kind = type(value)
    if kind in _READ or isinstance(value, torch.Tensor):
        return value
    if kind.__module__ == "numpy" and hasattr(kind, "item") and getattr(value, "size", 0) == 1:
        return value.item()  # type: ignore[attr-defined]
    if issubclass(kind, dict):
        return dict(dict.items(value))  # type: ignore[arg-type]
    if issubclass(kind, tuple) and kind.__getitem__ is tuple.__getitem__:  # a named tuple
        return value
    if fields := fields_of(value):  # `args.lr`
        return fields
    raise wrong("an expression can't read this", f"it is a {kind.__name__}", "it reads numbers, strings and tensors")


def selected_tensor(scope: HeldScope, path: str) -> torch.Tensor | None:
    """Return the selected tensor at this stop; None while it does not exist, such as a `.grad`."""
    first, *parts = path.split(".")
    if first in PLACES and scope.stop_place() is None:
        return None
    try:
        value = scope.find(path)
    except KeyError:
        if scope.is_variable(first) or (first in (*PLACES, *GIVEN) and not path.endswith(".grad")):
            return _passed(scope.find(first), parts)
        name, _, key = path.rpartition(".state.")
        owner = _owner(scope, name or path.removesuffix(".grad"))
        if not isinstance(owner, torch.Tensor) or not (name or owner.is_leaf or owner.retains_grad):
            return None
        value = scope.state_of(owner).get(key) if name else owner.grad
    return value if isinstance(value, torch.Tensor) else None


def _owner(scope: HeldScope, name: str) -> object:
    try:
        return scope.find(name)
    except KeyError as error:
        what = "the script is in another function, or has not assigned it yet"
        raise wrong(f"there is no `{name}` here", what, "`up` selects the frame of the caller") from error


def _passed(value: object, parts: Sequence[str]) -> torch.Tensor | None:
    """Return the tensor at a path in an input, an output or a variable; None if there is none."""
    for part in parts:
        if isinstance(value, torch.Tensor):
            value = value.grad if part == "grad" and (value.is_leaf or value.retains_grad) else None
        elif isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = fields_of(value).get(part)
    return value if isinstance(value, torch.Tensor) else None
