"""The panel *Batch*: the data as a picture, tokens, a curve or numbers; the samples with the greatest loss first."""

from __future__ import annotations

import math

from gradstep.tui.glyphs import ASCII
from gradstep.tui.lines import Line, Row, Span, clean
from gradstep.tui.panels.drawing import GUTTER, Drawing, empty, paragraph, widest
from gradstep.tui.panels.panel import ViewPanel
from gradstep.tui.sparks import merged, picture, spark, stretch
from gradstep.values import numbers
from gradstep.values.training import BatchView, LookBatch, PartRow, Piece, SampleRow
from gradstep.values.views import Request

_SMALL = 12
"""Rows of pixels up to which a picture is drawn at twice its size."""
_CAPTION = 17
"""Columns that the words below a picture need."""


def draw(view: BatchView | None, width: int, height: int, colour: bool = True) -> Drawing:
    """Draw what the batch is, and as many of its samples as there is room for."""
    if view is None:
        return empty(width, height, "No model yet: its data shows here as soon as it is built.")
    if not view.taken:
        return empty(width, height, clean(view.note))
    lines = [_part(part, width) for part in view.parts]
    if view.note:
        lines += paragraph(clean(view.note), width, "dim")
    pictures = any(sample.input is not None and sample.input.kind == "image" for sample in view.samples)
    room = height - len(lines)
    lines += _pictures(view, width, room, colour) if pictures else _texts(view, width)
    about = f"batch {view.taken}"
    if view.samples:
        last = view.first + len(view.samples)
        order = "worst first" if view.samples[0].loss is not None else "in order"
        about += f", {numbers.count(view.total, 'sample')}" + (f", {order}" if last > 1 else "")
    if view.reduction:
        about += f", loss is their {view.reduction}"
    return Drawing(about, lines[: max(height, 0)], view.total)


def _part(part: PartRow, width: int) -> Line:
    """Say what a tensor of the batch is, and the range of its numbers."""
    row = Row(width).left(GUTTER, clean(part.name), "bright").add(f"  {numbers.shape(part.shape)}", "text")
    odd = [f"{count:,} {name}" for name, count in (("NaN", part.nans), ("inf", part.infs)) if count]
    if odd:
        row.add("  ").add(", ".join(odd), "odd")
    form = numbers.form_of([part.minimum, part.maximum, part.mean, part.std])
    whole = part.dtype.startswith(("int", "uint", "bool"))
    ends = numbers.Form(0) if whole else form
    texts = [f"  {part.dtype}"]
    if part.minimum is not None and part.maximum is not None:
        texts.append(f"  {numbers.signed(part.minimum, ends)} to {numbers.signed(part.maximum, ends)}")
    if part.mean is not None and part.std is not None and not (whole and part.kind == "tokens"):
        texts.append(
            f"  mean {numbers.signed(part.mean, form)}  std {numbers.signed(part.std, form).removeprefix('+')}"
        )
    for text in texts if width >= 60 else texts[1:]:
        if row.at + len(text) < width:
            row.add(text, "dim")
    return row.line()


