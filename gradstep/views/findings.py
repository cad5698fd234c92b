"""The Findings view: what the checks have found."""

from __future__ import annotations

from gradstep.checks.checker import Checker, all_checks
from gradstep.values.views.findings import FindingsView


def findings_view(checker: Checker, stop: int) -> FindingsView:
    """Return the findings, errors first."""
    failed = [f"{name} could not run: {why}" for name, why in checker.failed.items()]
    failed += [checker.fault] if checker.fault else []
    return FindingsView(stop, checker.rows, tuple(sorted(checker.off)), len(all_checks()), "; ".join(failed))
