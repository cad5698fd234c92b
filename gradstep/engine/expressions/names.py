"""Resolves names in expressions: the longest part that exists, and the attributes after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import GetSetDescriptorType
from typing import Protocol

from torch import Tensor, nn

from gradstep.engine.expressions.functions import FUNCTIONS, kind_of
from gradstep.values import expressions as x
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import expression_line
from gradstep.values.nearest import did_you_mean, nearest

_MISSING = object()
GIVEN = ("batch", "input", "target", "prediction")
"""Names of a model's inputs and outputs: tensors, or containers of them."""
PARTS = {
    "node": ("name", "edge", "in", "out", "number", "module", "parameter", "addends"),
    "module": ("name", "edge", "in", "out", "path"),
    "op": ("name", "edge", "in", "out", "module"),
}
"""The attributes of each place inside a phase."""
PLACES = tuple(PARTS)
"""Names of the places inside a phase."""


class NothingThereError(GradstepError):
    """An expression uses something that is None at this stop; it may have a value at another."""


class Scope(Protocol):
    """The names at a stop."""

    @property
    def inside(self) -> str:
        """The phase that the stop is inside; empty between phases."""
        ...

    def find(self, name: str) -> object:
        """Return the value of exactly this name; raise KeyError if it is unknown."""
        ...

    def names(self) -> Sequence[str]:
        """Return all names, for suggestions."""
        ...

    def state_of(self, tensor: Tensor) -> Mapping[str, object]:
        """Return the optimizer's state of a parameter; empty when there is none."""
        ...


def resolve(name: x.Name, scope: Scope) -> tuple[str, object, list[str]]:
    """Return the longest part of a dotted name that exists, its value, and the parts that follow it."""
    rest = [part for part in name.name.split(".") if part]
    first = [name.quoted] if name.quoted else []
    parts = first + rest
    for count in range(len(parts), 0, -1):
        known = ".".join(parts[:count])
        found = _find(known, scope)
        if found is not _MISSING:
            return known, found, parts[count:]
    raise _unknown(".".join(parts), expression_line(name), scope)


def _find(name: str, scope: Scope) -> object:
    try:
        return scope.find(name)
    except KeyError:
        return _MISSING


def _unknown(name: str, written: str, scope: Scope) -> GradstepError:
    stem, dot, tail = name, "", ""
    for attribute in (".grad", ".state"):
        if attribute in name:
            stem, dot, tail = name.partition(attribute)
    names = scope.names()
    guesses = [f"`{x.name_line(found)}{dot}{tail}`" for found in nearest(stem, names)]
    remedy = f"Did you mean {' or '.join(guesses)}?" if guesses else list_some(names)
    return wrong(f"there is no `{name}`", "It is not a name of the model, nor defined by a `let`.", remedy, written)


def part_of(value: object, part: str, owner: str, written: str, scope: Scope) -> object:
    """Return `.part` of a value: .grad or .state of a tensor, a key, a field, an index; never by getattr."""
    match value:
        case Tensor() if part == "grad":
            return value.grad if value.is_leaf or value.retains_grad else None
        case Tensor() if part == "state":
            return scope.state_of(value) or None
        case Mapping() if part in value:
            return value[part]
        case tuple() if part in getattr(value, "_fields", ()):
            return value[getattr(value, "_fields", ()).index(part)]
        case tuple() | list() if part.isdigit() and int(part) < len(value):
            return value[int(part)]
        case _ if part in (fields := fields_of(value)):
            return fields[part]
        case None if part not in PARTS.get(owner, (part,)):  # it does not exist at any stop
            remedy = did_you_mean(part, PARTS[owner]) or f"It has {', '.join(PARTS[owner])}."
            raise wrong(f"`{owner}` has no `.{part}`", "", remedy, written)
        case None:
            raise nothing_there(owner, f"It has no `.{part}`.", scope, written)
    known = ["grad", "state"] if isinstance(value, Tensor) else _keys(value)
    function = "shape" if part == "size" else part
    if isinstance(value, Tensor) and function in FUNCTIONS:
        what = "Expressions have functions, not methods."
        raise wrong(f"`{owner}` has no `.{part}`", what, f"Write `{function}({owner})`.", written)
    remedy = did_you_mean(part, known) or (f"It has {', '.join(known)}." if known else "")
    raise wrong(f"`{owner}` has no `.{part}`", f"It is {kind_of(value)}.", remedy, written)


def fields_of(value: object) -> Mapping[str, object]:
    """Return the fields of an object without running code of its class; of a module also its parameters and parts."""
    own = next((vars(each)["__dict__"] for each in type(value).__mro__ if "__dict__" in vars(each)), None)
    fields = own.__get__(value) if type(own) is GetSetDescriptorType else None  # not a property of that name
    if type(fields) is not dict:
        return {}
    if issubclass(type(value), nn.Module):
        parts = [fields.get(name) for name in ("_parameters", "_buffers", "_modules")]
        return {**fields, **{name: each for part in parts if part for name, each in part.items()}}
    return fields


def nothing_there(name: str, what: str, scope: Scope, written: str) -> NothingThereError:
    """Return the error for a name whose value is None, with a remedy."""
    return NothingThereError(wrong(f"`{name}` is none", what, _remedy(name, scope.inside), written).problem)


def _remedy(name: str, inside: str) -> str:
    """Return the remedy for a name whose value is None; empty if unknown."""
    if name.endswith(".grad"):
        how = "`continue` runs to the end of this backward" if inside == "backward" else "Run backward first"
        return f"{how}, or test whether it `is none`."
    if name.split(".")[0] in PLACES:
        return "It exists at a stop inside a phase: `into backward`; `.out` once it has run."
    if name.endswith(".state"):
        return "The optimizer creates it in its first step, if it keeps any."
    if name not in GIVEN and name != "loss":
        return ""
    return "`continue` runs to the end of this forward." if inside == "forward" else "Run forward first."


def _keys(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [str(key) for key in value][:20]
    return [str(f) for f in getattr(value, "_fields", ())] if isinstance(value, tuple) else []


def list_some(names: Sequence[str], count: int = 12) -> str:
    """Return the first of some names, for a message about an unknown one."""
    more = f", ... {len(names):,} in all" if len(names) > count else ""
    return f"There are {', '.join(names[:count])}{more}." if names else "Nothing is loaded."
