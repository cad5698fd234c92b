"""Statistics of a slice of any size: four passes at memory speed, and a histogram.

Numbers that need a conversion (narrow dtypes, changes, slices with gaps) are read in chunks that fit into a cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from gradstep.engine.numbers.norms import flat_norm
from gradstep.engine.reads import Reading, on_host, scalars
from gradstep.values.views.tensor import Histogram, Statistics

Read = Callable[[Sequence[Tensor]], Tensor]
"""Makes the numbers of a chunk from the same chunk of each tensor: real ones, float32 or float64."""

_CHUNK = 1 << 17
"""Elements of a chunk that is converted: it and the result fit into a cache of 1 MiB."""
_WHOLE = 1 << 22
"""Elements of a chunk that needs no conversion: long enough for several threads."""
_SAMPLE = 1 << 18
"""Elements that the histogram of a slice at least four times as large counts, evenly spread: a bar of 32 with 1/32 of
them is then accurate to about 1 %, and counting takes no longer than the other statistics together."""


def chunks(parts: Sequence[Tensor], read: Read | None) -> Iterator[Tensor]:
    """Yield the numbers of a slice, each once, in flat chunks.

    Args:
        parts: dense tensors of one shape.
        read: makes the numbers of a chunk; None to use those of a single tensor unchanged.
    """
    first = parts[0]
    # statistics do not depend on the order: memory order is the fastest
    strides = first.stride()
    order = sorted(range(first.dim()), key=lambda dim: -strides[dim])
    parts = [part.permute(order) for part in parts]
    size = first.numel() if first.device.type != "cpu" else _WHOLE if read is None else _CHUNK
    for pieces in _pieces(parts, max(1, size)):
        yield pieces[0] if read is None else read(pieces)


def _pieces(parts: Sequence[Tensor], size: int) -> Iterator[list[Tensor]]:
    """Yield the same flat piece of each of several tensors of one shape, about `size` elements long."""
    whole = parts[0]
    if whole.dim() < 2 or all(part.is_contiguous() for part in parts):
        flat = [part.reshape(-1) for part in parts]
        for start in range(0, whole.numel(), size):
            yield [part[start : start + size] for part in flat]
        return
    row = math.prod(whole.shape[1:])
    if row > size:
        for i in range(whole.shape[0]):
            yield from _pieces([part[i] for part in parts], size)
        return
    rows = max(1, size // max(1, row))
    for start in range(0, whole.shape[0], rows):
        yield [part[start : start + rows].reshape(-1) for part in parts]


class _Sums:
    """Sums over the chunks, in double precision."""

    def __init__(self) -> None:
        self.count = self.zeros = self.nans = self.infs = 0
        self.total = 0.0
        self.squares = 0.0
        self.finite_squares = 0.0
        self.least, self.greatest = math.inf, -math.inf
        self.low, self.high = math.inf, -math.inf
        """The range of the finite numbers."""

    def add(self, chunk: Tensor) -> Reading[None]:
        """Add a chunk that is not empty."""
        size = flat_norm(chunk, part=self.count > 0)
        found = [torch.count_nonzero(chunk), size, chunk.sum(), *torch.aminmax(chunk)]
        nonzero, norm, total, least, greatest = yield from scalars(found)
        zeros, squares = chunk.numel() - int(nonzero), norm**2
        self.count += chunk.numel()
        self.zeros += zeros
        if zeros == chunk.numel():
            self._ends(0.0, 0.0, 0.0, 0.0)
        elif not math.isfinite(total) or not 1e-30 < squares < math.inf:
            most = _CHUNK if on_host(chunk) else _WHOLE
            parts = [_odd(_double(part)) for part in torch.split(chunk, most)]
            values = yield from scalars([value for part in parts for value in part])
            for i in range(0, len(values), len(parts[0])):
                self._add_odd(*values[i : i + len(parts[0])])
        else:
            self._ends(least, greatest, least, greatest)
            self.total += total
            self.squares += squares
            self.finite_squares += squares

    def _add_odd(self, nans: float, infs: float, total: float, squares: float, finite: float, *ends: float) -> None:
        """Add what `_odd` has measured."""
        self.nans += int(nans)
        self.infs += int(infs)
        self.total += total
        self.squares += squares
        self.finite_squares += finite
        self._ends(*ends)

    def _ends(self, least: float, greatest: float, low: float, high: float) -> None:
        """Widen the range of the numbers that are not NaN, and of the finite ones."""
        self.least, self.greatest = min(self.least, least), max(self.greatest, greatest)
        self.low, self.high = min(self.low, low), max(self.high, high)


def _odd(chunk: Tensor) -> list[Tensor]:
    """Measure a chunk in float64 with numbers that are not finite, or whose squares overflow or underflow its dtype."""
    nan, inf = chunk.isnan(), chunk.isinf()
    none = nan | inf
    finite = chunk.masked_fill(none, 0.0)
    return [
        torch.count_nonzero(nan),
        torch.count_nonzero(inf),
        chunk.sum(),
        torch.dot(chunk, chunk),
        torch.dot(finite, finite),
        chunk.masked_fill(nan, math.inf).min(),
        chunk.masked_fill(nan, -math.inf).max(),
        chunk.masked_fill(none, math.inf).min(),
        chunk.masked_fill(none, -math.inf).max(),
    ]


def _double(chunk: Tensor) -> Tensor:
    """Return a chunk in float64, which MPS does not have."""
    return chunk.cpu().double() if chunk.is_mps else chunk.double()


def of_tensor(tensor: Tensor, *, norm: bool = True) -> Reading[Statistics]:
    """Read the statistics of a whole dense tensor of real floating-point numbers; `norm` as in `statistics`."""
    wide = None if tensor.dtype in (torch.float32, torch.float64) else _widened
    return statistics(lambda: chunks([tensor], wide), norm=norm)


def _widened(parts: Sequence[Tensor]) -> Tensor:
    return parts[0].float()


def statistics(
    make: Callable[[], Iterable[Tensor]], *, implied: int = 0, norm: bool = True, bins: int = 0
) -> Reading[Statistics]:
    """Read the statistics of a slice.

    Args:
        make: makes its chunks, flat and real; called once for each pass.
        implied: the number of elements that are not stored, all of them 0, as in a sparse tensor.
        norm: False where a norm makes no sense.
        bins: the number of bins of the histogram; 0 for none.
    """
    sums = _Sums()
    for chunk in make():
        if chunk.numel():
            yield from sums.add(chunk)
    if implied:
        yield from sums.add(torch.zeros(1))
        sums.count, sums.zeros = sums.count + implied - 1, sums.zeros + implied - 1
    count = sums.count
    if not count:
        return Statistics(0)
    mean, spread = yield from _centre(make, sums, implied)
    histogram = None
    if bins and sums.low <= sums.high:
        histogram = yield from _histogram(make(), sums.low, sums.high, bins, count, implied)
    shaping = count - sums.zeros - sums.nans - sums.infs
    numbers = sums.least <= sums.greatest
    return Statistics(
        count,
        sums.least if numbers else None,
        sums.greatest if numbers else None,
        mean,
        math.sqrt(spread / (count - 1)) if count > 1 else None,
        math.sqrt(sums.squares) if norm else None,
        sums.zeros,
        sums.nans,
        sums.infs,
        math.sqrt(sums.finite_squares / shaping) if shaping else 0.0,
        histogram,
    )


def _centre(make: Callable[[], Iterable[Tensor]], sums: _Sums, implied: int) -> Reading[tuple[float, float]]:
    """Read the mean, and the sum of squares about it."""
    mean = sums.total / sums.count
    spread = sums.squares - sums.count * mean * mean
    if not math.isfinite(spread):
        return mean, math.nan
    if sums.low == sums.high:
        return sums.low, 0.0
    if spread > 1e-3 * sums.squares:
        return mean, spread
    # catastrophic cancellation: the mean is far larger than the spread, so a second pass sums about the mean
    away, squares = [-implied * mean], [implied * mean * mean]
    for chunk in make():
        apart = _double(chunk) - mean
        total, square = yield from scalars([apart.sum(), torch.dot(apart, apart)])
        away.append(total)
        squares.append(square)
    shift = math.fsum(away) / sums.count
    return mean + shift, math.fsum(squares) - sums.count * shift * shift


def _histogram(
    parts: Iterable[Tensor], low: float, high: float, bins: int, count: int, implied: int = 0
) -> Reading[Histogram | None]:
    """Count the finite elements in equal bins from `low` to `high`; of very many, an evenly spread sample."""
    if not math.isfinite(high - low):
        return None
    # an odd step: with the even sizes of layers, an even one would sample the same columns again and again
    every = 1 if count <= 4 * _SAMPLE else count // _SAMPLE | 1
    if low == high:
        finite = yield from scalars([chunk[::every].isfinite().sum() for chunk in parts])
        return Histogram(low, high, (int(sum(finite)) + implied // every,), every)
    counts = torch.zeros(bins, dtype=torch.float64)
    start = 0
    for chunk in parts:
        sample = chunk[start::every]
        start = (start - chunk.numel()) % every
        if sample.numel():
            [counted] = yield [torch.histc(sample if _fits(low, high) else _double(sample), bins, low, high)]
            counts += counted
    if implied:
        counts[min(bins - 1, int((0.0 - low) / (high - low) * bins))] += implied // every
    return Histogram(low, high, tuple(map(int, counts.tolist())), every)


def _fits(low: float, high: float) -> bool:
    """Return whether float32 can separate the bins of a range."""
    return 1e-35 < high - low < 1e38 and high - low > 1e-5 * max(abs(low), abs(high))
