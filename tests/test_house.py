"""The layers of the package: what may import what, names, sizes of folders, and where keys may be named."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import gradstep

ROOT = Path(gradstep.__file__).parent
ROOMS = ("values", "engine", "views", "session")
KEY = r"(?:[A-Za-z]|space|enter|esc|tab|[Ff]\d+|ctrl\+\w)"
NAMED = re.compile(
    rf"\b[Pp]ress {KEY}(?!\w)|\b[Ww]ith [b-z]\.|^{KEY} (?:runs|steps|shows)\b|[:;,.] [b-z] (?:runs|steps)\b"
)


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ["gradstep", *path.relative_to(ROOT).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Yield the modules that a file names, wherever it does: inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = modules()
    graph = {name: {other for other in imported(path, known) if other != name} for name, path in known.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_no_two_test_files_have_one_name() -> None:
    """Pytest imports them by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_two_classes_have_one_name() -> None:
    """But for commands and expressions, whose names are the words of the script language, and the public Session."""
    defined: dict[str, list[str]] = {}
    for name, path in modules().items():
        if not name.startswith(("gradstep.values.commands", "gradstep.values.expressions", "gradstep.prompt")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    defined.setdefault(node.name, []).append(name)
    assert not {name: where for name, where in defined.items() if len(where) > 1}


def test_no_class_chain_of_ours_on_the_screen_is_deeper_than_two() -> None:
    """Apps, screens, widgets and panels are composed, not inherited."""
    deep = set()
    for name in modules():
        if name.startswith("gradstep.tui."):
            for kind in vars(importlib.import_module(name)).values():
                if isinstance(kind, type) and kind.__module__.startswith("gradstep.tui"):
                    ours = [base.__name__ for base in kind.__mro__ if base.__module__.startswith("gradstep.tui")]
                    if len(ours) > 2:
                        deep.add(" < ".join(ours))
    assert not deep


def test_no_folder_is_a_heap() -> None:
    crowded = {
        str(folder.relative_to(ROOT)): len(files)
        for folder in (ROOT, *(path for path in ROOT.rglob("*") if path.is_dir()))
        if len(files := list(folder.glob("*.py"))) > 23
    }
    assert not crowded


def sentences(source: str) -> Iterator[str]:
    """Yield the constant texts of a file; those that only document are among them."""
    yield from (
        n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


@pytest.mark.parametrize("room", ROOMS)
def test_no_sentence_outside_of_the_screen_names_a_key(room: str) -> None:
    """Which key a command has, and whether there are keys at all, is for what shows the view to say."""
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    found = [(file.name, text) for file in files for text in sentences(file.read_text()) if NAMED.search(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "Ready. Press f: forward runs",
        "none: press f, then b",
        ". Clear it with z.",
        "no graph yet: f runs forward",
        "there; i steps into it",
        "i steps to what it calls",
        "press space to go on",
    ],
)
def test_one_that_did_would_be_found(text: str) -> None:
    assert NAMED.search(text)
