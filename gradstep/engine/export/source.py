"""A workload's file inside an exported program, which runs on its own and without gradstep.

The file stays as its author wrote it, comments included, but for three things: imports of gradstep bind a stand-in,
relative imports become absolute, and code that runs only in a program does not run.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gradstep.engine.problems import is_users

CLASS, MODULE = "gradstep_Workload", "gradstep_module"
"""The names of the stand-ins for `gradstep.Workload` and `gradstep`."""

_WITH_WORKLOAD = ("gradstep", "gradstep.workload")
_AS_PROGRAM = {
    "__name__ == '__main__'": "False",
    "'__main__' == __name__": "False",
    "__name__ != '__main__'": "True",
    "'__main__' != __name__": "True",
}
"""The value of `__name__` tests in an imported file, which the workload's file was."""


class Source(NamedTuple):
    """A file, rewritten."""

    futures: list[str]
    """Its imports from `__future__`, which must come first in a program."""
    text: str
    beside: list[str]
    """The user's files and packages that it imports, by file name."""
    shared: bool
    """True when one of those imports gradstep, too."""


def rewrite(path: Path, package: str) -> Source:
    """Return a workload's file, rewritten.

    Args:
        path: the file.
        package: the package that it is a module of; empty for none.

    Raises:
        OSError: it can't be read.
        SyntaxError: it is not valid Python.
    """
    with tokenize.open(path) as file:
        source = file.read()
    tree = ast.parse(source)
    guards = [node for node in tree.body if isinstance(node, ast.If) and _never_runs(node)]
    futures = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    kept = [node for top in tree.body if top not in (*guards, *futures) for node in ast.walk(top)]
    used = {node.id for node in kept if isinstance(node, ast.Name)}
    in_texts = {inner for node in kept if isinstance(node, ast.JoinedStr) for inner in ast.walk(node)}
    text = _Text(source)
    for statement in (*guards, *futures):
        text.remove(statement)
    for node in kept:
        if isinstance(node, ast.Import | ast.ImportFrom):
            text.replace(node, _binding(node, package, used))
        elif isinstance(node, ast.Compare) and node not in in_texts:
            text.replace(node, _AS_PROGRAM.get(ast.unparse(node), ""))
    beside, shared = _neighbours(tree, package)
    return Source([ast.unparse(node) for node in futures], text.edited().strip("\n") + "\n", beside, shared)


def _never_runs(node: ast.If) -> bool:
    return not node.orelse and _AS_PROGRAM.get(ast.unparse(node.test)) == "False"


class _Text:
    """A source text and the edits to it."""

    def __init__(self, source: str) -> None:
        self._bytes = source.encode()
        self._starts = [0]
        for line in self._bytes.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._edits: list[tuple[int, int, str]] = []

    def replace(self, node: ast.stmt | ast.expr, text: str) -> None:
        """Replace a node by a text; an empty text leaves it unchanged."""
        if text:
            self._edits.append((*self._span(node), text))

    def remove(self, node: ast.stmt) -> None:
        """Remove a statement, with its lines unless they hold another."""
        start, end = self._span(node)
        begin, close = self._starts[node.lineno - 1], self._starts[node.end_lineno or node.lineno]
        alone = not self._bytes[begin:start].strip() and self._bytes[end:close].strip()[:1] in (b"", b"#")
        self._edits.append((begin, close, "") if alone else (start, end, "pass"))

    def edited(self) -> str:
        """Return the text with all edits applied."""
        edited = self._bytes
        for start, end, text in sorted(self._edits, reverse=True):
            edited = edited[:start] + text.encode() + edited[end:]
        return edited.decode()

    def _span(self, node: ast.stmt | ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[node.end_lineno - 1] + node.end_col_offset


def _binding(node: ast.Import | ast.ImportFrom, package: str, used: set[str]) -> str:
    """Return the replacement of an import of gradstep, or of a relative import; empty for any other.

    A name without a stand-in, such as `gradstep.Session`, is still imported if the file uses it: that raises.
    """
    if isinstance(node, ast.ImportFrom):
        module = _absolute(node, package)
        if module not in _WITH_WORKLOAD:
            return ast.unparse(ast.ImportFrom(module, node.names, 0)) if node.level else ""
        pieces = list(filter(None, (_bound(module, alias, used) for alias in node.names)))
    elif any(alias.name.partition(".")[0] == "gradstep" for alias in node.names):
        pieces = [
            f"{alias.asname or 'gradstep'} = {MODULE}"
            if alias.name in _WITH_WORKLOAD
            else f"import {ast.unparse(alias)}"
            for alias in node.names
        ]
    else:
        return ""
    return "; ".join(pieces) or "pass"


def _bound(module: str, alias: ast.alias, used: set[str]) -> str:
    name = alias.asname or alias.name
    match alias.name:
        case "*":
            return f"Workload = {CLASS}"
        case "Workload":
            return f"{name} = {CLASS}"
        case "workload" if module == "gradstep":
            return f"{name} = {MODULE}"
    return f"from {module} import {ast.unparse(alias)}" if name in used else ""


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _neighbours(tree: ast.Module, package: str) -> tuple[list[str], bool]:
    """Return the user's files and packages that a file imports, recursively, and whether one imports gradstep."""
    main, seen, shared = tree, set[str](), False
    todo = [(tree, package)]
    while todo:
        tree, package = todo.pop()
        for name in _imported(tree, package):
            shared = shared or (tree is not main and name == "gradstep")
            module = sys.modules.get(name)
            file = getattr(module, "__file__", None) or ""
            if name in seen or name.partition(".")[0] == "gradstep" or not file or not is_users(_resolved(file)):
                continue
            seen.add(name)
            with suppress(OSError, SyntaxError, ValueError), tokenize.open(file) as source:
                todo.append((ast.parse(source.read()), getattr(module, "__package__", None) or ""))
    tops = {name.partition(".")[0] for name in seen}
    folders = {top for top in tops if hasattr(sys.modules.get(top), "__path__")}
    return sorted(f"{top}/" if top in folders else f"{top}.py" for top in tops), shared


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every module that a file may import, with its parent packages."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{_absolute(node, package)}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _resolved(file: str) -> str:
    return str(Path(file).resolve())
