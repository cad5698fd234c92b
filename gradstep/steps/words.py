"""The command words of the steps language: one table that completion, `?` and the errors all read."""

from __future__ import annotations

from msgspec import Struct


class Word(Struct, frozen=True):
    """A command word: how it is written, what it does in one line, and the options it takes with their values."""

    word: str
    usage: str
    help: str
    options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Each option and the values it may be given, for completion; no values where any text will do."""


_TRUTH = ("true", "false")

WORDS: tuple[Word, ...] = (
    Word(
        "load",
        "load mlp seed=0 device=cpu",
        "Build a workload: an example, FILE.py:factory or pkg.module:factory.",
        (("seed", ()), ("device", ("auto", "cpu", "cuda", "mps"))),
    ),
    Word("forward", "forward", "Run the model and the loss on the batch."),
    Word(
        "backward",
        "backward retain_graph=true",
        "Compute the gradients of the last loss and add them to .grad.",
        (("retain_graph", _TRUTH),),
    ),
    Word("step", "step", "Let the optimizer change the weights."),
    Word(
        "zero_grad",
        "zero_grad set_to_none=false",
        "Clear the gradients, to none or to zeros.",
        (("set_to_none", _TRUTH),),
    ),
    Word("next_batch", "next_batch", "Take the next batch."),
    Word("show", "show 2.weight[0, 0:10]", "Select what the panels show."),
    Word("let", "let w0 = 2.weight[0, 0:10]", "Keep a copy of a value under a new name."),
    Word("expect", "expect 2.weight.grad == 0", "State what must hold, for every element."),
    Word("print", "print norm(2.weight.grad)", "Show a value once."),
    Word(
        "watch",
        "watch norm(2.weight)",
        "Pauses a running repeat or script at a change; a replay prints it and goes on.",
    ),
    Word("unwatch", "unwatch 1", "Remove watchpoint 1, or without a number all of them."),
    Word("set", "set set_to_none = false", "Change a setting: what a bare zero_grad does."),
    Word("say", "say What it *means*.", "Narrate, in Markdown, to the end of the line."),
    Word(
        "screenshot",
        "screenshot after.svg size=80x24",
        "Draw the screen to an SVG file.",
        (("size", ("80x24", "120x40", "200x60")),),
    ),
    Word("repeat", "repeat 5 { forward; backward }", "Carry out a block several times."),
)

BY_WORD: dict[str, Word] = {w.word: w for w in WORDS}

SETTINGS: dict[str, tuple[str, ...]] = {"set_to_none": _TRUTH}
"""The settings that `set` changes, and their values."""
