"""The Batch view: the model's inputs, targets and predictions, the samples with the largest loss first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple
from weakref import ref

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.nn import functional

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import wide
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.reads import Reading, gather, scalars
from gradstep.values.views.training import BatchView, LookBatch, PartRow, Piece, SampleRow
from gradstep.views.expiry import version_of
from gradstep.views.training.samples import SampleLosses, sample_losses

Kind = Literal["image", "tokens", "curve", "numbers"]

_SMALLEST_IMAGE = 4
"""Rows and columns from which four-dimensional data is taken for images."""
_SMALLEST_SQUARE = 8
"""Rows and columns from which three-dimensional data, square in the last two, is taken for images of one channel."""
_LONG = 8
"""Numbers in a row from which they may be a curve."""
_ALIKE = 0.5
"""Correlation of each number with its neighbour from which a row is a curve; independent numbers have 0."""
_NUMBERS = 8
"""Maximum number of values of a sample that are printed."""
_LARGEST = 1 << 24
"""Elements up to which statistics are taken: a language model's logits can be far larger than its input."""
_TARGETS = ("target", "targets", "label", "labels", "y")


class BatchViewer:
    """Makes the view; statistics and losses are taken once, not again at every stop with the same batch."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self._loss: ref[Tensor] | None = None
        self._losses = SampleLosses()
        self._rows: list[tuple[ref[Tensor], int, PartRow]] = []
        """Statistics by version of a tensor; a weak reference, or the graph of a prediction would live on."""

    def view(self, stop: int, look: LookBatch) -> Reading[BatchView]:
        """Read the parts of the batch, and `look.count` of its samples, pictures downsampled as requested."""
        held = self.held
        if not held.batches.taken:
            if held.script:
                return BatchView(stop, note="no batch yet: it is what the first module of a forward was given")
            return BatchView(stop, note="No batch yet: run `next_batch`, or `forward`, which takes one")
        batch = held.batches.batch
        parts = list(_parts(batch))
        current = held.point.loss is not None and held.point.batch is batch
        output = held.point.watched.output if current else None
        prediction = output if isinstance(output, Tensor) and _plain(output) else None
        whole = [*parts, ("prediction", prediction)] if prediction is not None else parts
        given, target = _given(parts), _target(parts)
        shows = given is not None and given.dim() > 0
        rows, losses = yield from gather([self._rows_of(whole), self._losses_now(current and shows)])
        if given is None or not given.dim():
            return BatchView(
                stop, held.batches.taken, rows, note="its first tensor has no batch dimension to show samples of"
            )
        order = _order(losses.values, len(given))
        shown = order[max(0, look.first) : max(0, look.first) + max(0, look.count)]
        answers = _answers(prediction, target)
        kinds: dict[int, Kind] = {id(tensor): row.kind for (_, tensor), row in zip(whole, rows, strict=True)}
        if answers is not None:
            kinds[id(answers)] = yield from kind_of(answers)
        columns = [[_sample(each, i, kinds, look) for i in shown] for each in (given, target, prediction, answers)]
        right = [_right(answers, target, i) for i in shown]
        needed = [part for column in columns for part in column if part is not None]
        arrived = iter((yield [*(part.values for part in needed), *(count for pair in right for count in pair)]))
        pieces = [[None if part is None else part.piece(next(arrived)) for part in column] for column in columns]
        shares = [_share(int(next(arrived)), int(next(arrived))) if pair else None for pair in right]
        low, high = _range(rows, given, parts)
        drawn = held.batches.drawn if len(held.batches.drawn) == len(given) else ()
        return BatchView(
            stop,
            held.batches.taken,
            rows,
            tuple(
                SampleRow(
                    i,
                    losses.values[i] if i < len(losses.values) else None,
                    pieces[0][row],
                    pieces[1][row],
                    pieces[2][row],
                    pieces[3][row],
                    shares[row],
                    drawn[i] if drawn else None,
                )
                for row, i in enumerate(shown)
            ),
            max(0, look.first),
            len(order),
            low,
            high,
            losses.reduction,
            losses.why,
            _expression(batch, next(name for name, tensor in parts if tensor is given)),
        )

    def _losses_now(self, current: bool) -> Reading[SampleLosses]:
        loss = self.held.point.loss
        if not current:
            return SampleLosses(why="not run yet: run `forward`")
        if loss is not None and (self._loss is None or self._loss() is not loss):
            self._losses = yield from sample_losses(self.held)
            self._loss = ref(loss)
        return self._losses

    def _rows_of(self, parts: Sequence[tuple[str, Tensor]]) -> Reading[tuple[PartRow, ...]]:
        known = [
            next((row for t, v, row in self._rows if t() is tensor and v == version_of(tensor)), None)
            for _, tensor in parts
        ]
        missing = [part_row(*part) for part, row in zip(parts, known, strict=True) if row is None]
        new = iter((yield from gather(missing)))
        # one tensor may be two parts, as the input and the labels of a language model
        rows = [replace(row or next(new), name=name) for (name, _), row in zip(parts, known, strict=True)]
        self._rows = [(ref(tensor), version_of(tensor), row) for (_, tensor), row in zip(parts, rows, strict=True)]
        return tuple(rows)


class _Thinned(NamedTuple):
    """A sample, downsampled, that may be on a device."""

    kind: Kind
    values: Tensor
    elements: int

    def piece(self, arrived: Tensor) -> Piece:
        """Return it with its values, which have arrived on the host."""
        rows = arrived if self.kind == "image" else arrived[None]
        return Piece(self.kind, tuple([tuple(map(float, row)) for row in rows.tolist()]), self.elements)


def _sample(tensor: Tensor | None, i: int, kinds: Mapping[int, Kind], look: LookBatch) -> _Thinned | None:
    """Return a sample of a tensor of the batch; None where it has none."""
    if tensor is None or not tensor.dim() or not _plain(tensor) or i >= len(tensor):
        return None
    return thinned(tensor[i].detach(), kinds[id(tensor)], look.rows, look.columns)


def thinned(sample: Tensor, kind: Kind, rows: int, columns: int) -> _Thinned:
    """Downsample one sample to at most `rows` by `columns`, by averaging."""
    elements = sample.numel()
    if kind == "image":
        picture = sample.float() if sample.dim() == 2 else sample.float().mean(0)
        height, width = picture.shape
        scale = max(height / max(rows, 1), width / max(columns, 1), 1.0)
        size = (max(1, round(height / scale)), max(1, round(width / scale)))
        if size != (height, width):
            picture = functional.adaptive_avg_pool2d(picture[None, None], size)[0, 0]
        return _Thinned(kind, picture, elements)
    flat = sample.flatten()
    if flat.is_complex():
        flat = flat.abs()
    if kind == "curve" and elements > columns:
        flat = functional.adaptive_avg_pool1d(flat.float()[None], max(columns, 1))[0]
    elif kind == "tokens":
        flat = flat[: max(columns, 1)]
    elif kind == "numbers":
        flat = flat[:_NUMBERS]
    return _Thinned(kind, flat, elements)


def kind_of(tensor: Tensor) -> Reading[Kind]:
    """Read how to draw the samples of a batch, along its first dimension."""
    shape = tensor.shape
    if not shape:
        return "numbers"
    real = not tensor.is_complex()
    if real and tensor.dim() == 4 and min(shape[2:]) >= _SMALLEST_IMAGE:
        return "image"
    if real and tensor.dim() == 3 and shape[1] == shape[2] >= _SMALLEST_SQUARE and tensor.is_floating_point():
        return "image"
    if real and not tensor.is_floating_point():
        return "tokens"
    flat = tensor.dim() == 2 or (tensor.dim() == 3 and 1 in shape[1:])
    if real and flat and tensor[:1].numel() >= _LONG:
        [alike] = yield [_likeness(tensor.detach().flatten(1))]
        return "curve" if alike > _ALIKE else "numbers"
    return "numbers"


def _likeness(rows: Tensor) -> Tensor:
    """Return the correlation of each number with its neighbour in the row."""
    finite = rows[: 1 << 10, : 1 << 12].double().nan_to_num(0.0, 0.0, 0.0)
    pair = torch.stack([finite[:, :-1].flatten(), finite[:, 1:].flatten()])
    return torch.corrcoef(pair)[0, 1]


def part_row(name: str, tensor: Tensor) -> Reading[PartRow]:
    """Read a description of one tensor, with the range, mean and standard deviation of its finite values."""
    shape, dtype = tuple(tensor.shape), dtype_name(tensor)
    if not _plain(tensor):
        return PartRow(name, "numbers", shape, dtype)
    if not 0 < tensor.numel() <= _LARGEST:
        return PartRow(name, (yield from kind_of(tensor)), shape, dtype)
    plain = tensor.detach()
    plain = plain.abs() if plain.is_complex() else plain
    values = wide(plain) if plain.is_floating_point() else plain.float() if plain.is_mps else plain.double()
    counts = [values.isnan().sum(), values.isinf().sum()]
    kind, taken = yield from gather([kind_of(tensor), scalars([*counts, *_measures(values)])])
    nans, infs, found = int(taken[0]), int(taken[1]), taken[2:]
    if nans or infs:
        finite = values[values.isfinite()]
        found = (yield from scalars(_measures(finite))) if finite.numel() else []
    minimum, maximum, mean, std = [*found, None, None, None, None][:4]
    return PartRow(name, kind, shape, dtype, minimum, maximum, mean, std, nans, infs)


def _measures(values: Tensor) -> list[Tensor]:
    """Return the smallest, the largest, the mean, and where there are two or more, the standard deviation."""
    return [values.min(), values.max(), values.mean(), *([values.std()] if values.numel() > 1 else [])]


def _plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized


def _parts(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch by name: input and target of a pair, else keys and indices."""
    if isinstance(batch, Tensor):
        yield "input", batch
        return
    if isinstance(batch, (tuple, list)) and len(batch) == 2 and not hasattr(batch, "_fields"):
        named: list[tuple[str, Any]] = list(zip(("input", "target"), batch, strict=True))
    else:
        named = list(_named(batch))
    for name, value in named:
        if isinstance(value, Tensor):
            yield name, value
        else:
            yield from ((f"{name}.{key}", inner) for key, inner in _named(value) if isinstance(inner, Tensor))


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from ((str(i), inner) for i, inner in enumerate(value))


