"""What a check has found: the rule, where, the evidence in numbers, and what to write instead."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

Severity: TypeAlias = Literal["error", "warning", "hint"]
"""`error`: wrong for certain; `warning`: very likely wrong; `hint`: worth a look."""
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "hint")


class Rule(Struct, frozen=True):
    """What a check is for."""

    id: str
    """In words with hyphens: `zero-grad-missing`."""
    severity: Severity
    title: str
    """The fault in a few words."""
    why: str
    """Why it is wrong, in a sentence that a student understands."""
    detects: str
    """How it is detected."""
    remedy: str
    """What to write instead, with a line of code."""
    source: str
    """Where the rule and its threshold come from: a paper, documentation, source code; a public case of the fault."""
    threshold: float | None = None
    """The number that decides; None for a rule that has none."""
    unit: str = ""
    """What the threshold is a number of."""


class Where(Struct, frozen=True):
    """Where a finding is; what is not known of it is empty."""

    module: str = ""
    parameter: str = ""
    file: str = ""
    line: int = 0
    node: int = -1
    """Place of the node in the graph of the iteration in which it was first seen; -1 for none."""
    panel: str = ""
    """The panel that shows it."""

    @property
    def words(self) -> str:
        """Return it as text."""
        place = f"{self.file.rpartition('/')[2]}:{self.line}" if self.file else ""
        return ", ".join(filter(None, (self.parameter or self.module, place)))


class Finding(Struct, frozen=True):
    """A fault that was found, however often it was seen."""

    rule: str
    severity: Severity
    what: str
    """What was seen, with the numbers."""
    why: str
    remedy: str
    where: Where = Where()
    evidence: dict[str, float | int | str] = field(default_factory=dict)
    first: int = 0
    """The iteration in which it was first seen."""
    last: int = 0
    count: int = 1
    """How many times it was seen."""
