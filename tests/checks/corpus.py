"""The corpus: small training programs, broken ones that name their fault, and healthy ones.

A program is a function that trains, decorated with `broken` or `healthy`; each file here whose name begins with
`programs_` holds some that the rules were tuned on, each `heldout_` file some that were written before their author had
read the rules, each `blind_` file some written later, after published scripts, by an author who had read neither the
rules nor the programs. They are run as a script is, and those that return a `Workload` also as a held workload.
"""

from __future__ import annotations

import importlib
import math
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from scripting import Function

from gradstep.checks import checker
from gradstep.session.headless_script import HeadlessScript
from gradstep.session.local import Session
from gradstep.values import commands as cmd
from gradstep.values.findings import Finding
from gradstep.workload import Workload


class Program(NamedTuple):
    """A training program of the corpus."""

    name: str
    train: Callable[[], object]
    faults: tuple[str, ...]
    """The rules that have to find something; none for a healthy program."""
    allowed: tuple[str, ...]
    """Rules that may find something too: consequences of the fault."""
    source: str
    """The public case that it is rebuilt from; empty for none."""

    @property
    def held_out(self) -> bool:
        """Whether it was written before its author had read the rules."""
        return self.name.startswith("heldout_")

    @property
    def blind(self) -> bool:
        """Whether it is of the second set whose author had not read the rules."""
        return self.name.startswith("blind_")


PROGRAMS: list[Program] = []


def broken(*faults: str, also: tuple[str, ...] = (), source: str = "") -> Callable[[Callable[[], object]], Any]:
    """Mark a program that has these faults."""

    def mark(train: Callable[[], object]) -> Callable[[], object]:
        PROGRAMS.append(Program(_name(train), train, faults, also, source))
        return train

    return mark


def healthy(train: Callable[[], object]) -> Callable[[], object]:
    """Mark a program in which nothing is to be found."""
    PROGRAMS.append(Program(_name(train), train, (), (), ""))
    return train


def corpus() -> list[Program]:
    """Return every program of the corpus."""
    if not PROGRAMS:
        for kind in ("programs", "heldout", "blind"):
            for file in sorted(Path(__file__).parent.glob(f"{kind}_*.py")):
                importlib.import_module(f"checks.{file.stem}")
    return PROGRAMS


def findings_of(program: Program) -> tuple[Finding, ...]:
    """Run a program under watch; return what the checks have found."""
    with mock.patch.object(checker, "FREE", math.inf):  # on a busy machine too, every iteration is looked at
        return _found(program)


def _found(program: Program) -> tuple[Finding, ...]:
    torch.manual_seed(0)
    random.seed(0)
    found: list[Finding] = []
    made: list[object] = []
    run = HeadlessScript(cmd.Run("train.py"), program=Function(lambda: made.append(program.train())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about some of the faults
        run.run()
    assert run.session.watch.checker.failed == {}
    problem = run.ended.problem
    assert problem is None, f"{program.name}: {problem.what}"
    found += run.session.findings
    for each in made:
        if isinstance(each, Workload):
            found += _held(each)
    return tuple(found)


def _held(workload: Workload) -> Iterator[Finding]:
    session = Session(workload)
    session.attend()
    for _ in range(12):
        for act in (cmd.ZeroGrad(), cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.NextBatch()):
            session.execute(act)
    assert session._inspector is not None
    assert session._inspector.checker.failed == {}
    yield from session.findings
    session.close()


def _name(train: Callable[[], object]) -> str:
    return f"{train.__module__.rpartition('.')[2].removeprefix('programs_')}/{train.__name__}"
