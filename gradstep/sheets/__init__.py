"""Views outside the screen: each is laid out as a sheet, which is drawn as plain text or HTML.

Importing this package makes views draw themselves at a prompt and in a notebook.
"""

from __future__ import annotations

from typing import Literal

from gradstep.sheets.find import sheet_of
from gradstep.sheets.html import html
from gradstep.sheets.text import text
from gradstep.values.views.drawn import Drawn, draw


@draw.register
def _(view: Drawn, form: Literal["text", "html"]) -> str:
    return (html if form == "html" else text)(sheet_of(view))
