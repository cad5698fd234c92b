"""Views of layers, optimizer and batch; and their requests."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values import numbers
from gradstep.values.views.drawn import Drawn


# -- layers ------------------------------------------------------------------------------------------------------------
class LookLayers(Struct, frozen=True, tag=True):
    """Ask for one row per module, in forward order. While requested, forwards count zero activations."""

    hurry: bool = False
    """True to return at once: the update of a large model is left for a second request."""


class LayerRow(Struct, frozen=True):
    """A module that owns parameters, or whose output may be exactly zero, such as ReLU.

    Norms are L2 norms over the module's own parameters; None without any.
    """

    path: str
    """Its full dotted name, e.g. `2`; empty for the root."""
    type: str
    """Its class, e.g. `Linear`."""
    weight: float | None = None
    grad: float | None = None
    """Norm of `.grad`; None without any `.grad`."""
    update: float | None = None
    """Norm of the last step's update; None when not observed."""
    ratio: float | None = None
    """`update` divided by the norm of the weights before that step; inf when that was zero."""
    zeros: float | None = None
    """Fraction of exact zeros in its output of the last forward, 0 to 1; None when not observed."""
    frozen: bool = False
    """True when none of its parameters requires a gradient."""
    partly: tuple[str, ...] = ()
    """Names of its frozen parameters, when others are not frozen."""
    selected: bool = False


class LayersView(Drawn, frozen=True, tag=True):
    """One row per module, in the order of the last forward; before a forward, in the model's order."""

    stop: int
    rows: tuple[LayerRow, ...]
    updated: int | None = None
    """The iteration of the observed step; None when no step was observed."""
    note: str = ""
    due: bool = False
    """True when the update is left for the next request."""


# -- optimizer ---------------------------------------------------------------------------------------------------------
class LookOptimizer(Struct, frozen=True, tag=True):
    """Ask for the optimizer: groups, hyper-parameters, `points` of the lr history, the selected parameter's state."""

    points: int = 64


class RatePoint(Struct, frozen=True):
    """The learning rate at an iteration."""

    iteration: int
    rate: float


class GroupRow(Struct, frozen=True):
    """A parameter group."""

    number: int
    parameters: int
    """Number of tensors."""
    elements: int
    rate: float | None
    """The learning rate now; None for an optimizer without one."""
    rates: tuple[RatePoint, ...]
    """The learning rate at each forward, downsampled, and now."""
    hyper: tuple[tuple[str, str], ...]
    """The other hyper-parameters by their torch names, e.g. `("momentum", "0.9")`."""
    selected: bool = False
    """True when it has the selected parameter."""


class SlotRow(Struct, frozen=True):
    """An entry of the optimizer state of the selected parameter."""

    name: str
    """As an expression, e.g. `2.weight.state.exp_avg`."""
    key: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    """Empty unless it is a tensor."""
    norm: float | None = None
    text: str = ""
    """The value as text, for a scalar or a non-tensor."""
    selected: bool = False


class OtherOptimizer(Struct, frozen=True):
    """Another optimizer of the script: selecting one of its parameters shows it."""

    name: str
    """Its class."""
    parameters: int
    """Number of tensors."""
    first: str
    """The name of its first parameter."""
    rates: tuple[float, ...]
    """The learning rate of each group."""


def other_line(other: OtherOptimizer) -> str:
    """Return the line on another optimizer: `also Adam: 4 tensors from gen.0.weight on, lr 0.001`."""
    lr = f", lr {', '.join(map(numbers.short, other.rates))}" if other.rates else ""
    start = f" from {other.first} on" if other.first else ""
    return f"also {other.name}: {numbers.count(other.parameters, 'tensor')}{start}{lr}"


class OptimizerView(Drawn, frozen=True, tag=True):
    """The optimizer at a stop."""

    stop: int
    name: str
    """Its class, e.g. `AdamW`."""
    groups: tuple[GroupRow, ...]
    schedulers: tuple[str, ...] = ()
    schedule: str = ""
    """When the schedulers step: `step` or `epoch`."""
    path: str = ""
    """The parameter whose state is shown; empty when none is selected."""
    slots: tuple[SlotRow, ...] = ()
    missing: tuple[str, ...] = ()
    """Parameters that require a gradient but are in no group: no step updates them."""
    twice: tuple[str, ...] = ()
    """Parameters that are in two groups, or twice in one: a step updates them twice."""
    note: str = ""
    """Why `slots` is empty."""
    others: tuple[OtherOptimizer, ...] = ()


# -- batch -------------------------------------------------------------------------------------------------------------
class LookBatch(Struct, frozen=True, tag=True):
    """Ask for the batch: statistics, and `count` samples from `first`, images at most `rows` by `columns`."""

    first: int = 0
    count: int = 8
    rows: int = 16
    columns: int = 32


class PartRow(Struct, frozen=True):
    """A tensor of the batch, or the prediction; statistics ignore NaN and inf."""

    name: str
    """`input`, `target`, `prediction`, or its key or index in the batch."""
    kind: Literal["image", "tokens", "curve", "numbers"]
    shape: tuple[int, ...]
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    """Standard deviation with Bessel's correction, as `Tensor.std`."""
    nans: int = 0
    infs: int = 0


class Piece(Struct, frozen=True):
    """A sample of a tensor, downsampled for drawing."""

    kind: Literal["image", "tokens", "curve", "numbers"]
    rows: tuple[tuple[float, ...], ...] = ()
    """Pixels of an image, row by row; one row for other kinds."""
    elements: int = 0
    """Number of elements of the sample, before downsampling."""


class SampleRow(Struct, frozen=True):
    """One sample of the batch."""

    index: int
    """Its index in the batch."""
    loss: float | None = None
    input: Piece | None = None
    target: Piece | None = None
    prediction: Piece | None = None
    answer: Piece | None = None
    """The predicted class, when the target is classes."""
    right: float | None = None
    """Fraction of `answer` that equals the target, 0 to 1."""
    drawn: int | None = None
    """Its index in the dataset, as drawn by a DataLoader's sampler; None when unknown."""


class BatchView(Drawn, frozen=True, tag=True):
    """The current batch, with the samples of the largest loss first."""

    stop: int
    taken: int = 0
    """Number of batches taken so far."""
    parts: tuple[PartRow, ...] = ()
    samples: tuple[SampleRow, ...] = ()
    first: int = 0
    """Number of samples before the first of `samples`, in the order shown."""
    total: int = 0
    low: float = 0.0
    """The value drawn black in images, and lowest in curves."""
    high: float = 1.0
    reduction: Literal["", "sum", "mean"] = ""
    """How the samples' losses are reduced to the loss; empty when unknown."""
    note: str = ""
    """Why the loss of each sample is unknown, or why there are no samples."""
    input: str = ""
    """The name in expressions of the tensor with these samples, e.g. `input`."""


TrainingRequest: TypeAlias = LookLayers | LookOptimizer | LookBatch
TrainingView: TypeAlias = LayersView | OptimizerView | BatchView
