"""The commands by name, for a prompt and a notebook: each method carries one out, and says what came of it."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import replace

from gradstep.session.sights import Sights
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Changes, LookChanges


class Acting(Sights):
    """What a session can be told to do by name."""

    def forward(self) -> Outcome:
        """Run the model and the loss on the current batch; say what changed."""
        return self._with_changes(cmd.Forward())

    def backward(self, retain_graph: bool = False) -> Outcome:
        """Run the backward of the last loss; say what changed."""
        return self._with_changes(cmd.Backward(retain_graph))

    def step(self) -> Outcome:
        """Run the optimizer's step; say what changed."""
        return self._with_changes(cmd.Step())

    def zero_grad(self, set_to_none: bool | None = None) -> Outcome:
        """Clear the gradients, to None or to zeros; say what changed."""
        return self._with_changes(cmd.ZeroGrad(set_to_none))

    def next_batch(self) -> Outcome:
        """Take the next batch."""
        return self._with_changes(cmd.NextBatch())

    def into(self, phase: Literal["", "forward", "backward"] = "") -> Outcome:
        """Step into a phase, without one the natural next; at a stop inside one, one level deeper."""
        return self.execute(cmd.Into(phase))

    def over(self) -> Outcome:
        """Do the next module, op or node whole."""
        return self.execute(cmd.Over())

    def out(self, phase: bool = False) -> Outcome:
        """Go on to the end of the module that is running, or with `phase` to the end of the phase."""
        return self.execute(cmd.Out(phase))

    def check(self, what: str = "") -> Outcome:
        """Compare derivatives with finite differences; the answer is the outcome's `text`.

        Args:
            what: a node, as `#12`, its name, operation or module; empty for the node that is stopped at, else for every
                custom Function of the graph, whose double backward is checked too.
        """
        return self.execute(cmd.Check(what))

    def undo(self, count: int = 1) -> Outcome:
        """Go back by some commands, and everything is as it was to the bit; inside a phase, by some stops."""
        return self.execute(cmd.Undo(count))

    def redo(self, count: int = 1) -> Outcome:
        """Go forth again by some commands that were undone."""
        return self.execute(cmd.Redo(count))

    def goto(self, stop: int) -> Outcome:
        """Go to a stop by its number."""
        return self.execute(cmd.Goto(stop))

    def attend(self) -> None:
        """Have the next act recorded for what a person may ask for after it."""
        raise NotImplementedError

    def _with_changes(self, command: Command) -> Outcome:
        self.attend()
        outcome = self.execute(command)
        view = self.look(LookChanges())[0]
        return replace(outcome, changes=view) if outcome.ok and isinstance(view, Changes) else outcome
