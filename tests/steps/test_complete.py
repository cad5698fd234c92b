from __future__ import annotations

import pytest

from gradstep.steps.language.complete import complete
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
        ("load mlp seed=0 device=cpu ", []),
        ("screenshot after.svg ", ["screenshot after.svg size="]),
        ("screenshot after.svg size=1", ["screenshot after.svg size=120x40"]),
        ("pause 57 ", ["pause 57 modules"]),
        ("try s", ["try set", "try seed"]),
        ("try from=3 set l", ["try from=3 set lr = "]),
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


PLACES = Names(
    1,
    ("0.weight", "2.weight"),
    ("node.in", "node.out", "loss"),
    ("norm",),
    ("0", "block", "block.conv"),
    ("AddmmBackward0", "ReluBackward0"),
    ("0.weight", "2.weight"),
    (1, 12),
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("into b", ["into backward"]),
        ("out ", ["out phase"]),
        ("break n", ["break node", "break nan"]),
        ("break node Re", ["break node ReluBackward0"]),
        ("log module bl", ["log module block", "log module block.conv"]),
        ("break grad 2", ["break grad 2.weight"]),
        ("break phase ze", ["break phase zero_grad"]),
        ("break node Relu* a", ["break node Relu* after"]),
        ("break module 0 e", ["break module 0 enter", "break module 0 exit"]),
        ("break module 0 exit i", ["break module 0 exit if ", "break module 0 exit ignore="]),
        ("break module 0 exit e", []),
        ("break node Relu* if norm(node.i", ["break node Relu* if norm(node.in"]),
        ("break when lo", ["break when loss"]),
        (
            "log node Relu* print no",
            ["log node Relu* print node.in", "log node Relu* print node.out", "log node Relu* print norm("],
        ),
        ("until lo", ["until loss"]),
        ("delete 1", ["delete 12"]),
        ("disable ", ["disable 1", "disable 12"]),
    ],
)
def test_places_of_breakpoints_complete(text: str, lines: list[str]) -> None:
    assert complete(text, PLACES) == lines


def test_places_that_nobody_knows_yet_complete_to_nothing() -> None:
    assert complete("break node Re", None) == []
    assert complete("break n", None) == ["break node", "break nan"]


def test_commands_complete_before_anything_is_loaded() -> None:
    assert complete("loa", None) == ["load"]
    assert complete("print lo", None) == []


TRAVELS = Names(
    1, ("0.weight", "0.bias"), ("loss",), ("norm",), parameters=("0.weight", "0.bias"), branches=("main", "lr-0.01")
)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("set ", ["set lr = ", "set set_to_none = "]),
        ("set 0.w", ["set 0.weight", "set 0.weight.grad"]),
        ("set 0.weight = 2 * 0.b", ["set 0.weight = 2 * 0.bias", "set 0.weight = 2 * 0.bias.grad"]),
        ("back ", ["back until "]),
        ("back until no", ["back until norm("]),
        ("who w", ["who wrote "]),
        ("who wrote 0.b", ["who wrote 0.bias", "who wrote 0.bias.grad"]),
        ("switch ", ["switch main", "switch lr-0.01"]),
        ("diff main l", ["diff main lr-0.01"]),
        ("compare main ", ["compare main main", "compare main lr-0.01", "compare main now"]),
        ("freeze 0.b", ["freeze 0.bias"]),
        ("clip ", ["clip grad "]),
        ("clip grad n", ["clip grad norm="]),
        ("undo ", ["undo phase"]),
    ],
)
def test_completions_of_travels_and_edits(text: str, lines: list[str]) -> None:
    assert complete(text, TRAVELS) == lines
