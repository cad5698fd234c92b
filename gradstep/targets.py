"""Check the target that a user named, as far as possible without torch and before a screen opens."""

from __future__ import annotations

import ast
import importlib.util
import os
from pathlib import Path

from gradstep.examples import EXAMPLES
from gradstep.values.errors import wrong
from gradstep.values.nearest import did_you_mean

A_FACTORY = (
    "A factory is a function without arguments that returns a gradstep.Workload (model, loss, optimizer, batches). "
    "`gradstep template my_model.py` writes a working one to start from."
)
OWN_LOOP = (
    "To step a script that has its own loop, import gradstep, add one line before the loop, and run the script:\n"
    "gradstep.open(gradstep.Workload(model=model, loss=loss_fn, optimizer=optimizer, batches=loader))"
)


def check_script(path: str) -> None:
    """Check a training script, as far as can be seen without running it.

    Raises:
        GradstepError: there is no such file, or it is not valid Python.
    """
    _parsed(os.path.join(path, "__main__.py") if os.path.isdir(path) else path)


def check_target(target: str) -> None:
    """Check an example's name, `FILE.py:factory` or `pkg.module:factory`.

    Raises:
        GradstepError: there is no such example, file, module or function, as far as reading the file can show.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        _check_example(target)
    elif place.endswith(".py"):
        tree = _parsed(place)
        known = _names(tree)
        if known is not None and name not in known:
            functions = _functions(tree)
            listed = f"Its functions are {_listed(functions)}." if functions else "It has no function at its top level."
            raise wrong(
                f"there is no function {name or '(no name)'} in {place}",
                listed,
                f"{did_you_mean(name, functions)} {A_FACTORY}".strip(),
                name,
            )
        check_factory(tree, name, place)
    else:
        _check_module(place, name)


def _check_example(target: str) -> None:
    if target in EXAMPLES:
        return
    offer = did_you_mean(target, EXAMPLES)
    raise wrong(
        f"there is no example called {target}",
        f"The examples are {_listed(list(EXAMPLES))}.",
        f"{offer} For your own model, give FILE.py:factory or pkg.module:factory.".strip(),
        target,
    )


def check_factory(tree: ast.Module, name: str, file: str) -> None:
    """Check that a function of a file can be a factory, without running it.

    Raises:
        GradstepError: it takes arguments, or returns nothing, as a training function does.
    """
    defined = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    stored = any(isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store) and n.id == name for n in ast.walk(tree))
    if len(defined) != 1 or stored or defined[0].decorator_list:
        return
    given = defined[0].args
    positional = [*given.posonlyargs, *given.args]
    needed = positional[: len(positional) - len(given.defaults)]
    needed += [each for each, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    if needed:
        what = f"{name} in {file} takes {_listed([each.arg for each in needed])}."
        raise wrong(
            "a factory takes no arguments", what, f"Write a function that calls it with them. {A_FACTORY}", name
        )
    if not _returns(defined[0]):
        what = f"{name} in {file} returns nothing, so it builds no workload."
        raise wrong("this function is not a factory", what, f"{OWN_LOOP}\n{A_FACTORY}", name)


def _returns(function: ast.FunctionDef) -> bool:
    """Return whether a function may return something, or only raises; nested functions are ignored."""
    if any(isinstance(node, ast.Raise) for node in function.body):
        return True
    todo: list[ast.AST] = [*function.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if isinstance(node, ast.Return) and not (node.value is None or ast.unparse(node.value) == "None"):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return False


def _check_module(place: str, name: str) -> None:
    if not all(part.isidentifier() for part in place.split(".")) or not name.isidentifier():
        raise wrong(
            f"{place}:{name} names no function",
            "It is neither FILE.py:factory nor pkg.module:factory.",
            A_FACTORY,
            place,
        )
    # only the top-level package is looked up: looking inside it would import it
    top = place.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        raise wrong(
            f"there is no module called {top}",
            f"It is neither in {os.getcwd()} nor on Python's path.",
            "Run gradstep in the folder that contains it, add that folder to PYTHONPATH, or give FILE.py:factory.",
            place,
        )


def _parsed(file: str) -> ast.Module:
    path = Path(file).expanduser()
    try:
        return ast.parse(path.read_bytes(), file)
    except FileNotFoundError:
        raise wrong(f"{file}: no such file", "", "", file) from None
    except OSError as error:
        raise wrong(f"{file} cannot be read", f"{error.strerror}.", "Check the path.", file) from None
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
        text = error.msg if isinstance(error, SyntaxError) else error
        raise wrong(f"{file} is not valid Python", f"{line}{text}", "Does `python` run this file?", file) from None


def _functions(tree: ast.Module) -> list[str]:
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def _names(tree: ast.Module) -> set[str] | None:
    """Return every name that the file's top level may define; None if unknown (`import *`)."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            if node.name == "*":
                return None
            found.add(node.asname or node.name)
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names)
