from __future__ import annotations

import pytest

from gradstep.steps.complete import complete
from gradstep.values.views import Names

NAMES = Names(1, ("0.weight", "2.weight", "de-en.weight"), ("loss", "lr", "w0"), ("norm", "numel"))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("fo", ["forward"]),
        ("s", ["step", "show", "set", "switch", "seed", "say", "screenshot"]),
        ("forward; ba", ["forward; backward", "forward; back"]),
        ("repeat 5 { fo", ["repeat 5 { forward"]),
        ("backward r", ["backward retain_graph="]),
        ("zero_grad set_to_none=f", ["zero_grad set_to_none=false"]),
        ("load mlp seed=0 d", ["load mlp seed=0 device="]),
        ("load mlp device=cu", ["load mlp device=cuda"]),
        ("load m", []),
        ("set s", ["set set_to_none = "]),
        ("set set_to_none = t", ["set set_to_none = true"]),
        ("print l", ["print loss", "print lr"]),
        ("expect norm(2.w", ["expect norm(2.weight", "expect norm(2.weight.grad"]),
        ("show 2.weight.g", ["show 2.weight.grad"]),
        ("print n", ["print norm(", "print numel("]),
        ("print `de", ["print `de-en.weight`", "print `de-en.weight`.grad"]),
        ("let a = w", ["let a = w0"]),
        ("let w", []),
        ("say fo", []),
        ("forward", []),
        ('print dtype(w0) == "lo', []),
    ],
)
def test_completions(text: str, lines: list[str]) -> None:
    assert complete(text, NAMES) == lines


def test_commands_complete_before_anything_is_loaded() -> None:
    assert complete("loa", None) == ["load"]
    assert complete("print lo", None) == []
