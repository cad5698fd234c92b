"""The names that a pattern matches: `0.*`, `*.bias`, or one name."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from gradstep.engine.expressions.names import list_some
from gradstep.values.errors import wrong
from gradstep.values.nearest import did_you_mean


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that a glob pattern matches.

    Raises:
        GradstepError: it matches none.
    """
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        remedy = did_you_mean(pattern, names) or list_some(names)
        raise wrong("no parameter matches", pattern, remedy, pattern)
    return found
