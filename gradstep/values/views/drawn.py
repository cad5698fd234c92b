"""The base of views, which draw themselves as text at a prompt and as HTML in a notebook."""

from __future__ import annotations

from functools import singledispatch
from typing import Literal

from msgspec import Struct


@singledispatch
def draw(view: Struct, form: Literal["text", "html"]) -> str:  # noqa: ARG001
    """Return a view as plain text or HTML: by default its fields; `gradstep.sheets` registers better ones."""
    return Struct.__repr__(view)


class Drawn(Struct, frozen=True):
    """A view that is displayed as a table or chart, not as its fields."""

    def __repr__(self) -> str:
        """Draw the view as plain text."""
        return draw(self, "text")

    def _repr_html_(self) -> str:
        return draw(self, "html")
