"""`--json`: one JSON object per line for each command, including each turn of a repeat.

The keys: `command`, its line; `line`, its number in the script; `phase`: forward, backward, step, zero_grad or
next_batch, null for other commands; `stop`, the number of the resulting stop; `iteration`; `loss`; `changed`, a list of
{name, before, after, norm_before, norm_after, norm_of_change}; `digest`, a hash of the whole state; and where
applicable `branch` of the timeline, `position` of a stop inside a phase, `text` that the command printed, and
`problem`, {kind, title, what}. Non-finite numbers, which JSON lacks, are the strings "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, TextIO

from msgspec import to_builtins
from msgspec.structs import asdict

from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import line_of, role_of
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Changes, Digest, LookChanges, LookDigest

if TYPE_CHECKING:
    from gradstep.session.local import Session


class JsonLines:
    """Writes the objects. The digest is computed again only after a command that may have changed the state."""

    def __init__(self, session: Session, out: TextIO) -> None:
        self._session, self._out = session, out
        self._digest = ""
        self._of = -1

    def carried(self, line: StepsLine, outcome: Outcome) -> None:
        """Write the object of one command."""
        acted = role_of(outcome.command) in ("act", "step") and outcome.stop.position is None
        stop, problem = outcome.stop, outcome.problem
        entry: dict[str, object] = {
            "command": line_of(outcome.command),
            "line": line.number,
            "phase": stop.phase if acted and problem is None else None,
            "stop": stop.number,
            "iteration": stop.iteration,
            "loss": spelled(stop.loss),
            "changed": self._changed() if acted and problem is None else [],
            "digest": self._digest_at(stop.number, fresh=problem is not None),
        }
        if stop.position is not None:
            entry["position"] = to_builtins(stop.position)
        if stop.branch:
            entry["branch"] = stop.branch
        if outcome.text:
            entry["text"] = outcome.text
        if problem is not None:
            entry["problem"] = {"kind": problem.kind, "title": problem.title, "what": problem.what}
        self._out.write(json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n")

    def _changed(self) -> list[dict[str, object]]:
        view = self._session.look(LookChanges())[0]
        rows = view.rows if isinstance(view, Changes) else ()
        return [{name: spelled(value) for name, value in asdict(row).items()} for row in rows]

    def _digest_at(self, stop: int, fresh: bool) -> str:
        if fresh or stop != self._of:
            view = self._session.look(LookDigest())[0]
            self._digest, self._of = (view.digest, stop) if isinstance(view, Digest) else ("", -1)
        return self._digest


def spelled(value: object) -> object:
    """Return a value for JSON, with non-finite numbers as strings."""
    if isinstance(value, dict):
        return {name: spelled(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(spelled, value))
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
