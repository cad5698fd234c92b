"""The Batch view as a sheet: a row for each tensor, and the samples, worst first if their losses are known."""

from __future__ import annotations

import math

from gradstep.sheets.pixels import pixels
from gradstep.sheets.sheet import Block, Cell, Sheet, Table, Words, greatest, heat_cell
from gradstep.values import numbers
from gradstep.values.views.training import BatchView, PartRow, Piece, SampleRow

_MOST = 3
"""Maximum number of values that are printed for a sample."""


def batch_sheet(view: BatchView) -> Sheet:
    """Return the tensors as a table and the samples below it."""
    if not view.taken:
        return Sheet("Batch", "", (Words(view.note, "dim"),))
    about = f"batch {view.taken}"
    if view.samples:
        order = ", worst first" if view.samples[0].loss is not None else ""
        about += f", {len(view.samples)} of {numbers.count(view.total, 'sample')}{order}"
    if view.reduction:
        about += f", the loss is their {view.reduction}"
    head = ("", "shape", "dtype", "min", "max", "mean", "std", "NaN", "inf")
    blocks: list[Block] = [Table(head, tuple(map(_part, view.parts)))]
    if view.note:
        blocks.append(Words(view.note, "dim"))
    drawn = [p for p in map(_pictured, view.samples) if p is not None]
    if drawn and len(drawn) == len(view.samples):
        blocks.append(pixels([p.rows for p in drawn], view.low, view.high, [_caption(s) for s in view.samples]))
    elif view.samples:
        blocks.append(Table(("sample", "loss", "input", "target", "predicted", ""), tuple(map(_sample, view.samples))))
    return Sheet("Batch", about, tuple(blocks))


def _part(part: PartRow) -> tuple[Cell, ...]:
    odd = (Cell(f"{count:,}", "odd") if count else Cell("0", "dim") for count in (part.nans, part.infs))
    return (
        Cell(part.name, "bright"),
        Cell(numbers.shape(part.shape)),
        Cell(part.dtype, "dim"),
        _number(part.minimum, part.dtype),
        _number(part.maximum, part.dtype),
        _number(part.mean),
        Cell("" if part.std is None else numbers.single(part.std, plus=False)),
        *odd,
    )


def _number(value: float | None, dtype: str = "") -> Cell:
    return Cell() if value is None else heat_cell(value, numbers.form_of([value], dtype), 0.0)


def _pictured(sample: SampleRow) -> Piece | None:
    return sample.input if sample.input is not None and sample.input.kind == "image" and sample.input.rows else None


def _caption(sample: SampleRow) -> str:
    loss = "" if sample.loss is None else f"loss {numbers.loss(sample.loss)}"
    target, answer = _values(sample.target), _values(sample.answer)
    verdict = f"target {target}" if target else ""
    if answer:
        verdict += f", predicted {answer} {'✓' if answer == target else '✗'}"
    return "  ".join(part for part in (_name(sample), loss, verdict) if part)


def _name(sample: SampleRow) -> str:
    """Return the index of a sample in its batch, and in the data set if that is known."""
    return f"#{sample.index}" + (f" dataset[{sample.drawn}]" if sample.drawn is not None else "")


def _sample(sample: SampleRow) -> tuple[Cell, ...]:
    odd = sample.loss is not None and not math.isfinite(sample.loss)
    predicted = sample.answer or sample.prediction
    right = "" if sample.right is None else f"{sample.right:.0%} correct"
    texts = (Cell(_values(piece)) for piece in (sample.input, sample.target, predicted))
    return Cell(_name(sample), "dim"), Cell(numbers.loss(sample.loss), "odd" if odd else ""), *texts, Cell(right)


def _values(piece: Piece | None) -> str:
    """Return the first numbers of a piece; empty if it has none."""
    if piece is None or not piece.rows or not piece.rows[0]:
        return ""
    if piece.kind == "image":
        return f"an image of {piece.elements:,} numbers"
    shown = piece.rows[0][:_MOST]
    if piece.kind == "tokens" and greatest(shown) < 2**63:
        texts = [str(int(v)) if math.isfinite(v) else numbers.signed(v, numbers.Form(0)) for v in shown]
    else:
        form = numbers.form_of(shown)
        texts = [numbers.signed(v, form) for v in shown]
    return " ".join(texts) + (f" … of {piece.elements:,}" if piece.elements > len(shown) else "")
