"""A sheet as HTML for a notebook, with inline styles, no external resources and no script.

Text has the notebook's own colour and every background is translucent, so that both are readable in light and dark
themes.
"""

from __future__ import annotations

from html import escape

from gradstep.sheets.sheet import Beside, Block, Cell, Picture, Preformatted, Sheet, Table, Tone, Words
from gradstep.values.plain import clean

NEGATIVE = (31, 111, 235)
"""Blue and orange can be distinguished with every kind of colour blindness; the sign shows it too."""
POSITIVE = (230, 110, 10)
HERE = (138, 79, 176)
ODD_TEXT, ODD_GROUND = (255, 255, 255), (179, 38, 30)
FAINTEST, DEEPEST = 0.05, 0.42
"""Opacity of the background for the smallest and for the greatest heat; above that, light grey text is unreadable."""
DIM = 0.75
"""Opacity of dim text."""
_BAR = 0.35

_MONO = "font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px"
_TONES: dict[Tone, str] = {
    "": "",
    "dim": f"opacity:{DIM}",
    "bright": "font-weight:bold",
    "odd": f"color:rgb{ODD_TEXT};background:rgb{ODD_GROUND};font-weight:bold".replace(" ", ""),
    "bad": "font-weight:bold",
    "good": "",
}


def html(sheet: Sheet) -> str:
    """Draw a sheet as one `div`."""
    title, about = f"<b>{_safe(sheet.title)}</b>", f'<span style="{_TONES["dim"]}">{_safe(sheet.about)}</span>'
    head = title + (f" &nbsp; {about}" if sheet.about else "")
    body = (f'<div style="margin:2px 0">{head}</div>' if sheet.title else "") + "".join(map(_block, sheet.blocks))
    return f'<div style="overflow-x:auto;padding:2px 0">{body}</div>'


def wash(heat: float) -> tuple[tuple[int, int, int], float]:
    """Return the colour and the opacity of a heat that is not 0."""
    return NEGATIVE if heat < 0 else POSITIVE, FAINTEST + (DEEPEST - FAINTEST) * min(1.0, abs(heat))


def rgba(colour: tuple[int, int, int], opacity: float) -> str:
    """Return a colour as CSS."""
    return f"rgba({','.join(map(str, colour))},{opacity:.3g})"


def _block(block: Block) -> str:
    match block:
        case Table():
            return _table(block)
        case Beside(tables):
            inner = "".join(f"<div>{_table(table)}</div>" for table in tables)
            return f'<div style="display:flex;flex-wrap:wrap;gap:2px 28px">{inner}</div>'
        case Words(words, tone):
            lines = "<br>".join(map(_safe, words.splitlines()))
            return f'<div style="margin:2px 0;max-width:60em;{_TONES[tone]}">{lines}</div>'
        case Preformatted(lines):
            body = "\n".join(map(_safe, lines))
            return f'<pre style="{_MONO};line-height:1.25;margin:4px 0;background:none">{body}</pre>'
        case Picture(picture):
            return f'<div style="margin:4px 0">{picture}</div>'


def _table(table: Table) -> str:
    heads = "".join(f'<th style="{_shape(j, table)};{_TONES["dim"]}">{_safe(h)}</th>' for j, h in enumerate(table.head))
    rows = "".join(
        f'<tr style="background:{rgba(HERE, 0.2) if i == table.here else "none"}">'
        + "".join(_cell(cell, _shape(j, table)) for j, cell in enumerate(row))
        + "</tr>"
        for i, row in enumerate(table.rows)
    )
    caption = f'<div style="{_TONES["dim"]};margin-top:4px">{_safe(table.title)}</div>' if table.title else ""
    style = f"border-collapse:collapse;border:none;margin:2px 0;{_MONO}"
    head = f'<thead><tr style="background:none">{heads}</tr></thead>' if any(table.head) else ""
    return f'{caption}<table style="{style}">{head}<tbody>{rows}</tbody></table>'


def _cell(cell: Cell, shape: str) -> str:
    if cell.bar is not None:
        share = f"{100 * min(1.0, max(0.0, cell.bar)):.4g}%"
        ground = f"linear-gradient(to right,{rgba(NEGATIVE, _BAR)} {share},transparent {share})"
        return f'<td style="{shape};min-width:9em;background:{ground}">&nbsp;</td>'
    style = f"{shape};{_TONES[cell.tone]}" if cell.tone else shape
    if cell.heat:
        style += f";background:{rgba(*wash(cell.heat))}"
    return f'<td style="{style}">{_safe(cell.text)}</td>'


def _shape(column: int, table: Table) -> str:
    side = "left" if column in table.left else "right"
    return f"text-align:{side};padding:1px 7px;border:none;white-space:pre"


def _safe(text: str) -> str:
    return escape(clean(text))
