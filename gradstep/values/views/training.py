"""Views of a training run as a whole: its layers, its optimizer and its data; and the requests for them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.views.drawn import Drawn


# -- layers ------------------------------------------------------------------------------------------------------------
class LookLayers(Struct, frozen=True, tag=True):
    """Ask for one row a module in forward order. While it is asked for, forwards count zero activations."""


class LayerRow(Struct, frozen=True):
    """A module that owns parameters, or one whose output may be exactly zero, such as ReLU.

    Norms are L2, over all the parameters that are the module's own; None where there is nothing to take one of.
    """

    path: str
    """Its full dotted name, e.g. `2`; empty for the root."""
    type: str
    """Its class, e.g. `Linear`."""
    weight: float | None = None
    grad: float | None = None
    """Norm of `.grad`; None when no `.grad` is there."""
    update: float | None = None
    """Norm of what the last step added to the weights; None when that was not observed."""
    ratio: float | None = None
    """`update` over the norm of the weights as they were before that step; inf where that was zero."""
    zeros: float | None = None
    """Share of exact zeros in what it returned in the last forward, 0 to 1; None when that was not observed."""
    frozen: bool = False
    """True when none of its parameters requires a gradient."""
    partly: tuple[str, ...] = ()
    """Those of its parameters that are frozen, by their own names, where others of it are not."""
    selected: bool = False


class LayersView(Drawn, frozen=True, tag=True):
    """One row a module, in the order in which the last forward entered them; before one, in the model's order."""

    stop: int
    rows: tuple[LayerRow, ...]
    updated: int | None = None
    """The iteration that the observed step ended; None when no step was observed."""
    note: str = ""


# -- optimizer ---------------------------------------------------------------------------------------------------------
class LookOptimizer(Struct, frozen=True, tag=True):
    """Ask for the optimizer: groups, hyper-parameters, `points` of lr's history, the selected parameter's state."""

    points: int = 64


class RatePoint(Struct, frozen=True):
    """The learning rate that held at an iteration."""

    iteration: int
    rate: float


class GroupRow(Struct, frozen=True):
    """A parameter group."""

    number: int
    parameters: int
    """How many tensors."""
    elements: int
    rate: float | None
    """The learning rate now; None for an optimizer without one."""
    rates: tuple[RatePoint, ...]
    """The learning rate at each forward, thinned, and now."""
    hyper: tuple[tuple[str, str], ...]
    """Every other hyper-parameter in torch's own words, e.g. `("momentum", "0.9")`."""
    selected: bool = False
    """True when the selected parameter is in it."""


class SlotRow(Struct, frozen=True):
    """One entry of the optimizer's state of the selected parameter."""

    name: str
    """As an expression, e.g. `2.weight.state.exp_avg`."""
    key: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    """Empty for what is no tensor."""
    norm: float | None = None
    text: str = ""
    """The value in words, for a scalar and for what is no tensor."""
    selected: bool = False


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
    """Parameters that require a gradient and are in no group: no step will move them."""
    twice: tuple[str, ...] = ()
    """Parameters that are in two groups, or twice in one: a step moves them twice."""
    note: str = ""
    """Why `slots` is empty."""


# -- batch -------------------------------------------------------------------------------------------------------------
class LookBatch(Struct, frozen=True, tag=True):
    """Ask for the batch: statistics, and `count` samples from the `first` on, pictures at most `rows` by `columns`."""

    first: int = 0
    count: int = 8
    rows: int = 16
    columns: int = 32


class PartRow(Struct, frozen=True):
    """One tensor of the batch, or the prediction: what it is, and the range of its numbers without NaN and inf."""

    name: str
    """`input`, `target`, `prediction`, or the key or place it has in the batch."""
    kind: Literal["image", "tokens", "curve", "numbers"]
    shape: tuple[int, ...]
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    std: float | None = None
    """Standard deviation over all elements, with Bessel's correction, as `Tensor.std` takes it."""
    nans: int = 0
    infs: int = 0


class Piece(Struct, frozen=True):
    """What one sample has of a tensor, thinned so that it can be drawn."""

    kind: Literal["image", "tokens", "curve", "numbers"]
    rows: tuple[tuple[float, ...], ...] = ()
    """Pixels of an image, row by row; one row for the others."""
    elements: int = 0
    """How many elements the sample has, drawn or not."""


class SampleRow(Struct, frozen=True):
    """One sample of the batch."""

    index: int
    """Its place in the batch."""
    loss: float | None = None
    input: Piece | None = None
    target: Piece | None = None
    prediction: Piece | None = None
    answer: Piece | None = None
    """The class that the prediction holds most likely, where the target is classes."""
    right: float | None = None
    """Share of `answer` that equals the target, 0 to 1."""
    drawn: int | None = None
    """The index in the data set that a DataLoader's sampler drew for it; None where that can't be told."""


class BatchView(Drawn, frozen=True, tag=True):
    """The batch that is held, its samples with the greatest loss first."""

    stop: int
    taken: int = 0
    """Batches taken so far; 0 when there is none yet."""
    parts: tuple[PartRow, ...] = ()
    samples: tuple[SampleRow, ...] = ()
    first: int = 0
    """How many samples, in the order shown, lie before the first of `samples`."""
    total: int = 0
    low: float = 0.0
    """The value that is drawn black in pictures, and lowest in curves."""
    high: float = 1.0
    reduction: Literal["", "sum", "mean"] = ""
    """How the loss is made of the samples' losses; empty when they are not known."""
    note: str = ""
    """Why the loss of each sample is not known; or what there is instead of samples."""
    input: str = ""
    """What an expression calls the tensor whose samples these are, e.g. `input`."""


TrainingRequest: TypeAlias = LookLayers | LookOptimizer | LookBatch
TrainingView: TypeAlias = LayersView | OptimizerView | BatchView
