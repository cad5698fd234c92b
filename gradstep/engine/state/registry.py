"""The registry: all parts of the state, in the order in which they are restored, hashed and written."""

from __future__ import annotations

from typing import Any

from gradstep.engine.state.attributes import AttributesPart
from gradstep.engine.state.batch import BatchPart
from gradstep.engine.state.buffers import Buffers
from gradstep.engine.state.generators import Generators
from gradstep.engine.state.gradients import Gradients
from gradstep.engine.state.loop import Loop
from gradstep.engine.state.modes import Modes
from gradstep.engine.state.objects import Objects
from gradstep.engine.state.optimizer import OptimizerPart
from gradstep.engine.state.parameters import Parameters
from gradstep.engine.state.part import Key, Part
from gradstep.engine.state.strays import StrayGradients

PARTS: list[Part[Any]] = [
    Parameters(),
    Gradients(),
    StrayGradients(),
    Buffers(),
    AttributesPart(),
    OptimizerPart(),
    Objects(),
    BatchPart(),
    Modes(),
    Loop(),
    Generators(),  # last: restoring objects and batches may draw random numbers
]


def part_of(key: Key) -> Part[Any]:
    """Return the part that a tensor of the state belongs to."""
    return next(part for part in PARTS if key[0] in part.kinds)


def name_of(key: Key) -> str:
    """Return the display name of a tensor of the state: `2.weight`, `2.weight.grad`, `2.weight.state.exp_avg`."""
    return part_of(key).title(key)
