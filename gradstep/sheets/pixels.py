"""Greyscale images: inline PNG for HTML, shaded characters for plain text."""

from __future__ import annotations

import math
import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence
from html import escape

from gradstep.sheets.sheet import Picture
from gradstep.values.plain import clean

_SHADES = " ░▒▓█"
_ODD = (255, 0, 0)
"""The colour of a pixel that is NaN or inf."""
_SIDE = 96
"""Height of an image in CSS pixels."""

Pixels = Sequence[Sequence[float]]


def pixels(pictures: Sequence[Pixels], low: float, high: float, captions: Sequence[str]) -> Picture:
    """Return captioned images side by side, with `low` as black and `high` as white."""
    style = "display:inline-block;margin:2px 10px 6px 0;text-align:center;font-size:12px"
    figures, lines = [], []
    for picture, caption in zip(pictures, captions, strict=True):
        data = b64encode(png(picture, low, high)).decode()
        image = f"height:{_SIDE}px;image-rendering:pixelated;display:block;margin:0 auto"
        words = escape(clean(caption))
        source = f'alt="{words}" src="data:image/png;base64,{data}"'
        figures.append(f'<span style="{style}"><img style="{image}" {source}>{words}</span>')
        lines += [caption, *("".join(_shade(v, low, high) for v in row) for row in picture)]
    return Picture("".join(figures), tuple(lines))


def png(picture: Pixels, low: float, high: float) -> bytes:
    """Return an image as PNG with eight bits per channel (the PNG specification, third edition, sections 5 and 11)."""
    width = max(map(len, picture))
    rows = bytearray()
    for row in picture:
        rows.append(0)  # no filter
        for x in range(width):
            rows += bytes(_colour(row[x] if x < len(row) else math.nan, low, high))
    head = struct.pack(">IIBBBBB", width, len(picture), 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _colour(value: float, low: float, high: float) -> tuple[int, int, int]:
    return (round(_share(value, low, high) * 255),) * 3 if math.isfinite(value) else _ODD


def _shade(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return "NN" if math.isnan(value) else "∞∞"
    return _SHADES[round(_share(value, low, high) * (len(_SHADES) - 1))] * 2


def _share(value: float, low: float, high: float) -> float:
    """Return a number scaled from `low`..`high` to 0..1; 0.5 if those are equal."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return 0.5
    # halved first, so that a range from -1e308 to 1e308 does not overflow
    return min(1.0, max(0.0, (value / 2 - low / 2) / (high / 2 - low / 2)))
