"""Which checks are on, and their thresholds: from `[tool.gradstep.checks]` of the project's pyproject.toml.

[tool.gradstep.checks]
off = ["class-imbalance"]

[tool.gradstep.checks.thresholds]
update-ratio-high = 0.05
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """What a project has set."""

    off: tuple[str, ...] = ()
    thresholds: dict[str, float] = {}  # noqa: RUF012 (never written)
    fault: str = ""
    """What is wrong with the file; empty for nothing."""


def project_settings(folder: str = "") -> Settings:
    """Return the settings of the project that a folder is in: of the nearest pyproject.toml above it."""
    start = Path(folder or os.getcwd()).absolute()
    file = next(
        (each / "pyproject.toml" for each in (start, *start.parents) if (each / "pyproject.toml").is_file()), None
    )
    if file is None:
        return Settings()
    try:
        found: Any = (
            tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("gradstep", {}).get("checks", {})
        )
        off = tuple(str(each) for each in found.get("off", ()))
        return Settings(off, {str(name): float(value) for name, value in found.get("thresholds", {}).items()})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return Settings(fault=f"{file}: [tool.gradstep.checks] can't be read: {error}")
