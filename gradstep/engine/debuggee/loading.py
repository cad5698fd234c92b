"""Load the workload that a target names: an example, `FILE.py:factory` or `pkg.module:factory`."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import StepLeft
from gradstep.engine.problems import problem_of
from gradstep.examples import EXAMPLES
from gradstep.targets import A_FACTORY, OWN_LOOP, check_factory
from gradstep.values.errors import GradstepError, wrong
from gradstep.workload import Workload


def find_factory(target: str, folder: str) -> Callable[[], object]:
    """Return the factory that a target names; exceptions from importing the user's module propagate.

    Args:
        target: an example's name, `FILE.py:factory` or `pkg.module:factory`.
        folder: the folder of a relative FILE; empty for the working directory.

    Raises:
        GradstepError: there is no such example, file, module or function.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        if target in EXAMPLES:
            return _function(importlib.import_module(f"gradstep.examples.{target}"), "workload", target)
        raise _unknown(target)
    if place.endswith(".py"):
        path = Path(folder, Path(place).expanduser()).resolve()
        if not path.is_file():
            raise wrong(
                "there is no such file",
                str(path),
                "check the path; `load` in a script is relative to the script's folder",
                place,
            )
        _check_factory(path, name)
        return _function(_run_file(path), name, target)
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError) as error:
        missing = error.name if isinstance(error, ImportError) else place
        if not f"{place}.".startswith(f"{missing}."):  # the package exists, but not something that it imports
            raise
        found = None
    if found is None:
        raise wrong("there is no such module", f"{place} can't be imported", "is its folder on PYTHONPATH?", place)
    _check_factory(Path(found.origin or ""), name)
    return _function(importlib.import_module(place), name, target)


class Origin(NamedTuple):
    """The source of a factory."""

    file: Path
    package: str
    """The package that contains the file; empty for none."""
    name: str
    """The name of the factory in the file."""
    root: Path
    """The folder of the file, or of its outermost package."""


def origin_of(target: str, folder: str) -> Origin:
    """Return the source of the factory of a loaded target; nothing is imported.

    Raises:
        OSError: there is no source file.
    """
    place, colon, name = target.rpartition(":")
    if place.endswith(".py"):
        file = Path(folder, Path(place).expanduser()).resolve()
        return Origin(file, "", name, file.parent)
    module = sys.modules.get(place if colon else f"gradstep.examples.{target}")
    file = Path(getattr(module, "__file__", None) or "")
    if file.suffix != ".py":
        raise FileNotFoundError(f"{place} has no source file")
    package = getattr(module, "__package__", None) or ""
    depth = len(package.split(".")) if package else 0
    return Origin(file, package, name if colon else "workload", file.parents[depth])


def build(factory: Callable[[], object], target: str) -> Workload:
    """Call a factory and check what it returns.

    Raises:
        GradstepError: the factory raised, or did not return a Workload.
    """
    stepped: list[StepLeft] = []
    try:
        with observe({StepLeft: stepped.append}):
            made = factory()
    except Exception as error:
        raise GradstepError(problem_of(error, f"the factory {target}", A_FACTORY)) from error
    steps = len(stepped)
    if not isinstance(made, Workload):
        raise wrong(
            "the factory did not return a Workload",
            f"{target} returned {'None' if made is None else 'a ' + type(made).__name__}"
            + (f", after {steps:,} optimizer step{'s' if steps > 1 else ''} of its own" if steps else ""),
            f"{OWN_LOOP}\n{A_FACTORY}" if steps else A_FACTORY,
        )
    return made


