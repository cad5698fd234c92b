"""Views name commands: which key one has, and whether there are keys at all, is for what shows the view to say."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import gradstep

ROOMS = ("values", "engine", "views", "session")
KEY = r"(?:[A-Za-z]|space|enter|esc|tab|[Ff]\d+|ctrl\+\w)"
NAMED = re.compile(
    rf"\b[Pp]ress {KEY}(?!\w)|\b[Ww]ith [b-z]\.|^{KEY} (?:runs|steps|shows)\b|[:;,.] [b-z] (?:runs|steps)\b"
)


def sentences(source: str) -> Iterator[str]:
    """Yield the constant texts of a file; those that only document are among them."""
    yield from (
        n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    )


@pytest.mark.parametrize("room", ROOMS)
def test_no_sentence_outside_of_the_screen_names_a_key(room: str) -> None:
    files = sorted((Path(gradstep.__file__).parent / room).rglob("*.py"))
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
