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
    Word("into", "into backward", "Step into a phase; inside one, one level deeper."),
    Word("over", "over", "Do the next module, op or node whole."),
    Word("out", "out phase", "Go on to the end of the module, or with `phase` of the phase."),
    Word("continue", "continue", "Go on to the next breakpoint, or to the end of the phase."),
    Word("until", "until loss < 1", "Go on until a condition holds: by phases, or by the stops being stepped."),
    Word("pause", "pause 57", "Have the phase that runs next stop at its 57th place inside, as esc did."),
    Word(
        "break",
        "break node Relu* if norm(node.in) > 5",
        "Stop at a phase, module, node, grad or iteration, `when` a condition holds, or a `nan` or `inf` is made.",
        (("ignore", ()),),
    ),
    Word(
        "log",
        "log node Relu* print norm(node.in)",
        "Print in place of stopping; else as `break`.",
        (("ignore", ()),),
    ),
    Word("delete", "delete 2", "Delete breakpoint 2, or without a number all of them."),
    Word("enable", "enable 2", "Enable breakpoint 2, or all of them."),
    Word("disable", "disable 2", "Disable breakpoint 2, or all of them."),
    Word("ignore", "ignore 2 10", "Pass the next 10 hits of breakpoint 2 by."),
    Word("show", "show 2.weight[0, 0:10]", "Select what the panels show."),
    Word("let", "let w0 = 2.weight[0, 0:10]", "Keep a copy of a value under a new name."),
    Word("expect", "expect 2.weight.grad == 0", "State what must hold, for every element."),
    Word("print", "print norm(2.weight.grad)", "Show a value once."),
    Word("check", "check #12", "Compare a node, or every custom Function, with finite differences."),
    Word("why", "why 0.weight.grad", "Say why a .grad is none or zeros: where its path to the loss ends."),
    Word(
        "watch",
        "watch norm(2.weight)",
        "Pauses a running repeat or script at a change; a replay prints it and goes on.",
    ),
    Word("unwatch", "unwatch 1", "Remove watchpoint 1, or without a number all of them."),
    Word(
        "set",
        "set lr = 0.01",
        "Write a hyper-parameter, a tensor or a part of one, or what flows (node.in); or the setting `set_to_none`.",
    ),
    Word("undo", "undo 3", "Go back by a command, or by some; `undo phase` when it is stopped inside one."),
    Word("redo", "redo 3", "Go forth again by a command that was undone, or by some."),
    Word("goto", "goto 12", "Go to a stop by its number, on whatever branch it is."),
    Word("back", "back until loss < 1", "Go back to the last stop at which a condition held."),
    Word("who", "who wrote 2.weight.grad", "Say which command last changed a tensor, or a part of one."),
    Word("branch", "branch slow", "Give what is done from here on a name of its own."),
    Word("switch", "switch main", "Go to the end of a branch."),
    Word("compare", "compare main slow", "Say in what two stops or branches differ; `now` is this one."),
    Word("diff", "diff main slow", "Say where two branches part first: command, tensor, module or node."),
    Word(
        "try",
        "try set lr = 0.01",
        "Do the same again with something changed, on a branch of its own, and compare; from=12 from that stop on.",
        (("from", ()),),
    ),
    Word("freeze", "freeze 0.*", "Have parameters require no gradient."),
    Word("unfreeze", "unfreeze 0.*", "Have parameters require a gradient again."),
    Word(
        "clip",
        "clip grad norm=1.0",
        "Clip the gradients, by their common norm or each element by value=.",
        (("norm", ()), ("value", ())),
    ),
    Word("optimizer", "optimizer adamw lr=3e-4", "Put a new optimizer of torch's in the place of this one."),
    Word("train", "train", "Put the model into training mode."),
    Word("eval", "eval", "Put the model into evaluation mode."),
    Word("seed", "seed 7", "Seed torch, python and numpy."),
    Word(
        "checkpoint",
        "checkpoint here.safetensors",
        "Write the whole state to a file; `checkpoint!` overwrites.",
    ),
    Word("restore", "restore here.safetensors", "Read the whole state back from a file."),
    Word("export", "export plain.py", "Write what led here as plain PyTorch; `export!` overwrites."),
    Word("say", "say What it *means*.", "Narrate, in Markdown, to the end of the line."),
    Word(
        "screenshot",
        "screenshot after.svg size=80x24",
        "Draw the screen to an SVG file; `screenshot!` overwrites.",
        (("size", ("80x24", "120x40", "200x60")),),
    ),
    Word("repeat", "repeat 5 { forward; backward }", "Carry out a block several times."),
)

BY_WORD: dict[str, Word] = {w.word: w for w in WORDS}

SETTINGS: dict[str, tuple[str, ...]] = {"set_to_none": _TRUTH}
"""The settings that `set` changes, and their values."""
