"""`batchnorm-batch-of-one`: batch norm in train mode gets a single sample."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from gradstep.checks.check import Check, Moment, Seen
from gradstep.engine.observe.stream import Consumer, ModuleEntered
from gradstep.values.findings import Rule

_ALL = 8
"""Forwards of one sample each, where no batch was larger."""


class BatchnormBatchOfOne(Check):
    """Looks at the inputs of batch norm in a forward whose first argument has one sample."""

    rule = Rule(
        id="batchnorm-batch-of-one",
        severity="warning",
        title="batch norm over a batch of one",
        why="A single sample is normalised by its own mean and variance: with one value per channel nothing is left, "
        "and torch raises; with an image, the running statistics become those of one sample.",
        detects="Batch norm in train mode gets an input of batch size 1, and other batches of the run are larger, or "
        "the input has one value per channel. If all batches are of size 1, it is a hint.",
        remedy="Drop the incomplete batch: DataLoader(..., drop_last=True), or use GroupNorm or LayerNorm.",
        source="torch.nn.functional.batch_norm ('Expected more than 1 value per channel when training')",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._largest = 0
        """The largest batch so far."""
        self._suspect = False
        self._found: list[tuple[str, tuple[int, ...]]] = []
        """Batch norms that got one sample, by path, with the shape of their input."""

    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the arguments of a forward, and at what the one before has shown."""
        yield from self._report(moment)
        if moment.phase == "forward":
            size = _batch_size([*moment.args, *moment.kwargs.values()])
            self._suspect = size == 1
            self._largest = max(self._largest, size)

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at what the forward has shown."""
        return self._report(moment)

    def watches(self, moment: Moment) -> Consumer | None:
        """Observe the modules, where the batch is one sample."""
        paths = moment.held.paths

        def entered(event: ModuleEntered) -> None:
            module, given = event.module, event.given
            if isinstance(module, _BatchNorm) and module.training and given and isinstance(given[0], Tensor):
                shape = tuple(given[0].shape)
                values = given[0].numel() // max(1, given[0].shape[1]) if given[0].dim() > 1 else 0
                if shape and shape[0] == 1 and (self._largest > 1 or values == 1 or moment.count >= _ALL):
                    self._found.append((paths.get(module, ""), shape))

        return {ModuleEntered: entered} if self._suspect else None

    def _report(self, moment: Moment) -> Iterable[Seen]:
        found, self._found = self._found, []
        if found:
            path, shape = found[0]
            every = self._largest == 1 and len(shape) > 2  # of an image there are many values
            size = "×".join(map(str, shape))
            what = f"{path or 'BatchNorm'} normalises a batch of 1 in train mode, an input of {size}, as do "
            what += f"{len(found)} batch norms in all." if len(found) > 1 else "no others."
            what += f" All {moment.count} batches were of 1." if every else ""
            where = moment.at(module=path, panel="layers")
            yield Seen(what, where, {"batch": 1, "layers": len(found)}, severity="hint" if every else None)


def _batch_size(given: list[object]) -> int:
    """Return the first size of the first tensor, in a batch of tuples too; 0 for none."""
    for each in given:
        if isinstance(each, (tuple, list)):
            return _batch_size(list(each))
        if isinstance(each, Tensor):
            return int(each.shape[0]) if each.dim() else 0
    return 0
