"""Copies of what a phase of a script may write, from before it: the views compare the end of the phase with them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.loop_phases import Name
from gradstep.engine.state.saved import Copier, Saved, Saver
from gradstep.engine.state.writing import writing_of_script

_UNKNOWN = Saved(known=False)


class _Begun(NamedTuple):
    phase: Name
    held: Held
    saved: Saved


class CopiesBefore:
    """Keeps the copies of the phases that run: a step that calls a closure has others inside."""

    def __init__(self, copier: Copier | None = None) -> None:
        """Keep them; `copier` has those that are recorded already."""
        self._copier = copier
        self._running: list[_Begun] = []

    def take(self, held: Held, phase: Name) -> Saved:
        """Copy what a phase may write."""
        with unobserved():
            return Saver(self._copier, held.offload).save(held, writing_of_script(held, phase))

    def forget(self) -> None:
        """Release the copies of phases that have not ended."""
        self._running.clear()

    def begin(self, held: Held, phase: Name) -> None:
        """Copy what a phase that begins may write: its end is looked at."""
        self._running.append(_Begun(phase, held, self.take(held, phase)))

    def end(self, held: Held, phase: Name) -> None:
        """Show the changes since the copies from before the phase that has just ended."""
        held.saved = _UNKNOWN
        for place in range(len(self._running) - 1, -1, -1):
            if self._running[place].phase == phase:
                begun = self._running[place]
                del self._running[place:]
                held.saved = begun.saved if begun.held is held else held.saved
                return


def weights_of(saved: Saved) -> dict[str, Tensor]:
    """Return the copies of weights, by name."""
    return {key[1]: copy for key, copy in saved.copies.by_key().items() if key[0] == "weight"}