# -- pictures ----------------------------------------------------------------------------------------------------------
def _pictures(view: BatchView, width: int, height: int, colour: bool) -> list[Line]:
    """Draw the samples side by side, the words below each, in as many rows as there is room for."""
    drawn = []
    for sample in view.samples:
        pixels = sample.input.rows if sample.input is not None else ()
        scale = 2 if len(pixels) <= _SMALL and 2 * len(pixels[0]) <= width // 3 and height > len(pixels) + 2 else 1
        drawn.append(picture(pixels, view.low, view.high, colour, scale))
    tile = max(_CAPTION, max(len(rows[0]) for rows in drawn)) + 2
    across = max(1, (width - GUTTER) // tile)
    lines: list[Line] = []
    for start in range(0, len(drawn), across):
        group = range(start, min(start + across, len(drawn)))
        rows = max(len(drawn[i]) for i in group)
        if lines and len(lines) + rows + 2 > height:
            break
        for y in range(rows):
            row = Row(width)
            for x, i in enumerate(group):
                row.to(GUTTER + x * tile)
                for text, tone in merged(drawn[i][y]) if y < len(drawn[i]) else ():
                    row.add(text, tone)
            lines.append(row.line())
        row = Row(width)
        for x, i in enumerate(group):
            row.to(GUTTER + x * tile)
            for text, tone in _caption(view.samples[i]):
                row.add(text, tone)
        lines += [row.line(), Line()]
    return lines[:-1]


def _caption(sample: SampleRow) -> list[Span]:
    """Say a sample's loss, its target, and what was said in its place."""
    spans = _loss(sample)
    target, answer = _one(sample.target), _one(sample.answer)
    if target:
        spans.append(Span(f" {target}", "text"))
    if answer and answer != target:
        spans += [Span(" said ", "dim"), Span(f"{answer} ✗", "bad")]
    elif answer:
        spans.append(Span(" ✓", "good"))
    return spans


def _loss(sample: SampleRow) -> list[Span]:
    if sample.loss is None:
        return [Span(f"#{sample.index}", "dim")]
    return [Span(numbers.loss(sample.loss), "bright" if math.isfinite(sample.loss) else "odd")]


def _one(piece: Piece | None) -> str:
    """Return the one number of a piece, such as a class; empty when it has several."""
    if piece is None or piece.elements != 1 or not piece.rows or not math.isfinite(piece.rows[0][0]):
        return ""
    value = piece.rows[0][0]
    return str(int(value)) if piece.kind == "tokens" else numbers.signed(value, numbers.form_of([value]))


# -- words -------------------------------------------------------------------------------------------------------------
def _texts(view: BatchView, width: int) -> list[Line]:
    """Draw each sample as a row for what went in, what was wanted, and what came out."""
    lines: list[Line] = []
    for sample in view.samples:
        row = Row(width).left(GUTTER, f"#{sample.index}", "bright")
        if sample.loss is not None:
            row.add("  loss ", "dim").add(*_loss(sample)[0])
        if sample.right is not None:
            right = round(sample.right * (sample.answer.elements if sample.answer is not None else 0))
            many = sample.answer is not None and sample.answer.elements > 1
            verdict = f"  {right} of {sample.answer.elements} right" if many and sample.answer else ""
            row.add(
                verdict or ("  ✓ right" if sample.right == 1 else "  ✗ wrong"), "good" if sample.right == 1 else "bad"
            )
        lines.append(row.line())
        lines += _pieces(sample, width)
    return lines


def _pieces(sample: SampleRow, width: int) -> list[Line]:
    said = sample.answer or sample.prediction
    named = [
        (name, piece)
        for name, piece in (("input", sample.input), ("target", sample.target), ("predicted", said))
        if piece is not None and piece.rows
    ]
    curves = [v for _, piece in named if piece.kind == "curve" for v in piece.rows[0] if math.isfinite(v)]
    low, high = min(curves, default=0.0), max(curves, default=0.0)
    tokens = [piece.rows[0] for _, piece in named if piece.kind == "tokens"]
    cell = widest([str(int(v)) for row in tokens for v in row if math.isfinite(v)])
    lines = []
    for name, piece in named:
        row = Row(width).left(GUTTER + 2, name, "dim").to(GUTTER + 12)
        if piece.kind == "curve" or (curves and len(piece.rows[0]) == piece.elements > 8):
            for text, tone in merged(spark(stretch(piece.rows[0], width - row.at - 1), low, high)):
                row.add(text, tone)
        elif piece.kind == "tokens":
            _tokens(row, piece, sample.target if name == "predicted" else None, cell)
        elif piece.kind == "image":
            row.add(f"a picture of {piece.elements:,} numbers", "dim")
        else:
            _numbers(row, piece)
        lines.append(row.line())
    return lines


def _tokens(row: Row, piece: Piece, wanted: Piece | None, cell: int) -> None:
    """Write tokens in columns; those that are not what was wanted stand out, and have a mark."""
    for i, value in enumerate(piece.rows[0]):
        wrong = wanted is not None and wanted.rows and i < len(wanted.rows[0]) and wanted.rows[0][i] != value
        text = ("✗" if wrong else " ") + str(int(value)).rjust(cell)
        if row.at + len(text) + 2 > row.width:
            row.add("…", "dim")
            return
        row.add(text, "bad" if wrong else "text")
    if piece.elements > len(piece.rows[0]):
        row.add(" …", "dim")


def _numbers(row: Row, piece: Piece) -> None:
    form = numbers.form_of(piece.rows[0])
    shown = 0
    for value in piece.rows[0]:
        text = numbers.signed(value, form)
        if row.at + len(text) + 2 > row.width:
            break
        row.add(f"{text}", numbers.tone_of(value)).add(" ")
        shown += 1
    if shown < piece.elements:
        more = f"… {piece.elements:,} numbers"
        row.add(more if row.at + len(more) < row.width else "…", "dim")


class BatchPanel(ViewPanel[BatchView]):
    """The batch, scrolled by samples."""

    title = "Batch"
    reads = (
        "The data of this batch with what was wanted and what came out, and the loss of each sample, the worst first."
    )
    shows = BatchView

    def __init__(self) -> None:
        super().__init__("batch")

    def request(self) -> Request:
        """Ask for as many samples as could be seen, pictures no larger than there is room for."""
        width, body = max(self.size.width, 24), max(self.body, 4)
        rows = max(6, min(32, 2 * (body - 6)))
        return LookBatch(self.first, max(2, min(24, body)), rows, max(8, min(48, width - 16)))

    def taken(self, view: BatchView, before: BatchView | None) -> None:  # noqa: ARG002
        """Stay within the samples that there are."""
        self.first = max(0, min(self.first, view.total - 1))

    def scroll_rows(self, rows: int) -> None:
        """Scroll by samples, never past the last."""
        self.first = max(0, min(self.first + rows, self.rows - 1))

    def draw_view(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.view, width, height, not self.app.no_color and not self.app.has_class(ASCII))