def check(workload: Workload) -> None:
    """Check that a workload has a model, one loss, an optimizer and batches.

    Raises:
        GradstepError: naming what is missing or of the wrong type.
    """
    given: object = workload
    if not isinstance(given, Workload):
        remedy = "give gradstep.Workload(model=..., loss=..., optimizer=..., batches=...)"
        if callable(given) and not isinstance(given, torch.nn.Module):
            name = getattr(given, "__name__", "")
            remedy = f"call it: {name}()" if name.isidentifier() else "call it, and give what it returns"
        raise wrong("this is not a Workload", f"It is a {type(given).__name__}", remedy)
    if not isinstance(workload.model, torch.nn.Module):
        raise wrong(
            "the model is not a module", f"`model` is a {type(workload.model).__name__}", "give a torch.nn.Module"
        )
    for name, tensor in (*workload.model.named_parameters(), *workload.model.named_buffers()):
        if torch.nn.parameter.is_lazy(tensor):
            what = f"{name} belongs to a lazy module: it has no shape before the first input"
            raise wrong("the model is not initialised yet", what, "run model(x) once in the factory")
    if (workload.loss is None) == (workload.compute_loss is None):
        what = "neither `loss` nor `compute_loss` is given" if workload.loss is None else "both are given"
        raise wrong("the workload needs one loss", what, "give loss=(output, target) or compute_loss=(model, batch)")
    for name in ("loss", "compute_loss"):
        value = getattr(workload, name)
        if value is not None and not callable(value):
            raise wrong("the loss can't be called", f"`{name}` is a {type(value).__name__}", "give a function")
    if workload.optimizer is None:
        raise wrong(
            "the workload has no optimizer",
            "`optimizer` is not given",
            "give one, or a function from parameters to one: lambda p: torch.optim.SGD(p, lr=0.1)",
        )
    if workload.batches is None:
        raise wrong("the workload has no batches", "`batches` is not given", "give a list of batches, or a DataLoader")


def find_device(name: str) -> torch.device:
    """Return the device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        GradstepError: the name is not one of these, or this machine has no such device.
    """
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise wrong("there is no such device", name, "use auto, cpu, cuda, cuda:N or mps", name) from None
    there = (
        device.type == "cpu"
        or (device.type == "cuda" and (device.index or 0) < torch.cuda.device_count())
        or (device.type == "mps" and torch.backends.mps.is_available())
    )
    if not there:
        what = f"{name}: this torch ({torch.__version__}) sees {torch.cuda.device_count()} CUDA devices"
        raise wrong("this device is not available", what, "use --device cpu, or auto for the best available", name)
    return device


def _check_factory(file: Path, name: str) -> None:
    """Check that a function can be a factory before its file is imported; an unreadable file fails on import.

    Raises:
        GradstepError: it takes arguments, or returns nothing.
    """
    with suppress(OSError, SyntaxError, ValueError):
        check_factory(ast.parse(file.read_bytes()), name, file.name)


def _function(module: ModuleType, name: str, target: str) -> Callable[[], object]:
    function = getattr(module, name, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    names = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__]
    near = difflib.get_close_matches(name, names, 1) or names[:3]
    offer = f"did you mean {', '.join(near)}? " if near else ""
    raise wrong(
        f"there is no function {name}", f"in {target.rpartition(':')[0] or module.__name__}", offer + A_FACTORY, name
    )


def _run_file(path: Path) -> ModuleType:
    """Import a file by path under the name of the file, with its folder on `sys.path`."""
    folder = str(path.parent)
    if folder not in sys.path:
        # before installed packages, as for a script; after the standard library, which it must not shadow
        sites = (i for i, place in enumerate(sys.path) if place.endswith(("site-packages", "dist-packages")))
        sys.path.insert(next(sites, len(sys.path)), folder)
    standing = sys.modules.get(path.stem)
    taken = path.stem in sys.stdlib_module_names or (
        standing is not None and getattr(standing, "__file__", None) != str(path)
    )
    name = f"{path.stem} of {folder}" if taken else path.stem
    standing = sys.modules.get(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise wrong("this file can't be imported", str(path), "give a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if standing is not None:
            sys.modules[name] = standing
        raise
    return module


def _unknown(target: str) -> GradstepError:
    if target.endswith(".py"):
        return wrong(
            "which function of the file?",
            f"{target} is a script; gradstep steps a Workload that a function returns, or that the script opens",
            f"Name it as {target}:factory.\n{OWN_LOOP}\n{A_FACTORY}",
            target,
        )
    near = difflib.get_close_matches(target, EXAMPLES, 1)
    offer = f"did you mean {near[0]}? " if near else ""
    return wrong("there is no such example", target, f"{offer}The examples are {', '.join(EXAMPLES)}", target)
