"""What a user named to be stepped, checked as far as it can be without torch and before a screen opens."""

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
    "`gradstep template my_model.py` writes one that works, to start from."
)


def check_target(target: str) -> None:
    """Check an example's name, `FILE.py:factory` or `pkg.module:factory`.

    Raises:
        GradstepError: there is no such example, file, module or function, as far as can be seen without running it.
    """
    place, colon, name = target.rpartition(":")
    if not colon:
        _check_example(target)
    elif place.endswith(".py"):
        _check_function(place, name)
    else:
        _check_module(place, name)


def _check_example(target: str) -> None:
    if target in EXAMPLES:
        return
    if target.endswith(".py") or os.sep in target:
        names = _functions(_parsed(target))
        makers = _makers(_parsed(target))
        offer = f"Name it: gradstep {target}:{makers[0]}. " if len(makers) == 1 else ""
        listed = f"Its functions are {_listed(names)}." if names else "It has no function at its top level."
        raise wrong(
            "which function of the file builds the workload?",
            f"{target} is a script. gradstep steps a workload that a function returns. {listed}",
            offer + A_FACTORY,
            target,
        )
    offer = did_you_mean(target, EXAMPLES)
    raise wrong(
        f"there is no example called {target}",
        f"The examples are {_listed(list(EXAMPLES))}.",
        f"{offer} For a model of your own give FILE.py:factory or pkg.module:factory.".strip(),
        target,
    )


def _check_function(file: str, name: str) -> None:
    tree = _parsed(file)
    known = _names(tree)
    if known is not None and name not in known:
        functions = _functions(tree)
        listed = f"Its functions are {_listed(functions)}." if functions else "It has no function at its top level."
        raise wrong(
            f"there is no function {name or '(no name)'} in {file}",
            listed,
            f"{did_you_mean(name, functions)} {A_FACTORY}".strip(),
            name,
        )


def _check_module(place: str, name: str) -> None:
    if not all(part.isidentifier() for part in place.split(".")) or not name.isidentifier():
        raise wrong(
            f"{place}:{name} names no function",
            "It is neither FILE.py:factory nor pkg.module:factory.",
            A_FACTORY,
            place,
        )
    # only the package itself is looked for: looking inside it would import it
    top = place.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        raise wrong(
            f"there is no module called {top}",
            f"It lies neither in {os.getcwd()} nor on Python's path.",
            "Go to the folder that it lies in, put that folder on PYTHONPATH, or give FILE.py:factory.",
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


def _makers(tree: ast.Module) -> list[str]:
    """Return the functions that speak of a Workload, in their body or as what they return."""
    spoken = {
        node.name: {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
        | {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }
    return [name for name, words in spoken.items() if "Workload" in words]


def _names(tree: ast.Module) -> set[str] | None:
    """Return every name that the file's top level may define; None when that cannot be told (`import *`)."""
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
