"""Commands that build a workload and run the phases of its training loop."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, file, integer_option, truth_option
from gradstep.values.commands.edits import Assign
from gradstep.values.commands.syntax import CommandForm, Syntax, Word, line_of


class Load(Struct, frozen=True, tag=True):
    """Build a workload: an example's name, `FILE.py:factory` or `pkg.module:factory`.

    With `seed`, torch, python and numpy are seeded before the factory is called. `folder` is the base of a relative
    file (the script's folder); it is not part of the line.
    """

    syntax: ClassVar = Syntax(
        Word(
            "load",
            "load mlp seed=0 device=cpu",
            "Build a workload: an example, FILE.py:factory or pkg.module:factory.",
        ),
        CommandForm(file("target"), integer_option("seed"), Option("device", offers=("auto", "cpu", "cuda", "mps"))),
        role="load",
    )
    target: str
    seed: int | None = None
    device: str = "auto"
    folder: str = ""


def _run_line(run: Run) -> str:
    return shlex.join(["run", *(["-m"] if run.module else []), run.target, *run.arguments])


def _run_of(_: str, fields: dict[str, Any]) -> Run:
    words, folder = shlex.split(fields["target"]), ""
    if words[0] == "-C" and len(words) > 2:
        _, folder, *words = words
    module = words[0] == "-m" and len(words) > 1
    target, *arguments = words[module:]
    return Run(target, tuple(arguments), module, folder)


class Run(Struct, frozen=True, tag=True):
    """Run a training script as `python` would, with `module` as `python -m`, and stop before its first forward.

    `folder` is the working directory; a line names it as `run -C FOLDER train.py`, relative to the folder of its
    script.
    """

    syntax: ClassVar = Syntax(
        Word("run", "run train.py --lr 0.1", "Run a training script, and stop before its first forward."),
        CommandForm(Argument("SHELL_WORDS", "target", r"[^\n]+")),
        role="load",
        line=_run_line,
        make=_run_of,
    )
    target: str
    arguments: tuple[str, ...] = ()
    module: bool = False
    folder: str = ""


class Hold(Struct, frozen=True, tag=True):
    """Copy what a script trains, as it is at this stop, into a held workload, with full time travel."""

    syntax: ClassVar = Syntax(
        Word("hold", "hold", "Copy a script's model, optimizer, batch and loss into a held workload."),
        CommandForm(),
        role="load",
    )


class Release(Struct, frozen=True, tag=True):
    """Drop the held workload, and go back to the script where it stands."""

    syntax: ClassVar = Syntax(
        Word("release", "release", "Drop what was held, and go back to the script where it stands."),
        CommandForm(),
        role="load",
    )


class Forward(Struct, frozen=True, tag=True):
    """Run the model and the loss on the current batch."""

    syntax: ClassVar = Syntax(
        Word("forward", "forward", "Run the model and the loss on the batch."), CommandForm(), role="act", inside=False
    )
    torch: ClassVar[str] = "prediction = model(x)"


class Flow(Struct, frozen=True):
    """An edit of a gradient at a stop inside a backward; `place` counts from 1, as `Position.place`."""

    place: int
    change: Assign


def _backward_line(backward: Backward) -> str:
    """Return a backward with edited gradients as lines that step to each place, edit, and continue."""
    line = "backward retain_graph=true" if backward.retain_graph else "backward"
    at, lines = 0, []
    for flow in backward.flows:
        if flow.place != at:
            lines += [f"pause {flow.place}", "out phase" if at else line]
        at = flow.place
        lines.append(line_of(flow.change))
    return "; ".join([*lines, "out phase"]) if backward.flows else line


class Backward(Struct, frozen=True, tag=True):
    """Run the backward of the last loss."""

    syntax: ClassVar = Syntax(
        Word(
            "backward",
            "backward retain_graph=true",
            "Compute the gradients of the last loss and add them to .grad.",
        ),
        CommandForm(truth_option("retain_graph")),
        role="act",
        inside=False,
        line=_backward_line,
    )
    torch: ClassVar[str] = "loss.backward()"
    retain_graph: bool = False
    flows: tuple[Flow, ...] = ()
    """The gradient edits made while it was stepped; running it again repeats them."""


class Step(Struct, frozen=True, tag=True):
    """Run the optimizer's step, and the schedulers' if the workload says so."""

    syntax: ClassVar = Syntax(
        Word("step", "step", "Let the optimizer update the weights."), CommandForm(), role="act", inside=False
    )
    torch: ClassVar[str] = "optimizer.step()"


class ZeroGrad(Struct, frozen=True, tag=True):
    """Clear the gradients: to None or to zeros; by default as the setting says."""

    syntax: ClassVar = Syntax(
        Word("zero_grad", "zero_grad set_to_none=false", "Clear the gradients, to none or to zeros."),
        CommandForm(truth_option("set_to_none")),
        role="act",
        inside=False,
    )
    torch: ClassVar[str] = "optimizer.zero_grad()"
    set_to_none: bool | None = None


class NextBatch(Struct, frozen=True, tag=True):
    """Take the next batch; a workload with one batch keeps it."""

    syntax: ClassVar = Syntax(
        Word("next_batch", "next_batch", "Take the next batch."), CommandForm(), role="act", inside=False
    )
    torch: ClassVar[str] = "x, target = next(batches)"