def _expression(batch: Any, name: str) -> str:
    """Return the name of a part of the batch in expressions."""
    if isinstance(batch, Tensor):
        return "batch"
    own = name.partition(".")[0] in ("input", "target") and isinstance(batch, (tuple, list))
    return name if own else f"batch.{name}"


def _given(parts: Sequence[tuple[str, Tensor]]) -> Tensor | None:
    return next((t for name, t in parts if _last(name) not in _TARGETS and _plain(t)), None)


def _target(parts: Sequence[tuple[str, Tensor]]) -> Tensor | None:
    return next((t for name, t in parts if _last(name) in _TARGETS and _plain(t)), None)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _order(losses: Sequence[float], count: int) -> list[int]:
    """Return the samples worst first, NaN at the top; without losses in the order of the batch."""
    if len(losses) != count:
        return list(range(count))
    return sorted(range(count), key=lambda i: -math.inf if math.isnan(losses[i]) else -losses[i])


def _answers(prediction: Tensor | None, target: Tensor | None) -> Tensor | None:
    """Return the class that each prediction ranks highest, when the target is class indices; else None."""
    if prediction is None or target is None or target.is_floating_point() or target.is_complex():
        return None
    if prediction.numel() > _LARGEST:
        return None
    if not prediction.is_floating_point() or prediction.dim() != target.dim() + 1 or prediction.shape[1] < 2:
        return None
    best = prediction.detach().argmax(1)
    return best if best.shape == target.shape else None


def _right(answers: Tensor | None, target: Tensor | None, i: int) -> tuple[Tensor, ...]:
    """Return how many answers within one sample are right, and of how many: negative targets are ignored."""
    if answers is None or target is None:
        return ()
    wanted = target[i] >= 0
    return ((answers[i] == target[i]) & wanted).sum(), wanted.sum()


def _share(count: int, of: int) -> float | None:
    return count / of if of else None


def _range(rows: Sequence[PartRow], given: Tensor, parts: Sequence[tuple[str, Tensor]]) -> tuple[float, float]:
    row = next((row for row, (_, tensor) in zip(rows, parts, strict=False) if tensor is given), None)
    if row is None or row.minimum is None or row.maximum is None:
        return 0.0, 1.0
    return row.minimum, row.maximum
