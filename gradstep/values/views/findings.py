"""The view of what the checks have found, and its request."""

from __future__ import annotations

from msgspec import Struct

from gradstep.values.findings import Finding


class LookFindings(Struct, frozen=True, tag=True):
    """Ask for the findings."""


class FindingsView(Struct, frozen=True, tag=True):
    """The findings, errors first, then by their first iteration."""

    stop: int
    rows: tuple[Finding, ...] = ()
    off: tuple[str, ...] = ()
    """The rules that are switched off."""
    rules: int = 0
    """How many rules are checked."""
    note: str = ""
