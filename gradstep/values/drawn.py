"""What every view is: a value that draws itself, as text at a prompt and as HTML in a notebook."""

from __future__ import annotations

from msgspec import Struct


class Drawn(Struct, frozen=True):
    """A view that is read as a table or a picture, not as its fields."""

    def __repr__(self) -> str:
        """Draw the view as plain text."""
        from gradstep.values.sheets.find import sheet_of
        from gradstep.values.sheets.text import text

        return text(sheet_of(self))

    def _repr_html_(self) -> str:
        from gradstep.values.sheets.find import sheet_of
        from gradstep.values.sheets.html import html

        return html(sheet_of(self))
