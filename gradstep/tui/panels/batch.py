"""The panel *Batch*: its samples as images, tokens, curves or numbers, the highest loss first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest
from gradstep.tui.render.glyphs import ASCII
from gradstep.tui.render.lines import Line, Row, Span, cell_len, clean
from gradstep.tui.render.sparks import merged, picture, spark, stretch
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.training import BatchView, LookBatch, PartRow, Piece, SampleRow

_SMALL = 12
"""Maximum height in pixels of an image that is drawn at twice its size."""
_TALL = 24
"""Minimum height of the panel for that: lower ones show more samples instead."""
_AIRY = 8
"""Minimum height of the panel for a free row between images."""
_CAPTION = 24
"""Minimum width of an image whose caption is below it; it is beside a smaller one."""
_TILE = 36
"""Approximate width of a small image with its caption, in cells."""
_MOST = 96
"""Maximum number of samples requested."""


class Block(NamedTuple):
    """Rows that belong together, and the number of samples in them."""

    lines: list[Line]
    samples: int


def draw(view: BatchView | None, width: int, height: int, colour: bool = True, at: int = -1) -> Drawing:
    """Draw the tensors of the batch, and the samples that fit, with the cursor on the one at position `at`."""
    if view is None:
        return empty(width, height, "No batch yet: it appears once the model is built.")
    if not view.taken:
        return empty(width, height, clean(view.note))
    lines = _head(view, width)
    fitting = _fitting(blocks(view, width, height, colour, at), height - len(lines))
    for block in fitting:
        lines += block.lines
    about = f"batch {view.taken}"
    if view.samples:
        last = view.first + len(view.samples)
        order = "worst first" if view.samples[0].loss is not None else "in order"
        about += f", {numbers.count(view.total, 'sample')}" + (f", {order}" if last > 1 else "")
    if view.reduction:
        about += f", loss is their {view.reduction}"
    seen = sum(block.samples for block in fitting)
    cut = max(0, len(lines) - height)
    return Drawing(about, lines[: max(height, 0)], view.total, view.first, seen, cut=cut)


def _head(view: BatchView, width: int) -> list[Line]:
    """Return a row for each tensor of the batch, and notes on what is unknown."""
    lines = [_part(part, width) for part in view.parts]
    return lines + (paragraph(clean(view.note), width, "dim") if view.note else [])


def blocks(view: BatchView, width: int, height: int, colour: bool = True, at: int = -1) -> list[Block]:
    """Return the samples as rows: a block per row of images, or per sample in text."""
    if any(sample.input is not None and sample.input.kind == "image" for sample in view.samples):
        return _pictures(view, width, height - len(_head(view, width)), colour, at)
    return [Block(_words(sample, width, place == at), 1) for place, sample in enumerate(view.samples, view.first)]


def _fitting(every: list[Block], room: int) -> list[Block]:
    """Return the blocks that fit, at least one, without the blank row below the last."""
    kept: list[Block] = []
    for block in every:
        rows = sum(len(other.lines) for other in kept) + len(block.lines)
        blank = not block.lines[-1].plain.strip()
        if kept and rows - blank > room:
            break
        kept.append(block)
    if kept and not kept[-1].lines[-1].plain.strip():
        kept[-1] = kept[-1]._replace(lines=kept[-1].lines[:-1])
    return kept


def _part(part: PartRow, width: int) -> Line:
    """Return the row of a tensor: name, shape, dtype and statistics."""
    row = Row(width).left(GUTTER, clean(part.name), "bright").add(f"  {numbers.shape(part.shape)}", "text")
    odd = [f"{count:,} {name}" for name, count in (("NaN", part.nans), ("inf", part.infs)) if count]
    if odd:
        row.add("  ").add(", ".join(odd), "odd")
    whole = part.dtype.startswith(("int", "uint", "bool"))
    texts = [f"  {part.dtype}"]
    if part.minimum is not None and part.maximum is not None:
        low, high = (numbers.single(end, part.dtype) for end in (part.minimum, part.maximum))
        texts.append(f"  {low} to {high}")
    if part.mean is not None and part.std is not None and not (whole and part.kind == "tokens"):
        texts.append(f"  mean {numbers.single(part.mean)}  std {numbers.single(part.std, plus=False)}")
    for text in texts if width >= 60 else texts[1:]:
        if row.at + len(text) < width:
            row.add(text, "dim")
    return row.line()


# -- pictures ----------------------------------------------------------------------------------------------------------
def _pictures(view: BatchView, width: int, height: int, colour: bool, at: int) -> list[Block]:
    """Draw the samples side by side, the caption beside a small image or below a large one."""
    drawn = []
    for sample in view.samples:
        pixels = sample.input.rows if sample.input is not None else ((0.0,),)
        scale = 2 if len(pixels) <= _SMALL and 2 * len(pixels[0]) <= width // 3 and height >= _TALL else 1
        drawn.append(picture(pixels, view.low, view.high, colour, scale))
    wide = max(len(rows[0]) for rows in drawn)
    words = [_caption(sample, view.first + i == at) for i, sample in enumerate(view.samples)]
    caption = max(_cells(line) for lines in words for line in lines)
    beside = wide < _CAPTION
    tile = (wide + 1 + caption if beside else max(wide, caption)) + 2
    across = max(1, (width - GUTTER) // tile)
    made: list[Block] = []
    for start in range(0, len(drawn), across):
        group = range(start, min(start + across, len(drawn)))
        tall = max(len(drawn[i]) for i in group)
        said = max(len(words[i]) for i in group)
        rows = [Row(width) for _ in range(max(tall, said) if beside else tall + said)]
        for x, i in enumerate(group):
            left, text, below = (
                GUTTER + x * tile,
                GUTTER + x * tile + (wide + 1 if beside else 0),
                0 if beside else tall,
            )
            for y, cells in enumerate(drawn[i]):
                _spans(rows[y].to(left), merged(cells))
            for y, line in enumerate(words[i]):
                _spans(rows[y + below].to(text), line)
        made.append(Block([*(row.line() for row in rows), *([Line()] * (height >= _AIRY))], len(group)))
    return made


def _spans(row: Row, spans: Iterable[tuple[str, str]]) -> None:
    for text, tone in spans:
        row.add(text, tone)


def _cells(spans: Iterable[Span]) -> int:
    return sum(cell_len(span.text) for span in spans)


def _caption(sample: SampleRow, here: bool) -> list[list[Span]]:
    """Return the caption: the sample, its loss, and target and prediction, in a row each."""
    mark = [Span("▶", "now")] if here else [Span(" ")]
    first, *more = _facts(sample)
    return [mark + first, *([Span(" "), *part] for part in more)]


# -- words -------------------------------------------------------------------------------------------------------------
def _facts(sample: SampleRow) -> list[list[Span]]:
    """Return the sample, its loss, and target and prediction where these are single numbers."""
    own = [Span(f"#{sample.index}", "bright")]
    if sample.drawn is not None:
        own.append(Span(f" dataset[{sample.drawn}]", "dim"))
    facts = [own]
    if sample.loss is not None:
        tone = "bright" if math.isfinite(sample.loss) else "odd"
        facts.append([Span("loss ", "dim"), Span(numbers.loss(sample.loss), tone)])
    target, said = _one(sample.target), _one(sample.answer or sample.prediction)
    answer = sample.answer
    verdict = Span("")
    if sample.right is not None and answer is not None and answer.elements > 1:
        right = round(sample.right * answer.elements)
        verdict = Span(f"{right} of {answer.elements} right", "good" if sample.right == 1 else "bad")
    elif sample.right is not None:
        verdict = Span(" ✓", "good") if sample.right == 1 else Span(" ✗", "bad")
    if target and said:
        facts.append([Span("target ", "dim"), Span(f"{target}, "), Span("predicted ", "dim"), Span(said), verdict])
    elif target:
        facts.append([Span("target ", "dim"), Span(target)])
    elif verdict.text:
        facts.append([verdict])
    return facts


def _one(piece: Piece | None) -> str:
    """Return the number of a piece with only one, such as a class; else empty."""
    if piece is None or piece.elements != 1 or not piece.rows:
        return ""
    value = piece.rows[0][0]
    whole = piece.kind == "tokens" and math.isfinite(value)
    return str(int(value)) if whole else numbers.single(value)


def _words(sample: SampleRow, width: int, here: bool) -> list[Line]:
    """Return a sample as text: its facts, then input, target and prediction, in a row each."""
    row = cursor(Row(width, here), here).to(GUTTER)
    lines: list[Line] = []
    for part in _facts(sample):
        if row.at > GUTTER and row.at + 2 + _cells(part) > width - 1:
            lines.append(row.line())
            row = Row(width, here).to(GUTTER + 2)
        elif row.at > GUTTER:
            row.add("  ")
        _spans(row, part)
    return [*lines, row.line(), *_pieces(sample, width)]


def _pieces(sample: SampleRow, width: int) -> list[Line]:
    said = sample.answer or sample.prediction
    named = [
        (name, piece)
        for name, piece in (("input", sample.input), ("target", sample.target), ("predicted", said))
        if piece is not None and piece.rows and not (name != "input" and _one(piece))
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
            row.add(f"an image of {piece.elements:,} pixels", "dim")
        else:
            _numbers(row, piece)
        lines.append(row.line())
    return lines


def _tokens(row: Row, piece: Piece, wanted: Piece | None, cell: int) -> None:
    """Write tokens in columns; those that differ from the target are marked."""
    texts = []
    for i, value in enumerate(piece.rows[0]):
        wrong = wanted is not None and wanted.rows and i < len(wanted.rows[0]) and wanted.rows[0][i] != value
        texts.append(Span(("✗" if wrong else " ") + str(int(value)).rjust(cell), "bad" if wrong else "text"))
    _some(row, texts, piece.elements)


def _numbers(row: Row, piece: Piece) -> None:
    form = numbers.form_of(piece.rows[0])
    texts = [Span(f"{numbers.signed(value, form)} ", numbers.tone_of(value)) for value in piece.rows[0]]
    _some(row, texts, piece.elements)


def _some(row: Row, texts: Sequence[Span], total: int) -> None:
    """Write the numbers that fit, and the total if those are not all."""
    more = f" … of {total:,}"
    whole = len(texts) == total and row.at + _cells(texts) < row.width
    for text in texts:
        if not whole and row.at + cell_len(text.text) + len(more) >= row.width:
            break
        row.add(text.text, text.tone)
    row.add("" if whole else more, "dim")


class BatchPanel(Panel[BatchView]):
    """The batch, with a cursor on a sample; it scrolls by samples."""

    title = "Batch"
    help_text = (
        "The samples of this batch, the highest loss first, each with its loss, target and prediction. #3 is the "
        "sample at index 3 of the batch; dataset[345] is its index in the dataset, where a DataLoader loaded it "
        "and tells. {choose} opens the sample under the cursor in Tensor."
    )
    shows = BatchView

    def __init__(self) -> None:
        super().__init__("batch")
        self.at = 0
        """The position of the sample under the cursor, in the order shown."""
        self._across, self._shown = 1, 1
        """Number of samples per row, and of visible ones."""

    def press(self, key: str, actions: Actions) -> bool:
        """Show the sample under the cursor."""
        if key != "choose" or not self.chosen:
            return False
        actions.show(self.chosen)
        return True

    def request(self) -> Request:
        """Return the request for the samples that could be visible, with images no larger than fit."""
        width, height = max(self.size.width, 24), max(self.size.height - 2, 4)
        count = max(2, min(_MOST, height * max(1, width // _TILE)))
        return LookBatch(self.first, count, max(6, min(32, 2 * (height - 6))), max(8, min(48, width - 16)))

    def update(self, view: BatchView, before: BatchView | None) -> None:
        """Start at the first sample of a new batch; else keep the cursor in range."""
        if before is not None and (before.taken, before.total) != (view.taken, view.total):
            self.at = self.first = 0
        self.at = max(0, min(self.at, view.total - 1))
        self.first = max(0, min(self.first, view.total - 1))

    def scroll_rows(self, rows: int) -> None:
        """Scroll by rows of samples, never past the last; the cursor stays visible."""
        last = max(0, self.rows - self._shown + self._across - 1) // self._across * self._across
        self.first = max(0, min(self.first + rows * self._across, last))
        self.at = max(self.first, min(self.at, self.first + self._shown - 1))

    def move(self, rows: int) -> None:
        """Move the cursor to the sample above or below."""
        self.sideways(rows * self._across)

    def sideways(self, columns: int) -> None:
        """Move the cursor to the next or previous sample."""
        self.at = max(0, min(self.at + columns, self.rows - 1))
        row, across = self.at // self._across, self._across
        top = self.first // across
        self.first = max(min(top, row), row - max(1, self._shown // across) + 1, 0) * across

    def click_row(self, row: int) -> None:
        """Move the cursor to the sample in the row."""
        if self.view is None:
            return
        place, row = self.view.first, row - len(_head(self.view, self.size.width))
        for block in blocks(self.view, self.size.width, self.body, at=self.at):
            if 0 <= row < len(block.lines):
                self.at = place
                return
            place, row = place + block.samples, row - len(block.lines)

    @property
    def here(self) -> SampleRow | None:
        """The sample under the cursor; None for none, or until it arrives."""
        place = self.at - self.view.first if self.view is not None else -1
        return self.view.samples[place] if self.view is not None and 0 <= place < len(self.view.samples) else None

    @property
    def chosen(self) -> str:
        """The input of the sample under the cursor as an expression; empty for none."""
        return f"{self.view.input}[{self.here.index}]" if self.view is not None and self.here is not None else ""

    def copied(self) -> Copied | None:
        """Return the facts of the sample under the cursor."""
        if self.here is None:
            return None
        parts = ("".join(span.text for span in part) for part in _facts(self.here))
        return Copied(f"sample #{self.here.index}", "  ".join(parts))

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        view, colour = self.view, not self.surface.app.no_color and not self.surface.app.has_class(ASCII)
        if view is not None and view.samples:
            self._across = blocks(view, width, height, colour)[0].samples
        drawing = draw(view, width, height, colour, self.at if self.focused else -1)
        self._shown = max(1, drawing.seen or 1)
        return drawing
